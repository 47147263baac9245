"""
Run a Mage pipeline with a task for each of its blocks.

The blocks are those of the pipeline's own `metadata.yaml`, as the Mage project stands beside the DAG files
here. Where it does not, `python -m airflow_provider_mage snapshot daily_orders > daily_orders.json` writes
them down.
"""

from datetime import datetime
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup

PIPELINES = Path(__file__).parent / "mage_project" / "pipelines"

with DAG(
    "example_mage_task_group",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Run a Mage pipeline with a task for each of its blocks",
    doc_md=__doc__,
):
    orders = MagePipelineTaskGroup(
        "orders",
        pipeline_uuid="daily_orders",
        blocks=PIPELINES / "daily_orders" / "metadata.yaml",
        variables={"orders": 60},
        poll_interval=5,
    )

    @task
    def look_at_clean_orders() -> str:
        """Follow one block, while those after it go on."""
        return "clean orders are there"

    @task
    def report() -> str:
        """Follow the whole run, if it has completed."""
        return "all is done"

    orders.block_tasks["clean_orders"] >> look_at_clean_orders()
    orders >> report()
