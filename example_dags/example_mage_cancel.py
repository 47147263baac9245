"""Start a Mage pipeline and cancel its run."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import (
    MageCancelPipelineRunOperator,
    MageTriggerPipelineOperator,
)

with DAG(
    "example_mage_cancel",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Start a Mage pipeline and cancel its run",
    doc_md=__doc__,
):
    start = MageTriggerPipelineOperator(
        task_id="start_daily_orders",
        pipeline_uuid="daily_orders",
        wait_for_completion=False,
    )
    cancel = MageCancelPipelineRunOperator(
        task_id="cancel_it",
        pipeline_run_id="{{ ti.xcom_pull(task_ids='start_daily_orders') }}",
    )
    start >> cancel
