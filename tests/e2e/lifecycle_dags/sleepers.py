"""Tasks that wait for a Mage run, which ends when the file is there that the DAG run's conf names."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.empty import EmptyOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
# what a test changes: the number of retries, and the seconds before each
CHANGING = json.loads(Path(__file__).with_name("changing.json").read_text())
VARIANTS = {
    "plain": {"retries": 2},
    "cleared": {},
    # as long as a busy machine may take to start the Mage run
    "timeout": {"execution_timeout": timedelta(seconds=45), "retries": 0},
    "changing": {"retries": CHANGING["retries"], "retry_delay": timedelta(seconds=CHANGING["retry_delay"])},
    "tested": {},
}

for variant, arguments in VARIANTS.items():
    for mode, deferrable in {"sync": False, "deferred": True}.items():
        with DAG(
            f"{variant}_{mode}",
            start_date=START,
            schedule=None,
            # What `airflow dags test` runs is not for the scheduler, too.
            is_paused_upon_creation=variant == "tested",
        ) as dag:
            MageTriggerPipelineOperator(
                task_id="sleep",
                pipeline_uuid="sleeper",
                variables={"seconds": 0, "release": "{{ dag_run.conf['release'] }}"},
                mage_conn_id="{{ dag_run.conf.get('connection', 'mage_default') }}",
                deferrable=deferrable,
                poll_interval=1,
                **{"retries": 1, "retry_delay": timedelta(seconds=1), **arguments},
            )
            EmptyOperator(task_id="other")
        globals()[dag.dag_id] = dag
