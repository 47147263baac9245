"""Have a Mage Pro cluster up while pipelines run on it, and down afterwards, whatever became of them."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.cluster import mage_cluster
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

# `mage_cloud_default` is where the cluster is switched on and off, `mage_default` is the cluster itself.
with (
    DAG(
        "example_mage_cluster",
        start_date=datetime(2026, 1, 1),
        schedule=None,
        tags=["mage"],
        description="Have a Mage Pro cluster up while pipelines run on it",
        doc_md=__doc__,
    ),
    mage_cluster(cluster_id="reports", mage_conn_id="mage_default", poll_interval=5),
):
    MageTriggerPipelineOperator.partial(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
    ).expand(variables=[{"orders": 20}, {"orders": 30}])
