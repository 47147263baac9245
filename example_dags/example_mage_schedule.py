"""Switch a pipeline schedule off while something else runs, and on again."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.operators.schedule import MagePipelineScheduleOperator

with DAG("example_mage_schedule", start_date=datetime(2026, 1, 1), schedule=None, tags=["mage"]):
    run = MageTriggerPipelineOperator(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        pipeline_schedule_name="nightly",
    )
    pause = MagePipelineScheduleOperator(
        task_id="pause",
        pipeline_uuid="daily_orders",
        pipeline_schedule_name="nightly",
        status="inactive",
    )
    resume = MagePipelineScheduleOperator(
        task_id="resume",
        pipeline_uuid="daily_orders",
        pipeline_schedule_name="nightly",
        status="active",
    )
    run >> pause >> resume
