"""Not an example: ten tasks that share a cluster and see for themselves whether it is up."""

import time

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_mage.cluster import mage_cluster, mage_cluster_group
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from airflow_provider_mage.sensors.cluster import MageClusterSensor


class Work(BaseOperator):
    """
    Looks at the cluster, at the beginning and at the end.

    :param cluster_id: The cluster.
    :param seconds: How long the work takes.
    :param fails: Whether it fails.
    """

    template_fields = ("cluster_id", "seconds", "fails")

    def __init__(self, *, cluster_id, seconds="0", fails="", number=0, **kwargs):
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.seconds = seconds
        self.fails = fails
        self.number = number

    def execute(self, context):
        """Work."""
        self._look()
        time.sleep(float(self.seconds))
        self._look()
        if self.fails == "True":
            raise RuntimeError("this is the middle task, which is to fail")

    def _look(self):
        status = MageCloudHook().client.get_cluster("team-1", self.cluster_id).status
        if status != "Active":
            raise RuntimeError(f"cluster {self.cluster_id} is {status} while it is needed")


CLUSTER_ID = "{{ dag_run.conf['cluster_id'] }}"

for dag_id, deferrable in (("shared_cluster", False), ("shared_cluster_deferrable", True)):
    with (
        DAG(dag_id, schedule=None),
        mage_cluster(cluster_id=CLUSTER_ID, poll_interval=1, deferrable=deferrable, timeout=120),
    ):
        before = [Work(task_id=f"before_{number}", cluster_id=CLUSTER_ID) for number in range(5)]
        middle = Work(
            task_id="middle",
            cluster_id=CLUSTER_ID,
            seconds="{{ dag_run.conf.get('seconds', 0) }}",
            fails="{{ dag_run.conf.get('fails', '') }}",
        )
        after = [Work(task_id=f"after_{number}", cluster_id=CLUSTER_ID) for number in range(4)]
        before >> middle >> after

with DAG("nested_clusters", schedule=None):
    with mage_cluster_group("outer", cluster_id="outer", poll_interval=1) as group:
        Work(task_id="work", cluster_id="outer")
        with mage_cluster(cluster_id="inner", name="inner", poll_interval=1):
            Work.partial(task_id="mapped", cluster_id="inner").expand(number=[1, 2, 3])
            Work(task_id="also_outer", cluster_id="outer")
    last = MageClusterSensor(
        task_id="last", cluster_id="outer", status="Stopped", poke_interval=1, timeout=60
    )
    group >> last
