"""Not an example: tasks that share a cluster and see for themselves whether it is up."""

import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_mage.cluster import mage_cluster, mage_cluster_group
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from airflow_provider_mage.sensors.cluster import MageClusterSensor


class Work(BaseOperator):
    """
    Looks at the cluster, at the beginning and at the end.

    :param cluster_id: The cluster.
    :param release: A file whose appearance ends the work; by default it ends at once.
    :param fails: Whether it fails.
    """

    template_fields = ("cluster_id", "release", "fails")

    def __init__(self, *, cluster_id, release="", fails="", number=0, **kwargs):
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.release = release
        self.fails = fails
        self.number = number

    def execute(self, context):
        """Work."""
        self._look()
        while self.release and not Path(self.release).exists():
            time.sleep(0.5)
        self._look()
        if self.fails == "True":
            raise RuntimeError("this is the middle task, which is to fail")

    def _look(self):
        status = MageCloudHook().client.get_cluster("team-1", self.cluster_id).status
        if status != "Active":
            raise RuntimeError(f"cluster {self.cluster_id} is {status} while it is needed")


CLUSTER_ID = "{{ dag_run.conf['cluster_id'] }}"

# Each task costs a second or two of a processor: ten are for the scenes that are about ten.
VARIANTS = {
    "shared_cluster": {"before": 5, "after": 4, "deferrable": False},
    "shared_cluster_deferrable": {"before": 5, "after": 4, "deferrable": True},
    "shared_cluster_short": {"before": 1, "after": 1, "deferrable": False},
}

for dag_id, variant in VARIANTS.items():
    with (
        # Airflow 2.11 retries a task whose process it ended after a clear
        DAG(dag_id, schedule=None, default_args={"retry_delay": timedelta(seconds=1)}),
        mage_cluster(cluster_id=CLUSTER_ID, poll_interval=1, deferrable=variant["deferrable"], timeout=600),
    ):
        before = [
            Work(task_id=f"before_{number}", cluster_id=CLUSTER_ID) for number in range(variant["before"])
        ]
        middle = Work(
            task_id="middle",
            cluster_id=CLUSTER_ID,
            release="{{ dag_run.conf.get('release', '') }}",
            fails="{{ dag_run.conf.get('fails', '') }}",
        )
        after = [Work(task_id=f"after_{number}", cluster_id=CLUSTER_ID) for number in range(variant["after"])]
        before >> middle >> after

with DAG("nested_clusters", schedule=None):
    with mage_cluster_group("outer", cluster_id="outer", poll_interval=1) as group:
        Work(task_id="work", cluster_id="outer")
        with mage_cluster(cluster_id="inner", name="inner", poll_interval=1):
            Work.partial(task_id="mapped", cluster_id="inner").expand(number=[1, 2, 3])
            Work(task_id="also_outer", cluster_id="outer")
    last = MageClusterSensor(
        task_id="last", cluster_id="outer", status="Stopped", poke_interval=1, timeout=600
    )
    group >> last
