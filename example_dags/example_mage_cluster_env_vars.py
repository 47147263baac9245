"""Change environment variables of a Mage Pro cluster, and restart it so that they take effect."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.cluster import (
    MageRestartClusterOperator,
    MageStopClusterOperator,
    MageUpdateClusterEnvVarsOperator,
)

with DAG(
    "example_mage_cluster_env_vars",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Change environment variables of a Mage Pro cluster, and restart it so that they take effect",
    doc_md=__doc__,
):
    update = MageUpdateClusterEnvVarsOperator(
        task_id="update",
        cluster_id="staging",
        env_vars={
            "DEFAULT_EXECUTOR_TYPE": "k8s",
            # Rendered when the task runs, and masked.
            "ORDERS_API_TOKEN": "{{ conn.orders_api.password }}",
        },
        remove=["OLD_FLAG"],
    )
    restart = MageRestartClusterOperator(task_id="restart", cluster_id="staging", poll_interval=5)
    stop = MageStopClusterOperator(task_id="stop", cluster_id="staging", poll_interval=5)
    update >> restart >> stop
