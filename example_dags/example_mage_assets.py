"""
Tell Airflow that a Mage pipeline has made something, and run another DAG because of it.

The asset (on Airflow 2: dataset) is updated only if Mage said `completed`, deferred or not.
"""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

order_totals = Asset("mage://example/order_totals")

with DAG(
    "example_mage_assets",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Update an asset when a Mage pipeline has completed",
    doc_md=__doc__,
):
    MageTriggerPipelineOperator(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        outlets=[order_totals],
        deferrable=True,
    )

with DAG(
    "example_mage_assets_report",
    start_date=datetime(2026, 1, 1),
    schedule=[order_totals],
    tags=["mage"],
    description="Runs whenever a Mage pipeline has updated the asset",
    doc_md=__doc__,
):

    @task
    def report() -> None:
        """Do something with what is new."""

    report()
