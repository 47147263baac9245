"""Start a Mage pipeline, do something else meanwhile, and wait for it later without holding a worker."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor

with DAG(
    "example_mage_sensor",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Start a Mage pipeline, and wait for it later",
    doc_md=__doc__,
):
    start = MageTriggerPipelineOperator(
        task_id="start_daily_orders",
        pipeline_uuid="daily_orders",
        wait_for_completion=False,
    )
    wait = MagePipelineRunSensor(
        task_id="wait_for_daily_orders",
        pipeline_run_id="{{ ti.xcom_pull(task_ids='start_daily_orders') }}",
        mode="reschedule",
        poke_interval=10,
        timeout=600,
    )
    start >> wait
