"""
Hand the day that a DAG run is about to Mage, so that a backfill of Airflow's loads each day once.

`CronDataIntervalTimetable` gives each DAG run an interval with a length, on Airflow 2 and 3 alike. The
blocks get it as `interval_start_datetime` and `interval_end_datetime`, and with `execution_date` their `ds`
is that day, too, and not today. Backfill it in Airflow's UI, or with `airflow backfill create --dag-id
example_mage_backfill --from-date 2026-01-01 --to-date 2026-01-03` (Airflow 2: `airflow dags backfill -s
2026-01-01 -e 2026-01-03 example_mage_backfill`).
"""

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

with DAG(
    "example_mage_backfill",
    start_date=datetime(2026, 1, 1),
    end_date=datetime(2026, 1, 31),
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["mage"],
    description="Hand the data interval to Mage, for backfills",
    doc_md=__doc__,
):
    MageTriggerPipelineOperator(
        task_id="run_daily_orders",
        pipeline_uuid="daily_orders",
        execution_date="{{ data_interval_start }}",
        deferrable=True,
    )
