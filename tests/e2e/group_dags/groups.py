"""Task groups whose Mage runs do what the files of a directory say that the DAG run's conf names."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskGroup, task_group

from airflow_provider_mage.cluster import mage_cluster
from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
BLOCKS = json.loads(Path(__file__).with_name("blocks.json").read_text())
# What the DAG knows of a pipeline that was changed in Mage since.
BLOCKS["changed"] = [{"uuid": "kept"}, {"uuid": "gone", "upstream_blocks": ["kept"]}]


class Nothing(BaseOperator):
    """Does nothing, in a process of its own."""

    def execute(self, context):
        return None


def group(pipeline_uuid, group_id="group", **arguments):
    return MagePipelineTaskGroup(
        group_id,
        pipeline_uuid=pipeline_uuid,
        blocks=BLOCKS[pipeline_uuid],
        pipeline_schedule_name="{{ dag_run.conf.get('schedule', 'airflow') }}",
        poll_interval=1,
        **{"variables": {"stage": "{{ dag_run.conf['stage'] }}"}, **arguments},
    )


for pipeline_uuid in BLOCKS:
    for mode, deferrable in {"sync": False, "deferred": True}.items():
        with DAG(f"{pipeline_uuid}_{mode}", start_date=START, schedule=None) as dag:
            blocks = group(pipeline_uuid, deferrable=deferrable)
            Nothing(task_id="before") >> blocks >> Nothing(task_id="after")
            next(iter(blocks.block_tasks.values())) >> Nothing(task_id="reader")
        globals()[dag.dag_id] = dag

with DAG("relaunched", start_date=START, schedule=None) as relaunched:
    group("fan")

with DAG("fan_retried", start_date=START, schedule=None) as fan_retried:
    group("fan", deferrable=False, default_args={"retries": 1, "retry_delay": timedelta(seconds=5)})

with DAG("mapped_groups", start_date=START, schedule=None) as mapped_groups:

    @task_group
    def region(name):
        group("fan", variables={"stage": "{{ dag_run.conf['stage'] }}", "region": name})

    region.expand(name=["north", "south"])

with DAG("nested_deferred", start_date=START, schedule=None) as nested:
    start, stop = Nothing(task_id="start").as_setup(), Nothing(task_id="stop")
    with stop.as_teardown(setups=start), TaskGroup("outer"):
        group("fan", "first") >> group("fan", "second")

with (
    DAG("clustered", start_date=START, schedule=None) as clustered,
    mage_cluster(cluster_id="groups", poll_interval=1),
):
    group("fan")
