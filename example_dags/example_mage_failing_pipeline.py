"""Run a Mage pipeline whose middle block fails: the task is red, and its log says which block and why."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG(
    "example_mage_failing_pipeline",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Run a Mage pipeline whose middle block fails",
    doc_md=__doc__,
):
    MageTriggerPipelineOperator(task_id="run_broken_orders", pipeline_uuid="broken_orders")
