"""The sensor, in every mode, and the poller that its triggers share."""

import asyncio
import threading
import time

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.sensors.cluster import MageClusterSensor
from airflow_provider_mage.triggers import cluster_poller
from airflow_provider_mage.triggers.cluster import MageClusterTrigger
from fakes.faults import http_error
from fakes.scheduler import first_event

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])


@pytest.fixture
def sensor(task):
    """Make a task instance of the sensor."""

    def make(**arguments):
        # The longest wait matters where something is wrong, not where a machine stands still for seconds.
        quick = {"poke_interval": 0.05, "timeout": 120}
        arguments = {"poll_interval": None, **quick, **arguments}
        return task(MageClusterSensor, **{k: v for k, v in arguments.items() if v is not None})

    return make


@pytest.fixture
def task(connect_cloud):
    from fakes.scheduler import TaskInstance

    conn_id = connect_cloud()

    def make(operator_class, **arguments):
        defaults = {"task_id": "t", "cluster_id": "c1", "mage_cloud_conn_id": conn_id}
        return TaskInstance(lambda: operator_class(**{**defaults, **arguments}))

    return make


@BOTH
@pytest.mark.parametrize(("status", "before"), [("Active", "Stopped"), ("Stopped", "Active")])
def test_sensor_waits_for_the_status(cloud, sensor, deferrable, status, before):
    cluster = cloud.cluster("c1", status=before)
    threading.Timer(0.3, lambda: cluster.order(status, 0)).start()

    sensor(deferrable=deferrable, status=status).run()

    assert cloud.status("c1") == status
    assert cloud.count("PUT") == 0


def test_one_look_is_enough_to_reschedule(cloud, sensor):
    operator = sensor().operator

    assert operator.poke({}) is False
    cloud.cluster("c1", status="Active")
    assert operator.poke({}) is True


@BOTH
def test_failure_like_status_fails_at_once(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    with pytest.raises(MageError, match="'Failed'"):
        sensor(deferrable=deferrable).run()


@BOTH
def test_failure_like_status_can_be_waited_for(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    sensor(deferrable=deferrable, status="Failed").run()


@BOTH
@pytest.mark.parametrize(
    ("arguments", "error"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
def test_time_out_means_the_same_in_every_mode(sensor, deferrable, arguments, error):
    with pytest.raises(error):
        sensor(deferrable=deferrable, timeout=0.3, **arguments).run()


@BOTH
def test_never_fail_skips_on_any_failure(cloud, sensor, deferrable):
    cloud.cluster("c1", status="Failed")

    with pytest.raises(AirflowSkipException):
        sensor(deferrable=deferrable, never_fail=True).run()


@BOTH
def test_outage_is_no_answer(cloud, sensor, deferrable):
    cluster = cloud.cluster("c1")
    cloud.inject(http_error(503), times=4, match=("GET", "clusters"))
    threading.Timer(0.3, lambda: cluster.order("Active", 0)).start()

    sensor(deferrable=deferrable).run()


@BOTH
@pytest.mark.parametrize("status", ["Active", "active"])
def test_active_cluster_has_to_answer_too_if_its_connection_is_given(
    sensor, deferrable, cloud, mage, connect, status
):
    cloud.cluster("c1", status="Active")
    mage.inject(http_error(503), times=2, match=("GET", "/api/status"))

    sensor(deferrable=deferrable, mage_conn_id=connect("mage"), status=status).run()

    assert mage.count("GET", "/api/status") == 3


def wait_for_many(cloud, conn_id, count):
    for number in range(count):
        cloud.cluster(f"m{number}", delay=1.0)
    triggers = [
        MageClusterTrigger(conn_id, "team-1", f"m{number}", "Active", 0.5, deadline=time.time() + 30)
        for number in range(count)
    ]

    async def wait():
        waiting = [asyncio.ensure_future(first_event(trigger)) for trigger in triggers]
        await asyncio.sleep(0.5)
        for number in range(count):
            cloud.cloud.teams["team-1"][f"m{number}"].order("Active", cloud.cloud.clock())
        return await asyncio.gather(*waiting)

    return asyncio.run(wait())


def test_many_clusters_of_a_team_cost_one_request_a_round(cloud, connect_cloud):
    events = wait_for_many(cloud, connect_cloud(), 50)

    assert [event["error"] for event in events] == [None] * 50
    assert cloud.count("GET", "/clusters$") <= 8
    assert cloud.count("GET", "/clusters/") <= 4
    assert cluster_poller._pollers == {}


def test_clusters_are_read_one_by_one_where_they_cannot_be_listed(cloud, connect_cloud):
    cloud.cloud.can_list = False

    events = wait_for_many(cloud, connect_cloud(), 5)

    assert [event["error"] for event in events] == [None] * 5
    assert cloud.count("GET", "/clusters$") == 1


def test_one_missing_cluster_is_its_own_waiters_trouble(cloud, connect_cloud):
    cloud.cluster("c1", status="Active")
    conn_id = connect_cloud()
    triggers = [MageClusterTrigger(conn_id, "team-1", name, "Active", 0.5) for name in ("c1", "nobody")]

    async def wait():
        return await asyncio.gather(*(first_event(trigger) for trigger in triggers))

    there, missing = asyncio.run(wait())
    assert there["error"] is None
    assert missing["error"] == "MageNotFoundError"
