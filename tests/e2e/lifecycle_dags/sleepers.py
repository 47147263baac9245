"""Tasks that wait for a Mage run of as many seconds as the DAG run's configuration says."""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
VARIANTS = {
    "plain": {},
    "cleared": {},
    "late_retry": {"retry_delay": timedelta(seconds=20)},
    "timeout": {"execution_timeout": timedelta(seconds=12), "retries": 0},
}

for variant, arguments in VARIANTS.items():
    for mode, deferrable in {"sync": False, "deferred": True}.items():
        with DAG(f"{variant}_{mode}", start_date=START, schedule=None) as dag:
            MageTriggerPipelineOperator(
                task_id="sleep",
                pipeline_uuid="sleeper",
                variables={"seconds": "{{ dag_run.conf['seconds'] }}"},
                deferrable=deferrable,
                poll_interval=1,
                **{"retries": 1, "retry_delay": timedelta(seconds=1), **arguments},
            )
        globals()[dag.dag_id] = dag
