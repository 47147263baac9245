"""A task group with a Mage Pro cluster of its own: what comes before and after does not keep it up."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.cluster import mage_cluster_group
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.cluster import MageClusterSensor

with DAG(
    "example_mage_cluster_group",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="A task group with a Mage Pro cluster of its own",
    doc_md=__doc__,
):
    with mage_cluster_group("orders", cluster_id="orders", deferrable=True, poll_interval=5) as orders:
        MageTriggerPipelineOperator(task_id="run_daily_orders", pipeline_uuid="daily_orders")
    is_down = MageClusterSensor(
        task_id="is_down",
        cluster_id="orders",
        status="Stopped",
        mode="reschedule",
        poke_interval=5,
        timeout=600,
    )
    orders >> is_down
