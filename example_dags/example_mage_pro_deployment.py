"""Deploy a git commit to a Mage Pro cluster, try one block of it, and wake a workspace up."""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.block import MageRunBlockOperator
from airflow_provider_mage.operators.deployment import MageDeployOperator
from airflow_provider_mage.operators.workspace import MageUpdateWorkspaceOperator

with DAG(
    "example_mage_pro_deployment",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Deploy a git commit to a Mage Pro cluster, try one block of it, and wake a workspace up",
    doc_md=__doc__,
):
    deploy = MageDeployOperator(
        task_id="deploy",
        mage_conn_id="mage_pro",
        setting_name="prod",
        commit="{{ dag_run.conf.get('commit', '4f2c1e0') }}",
        branch="main",
        target_branch="deploy-main",
        environment="production",
    )
    check = MageRunBlockOperator(
        task_id="check",
        mage_conn_id="mage_pro",
        pipeline_uuid="daily_orders",
        block_uuid="load_orders",
        variables={"orders": 3},
    )
    resume = MageUpdateWorkspaceOperator(
        task_id="resume", mage_conn_id="mage_pro", workspace_name="dev", action="resume"
    )
    deploy >> check >> resume
