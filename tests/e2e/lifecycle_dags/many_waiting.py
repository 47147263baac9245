"""As many waiting tasks as the DAG run's configuration says, whose Mage runs nobody starts."""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG("many_waiting", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None):

    @task
    def numbers(dag_run=None):
        """Return the variables of each Mage run."""
        return [{"number": number} for number in range(dag_run.conf["count"])]

    MageTriggerPipelineOperator.partial(
        task_id="wait",
        pipeline_uuid="sleeper",
        pipeline_schedule_name="held back",
        deferrable=True,
        poll_interval=5,
        retries=1,
        retry_delay=timedelta(seconds=1),
    ).expand(variables=numbers())
