"""Run a Mage pipeline as one Airflow task."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG(
    "example_mage_pipeline",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Run a Mage pipeline as one Airflow task",
    doc_md=__doc__,
):
    MageTriggerPipelineOperator(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        variables={"orders": 60},
    )
