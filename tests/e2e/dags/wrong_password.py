"""Not an example: a connection with a wrong password."""

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG("wrong_password", schedule=None):
    MageTriggerPipelineOperator(
        task_id="run_daily_orders", pipeline_uuid="daily_orders", mage_conn_id="mage_wrong_password"
    )
