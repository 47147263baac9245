"""Tasks that wait for a Mage run, which ends when the file is there that the DAG run's conf names."""

from datetime import datetime, timedelta, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
VARIANTS = {
    "plain": {},
    "cleared": {},
    # as long as a busy machine may take to start the Mage run
    "timeout": {"execution_timeout": timedelta(seconds=45), "retries": 0},
}

for variant, arguments in VARIANTS.items():
    for mode, deferrable in {"sync": False, "deferred": True}.items():
        with DAG(f"{variant}_{mode}", start_date=START, schedule=None) as dag:
            MageTriggerPipelineOperator(
                task_id="sleep",
                pipeline_uuid="sleeper",
                variables={"seconds": 0, "release": "{{ dag_run.conf['release'] }}"},
                deferrable=deferrable,
                poll_interval=1,
                **{"retries": 1, "retry_delay": timedelta(seconds=1), **arguments},
            )
        globals()[dag.dag_id] = dag
