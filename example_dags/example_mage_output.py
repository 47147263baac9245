"""Hand what a Mage block returns to another Airflow task."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG(
    "example_mage_output",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Hand what a Mage block returns to another Airflow task",
    doc_md=__doc__,
):
    totals = MageTriggerPipelineOperator(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        output_block="export_totals",
    )

    @task
    def add_up(rows: list[dict]) -> float:
        """Add the countries up: the block has returned a table, of which each row is a dictionary."""
        return round(sum(row["amount"] for row in rows), 2)

    add_up(totals.output)
