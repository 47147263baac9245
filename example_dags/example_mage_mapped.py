"""
Run a Mage pipeline once for each item that another task returns.

Each mapped task has a Mage run of its own. They share one log-in and, deferred, one poller.
`max_active_tis_per_dagrun` limits how many run at a time.
"""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG(
    "example_mage_mapped",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Run a Mage pipeline once for each item that another task returns",
    doc_md=__doc__,
):

    @task
    def list_batches() -> list[dict[str, int]]:
        """Return the variables of each run."""
        return [{"orders": 10}, {"orders": 20}, {"orders": 30}]

    MageTriggerPipelineOperator.partial(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        deferrable=True,
        max_active_tis_per_dagrun=2,
    ).expand(variables=list_batches())
