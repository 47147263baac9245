"""A pipeline whose blocks write much, of which the log of the task tells all."""

from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG("writing_pipeline", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None):
    MageTriggerPipelineOperator(
        task_id="run",
        pipeline_uuid="writes_much",
        mage_conn_id="mage_by_proxy",
        deferrable=True,
        stream_logs=True,
        max_log_lines=20_000,
    )
