"""The simulated Mage Cloud, and tasks about its clusters."""

import pytest

from airflow_provider_mage._clusters.handle import ClusterHandle
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.cloud import MageCloudClient
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.operators.cluster import MageUpdateClusterEnvVarsOperator
from airflow_provider_mage.sensors.cluster import MageClusterSensor
from fakes.mage_cloud import FakeMageCloud
from fakes.scheduler import TaskInstance

TEAM = "team-1"


@pytest.fixture
def cloud():
    """Mage Cloud with one stopped cluster, which does at once what it is told."""
    with FakeMageCloud() as server:
        server.cluster("c1")
        yield server


@pytest.fixture
def cloud_client(cloud):
    """A client that tries everything once."""
    user = Credentials(cloud.email, cloud.password, api_key="oMqz2m320NfVERFonfytPFVETfPTHyN5N7db9dLK")
    auth = MageAuth(cloud.url, user, timeout=5.0, use_cookie=True)
    session = MageSession(cloud.url, auth=auth, timeout=0.5, retry_for=0.0)
    yield MageCloudClient(session)
    session.http.close()


@pytest.fixture
def handle(cloud_client):
    return ClusterHandle(cloud_client, TEAM, "c1")


@pytest.fixture
def connect_cloud(cloud, connect):
    """Give Airflow a connection to the simulated Mage Cloud, and return its id."""

    def make(**fields):
        user = {"host": cloud.url, "login": cloud.email, "password": cloud.password}
        return connect("mage_cloud", **{**user, "extra": {"team_id": TEAM}, **fields})

    return make


@pytest.fixture
def task(connect_cloud):
    """Make a task instance of one of our operators or sensors, on cluster c1 unless told otherwise."""
    conn_id = connect_cloud()

    def make(operator_class, **arguments):
        # The longest wait matters where something is wrong, not where a machine stands still for seconds.
        pause = "poke_interval" if operator_class is MageClusterSensor else "poll_interval"
        quick = {} if operator_class is MageUpdateClusterEnvVarsOperator else {pause: 0.05, "timeout": 120}
        defaults = {"task_id": "t", "cluster_id": "c1", "mage_cloud_conn_id": conn_id, **quick}
        return TaskInstance(lambda: operator_class(**{**defaults, **arguments}))

    return make
