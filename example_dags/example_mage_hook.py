"""
Ask Mage something in a task of your own.

`MageHook(...).client` is the typed API, with the connection's log-in, limits and retries.
"""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

with DAG(
    "example_mage_hook",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Ask Mage something in a task of your own",
    doc_md=__doc__,
):

    @task
    def count_runs(pipeline_uuid: str) -> dict[str, int]:
        """Count the pipeline's newest runs by their status."""
        from airflow_provider_mage.hooks.mage import MageHook  # not needed to read this file

        counts: dict[str, int] = {}
        for run in MageHook("mage_default").client.list_pipeline_runs(pipeline_uuid=pipeline_uuid, limit=100):
            counts[run.status.value] = counts.get(run.status.value, 0) + 1
        return counts

    count_runs("daily_orders")
