"""Switch a pipeline schedule off while something else runs, and on again."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.operators.schedule import MagePipelineScheduleOperator

with DAG(
    "example_mage_schedule",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Switch a pipeline schedule off while something else runs, and on again",
    doc_md=__doc__,
):

    @task
    def create_schedule() -> None:
        """Create the schedule, which is a trigger of type API in Mage's UI, unless it is there."""
        from airflow_provider_mage.hooks.mage import MageHook  # not needed to read this file

        client = MageHook("mage_default").client
        if "nightly" not in [schedule.name for schedule in client.list_pipeline_schedules("daily_orders")]:
            client.create_pipeline_schedule("daily_orders", "nightly")

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
    create_schedule() >> run >> pause >> resume
