"""What waits for clusters on a real wire: in a worker, in a triggerer, and from what a trigger has stored."""

import asyncio
import json
import os
import threading
import time

import pytest

from airflow_provider_mage import _compat
from airflow_provider_mage.operators.cluster import (
    MageRestartClusterOperator,
    MageStartClusterOperator,
    MageStopClusterOperator,
)
from airflow_provider_mage.sensors.cluster import MageClusterSensor
from airflow_provider_mage.triggers import base as trigger_module
from airflow_provider_mage.triggers.cluster import MageClusterTrigger
from airflow_provider_mage.triggers.event import make_event, read_event
from fakes.faults import WEB_PAGE, Fault, http_error
from fakes.mage_cloud import FakeMageCloud
from fakes.scheduler import first_event

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
GET = ("GET", "clusters")


def wait_together(*triggers):
    async def wait():
        return await asyncio.gather(*(first_event(trigger) for trigger in triggers))

    return asyncio.run(wait())


def test_nonsense_about_one_of_five_clusters_ends_that_wait_alone(cloud, connect_cloud):
    names = [f"m{number}" for number in range(5)]
    for name in names:
        cloud.cluster(name, delay=0.6).order("Active", time.time())
    cloud.inject(WEB_PAGE, times=None, match=("GET", "/clusters/m3$"))
    conn_id = connect_cloud()

    events = wait_together(
        *(MageClusterTrigger(conn_id, "team-1", name, poll_interval=0.1) for name in names)
    )

    assert {event["cluster_id"] for event in events if "error" not in event} == {*names} - {"m3"}
    _, failure = read_event(events[3], "cluster_id")
    assert type(failure).__name__ == "MageTransportError"
    assert failure.temporary is False


def test_missing_cluster_is_its_own_waiters_trouble(cloud, connect_cloud):
    cloud.cluster("c1", status="Active")
    conn_id = connect_cloud()

    there, missing = wait_together(
        *(MageClusterTrigger(conn_id, "team-1", name) for name in ("c1", "nobody"))
    )

    assert "error" not in there
    assert missing["error"] == "MageNotFoundError"


def test_many_clusters_are_waited_for_with_a_few_threads(cloud, connect_cloud):
    names = [f"m{number}" for number in range(20)]
    for name in names:
        cloud.cluster(name, delay=0.5).order("Active", time.time())
    conn_id = connect_cloud()

    events = wait_together(
        *(MageClusterTrigger(conn_id, "team-1", name, poll_interval=0.2) for name in names)
    )

    assert events == [{"cluster_id": name} for name in names]
    assert cloud.log_ins == 1


def test_look_without_an_answer_holds_up_no_deadline(cloud, connect_cloud):
    cloud.inject(Fault("stuck", is_processed=False, wait_before=10), match=GET)

    started = time.monotonic()
    [event] = wait_together(MageClusterTrigger(connect_cloud(), "team-1", "c1", deadline=time.time() + 0.5))

    assert event["error"] == "TimeoutError"
    assert time.monotonic() - started < 8


@pytest.fixture
def correct(monkeypatch):
    """Correct a connection, as a person does it in Airflow's UI."""

    def correct(conn_id, **fields):
        name = f"AIRFLOW_CONN_{conn_id.upper()}"
        monkeypatch.setenv(name, json.dumps({**json.loads(os.environ[name]), **fields}))

    return correct


@BOTH
def test_cloud_connection_that_is_corrected_meanwhile_is_used(cloud, task, deferrable, correct, caplog):
    cloud.cluster("c1", delay=60)
    start = task(MageStartClusterOperator, deferrable=deferrable)

    with FakeMageCloud() as moved, caplog.at_level("INFO"):
        moved.cluster("c1", status="Active")

        def move(request, answer):
            correct(start.operator.mage_cloud_conn_id, host=moved.url)
            return http_error(503).change(request, answer)

        # Once the task has asked for the start, and waits.
        cloud.inject(Fault("moved", is_processed=True, change=move), match=GET, skip=5)
        assert start.run() == "Active"

    assert "connection has changed" in caplog.text


@BOTH
@pytest.mark.parametrize("kind", [MageStartClusterOperator, MageClusterSensor])
def test_connection_to_the_cluster_that_is_corrected_meanwhile_is_used(
    cloud, task, deferrable, correct, mage, connect, kind
):
    cloud.cluster("c1", status="Active")
    conn_id = connect("mage", host="http://127.0.0.1:9")
    timer = threading.Timer(0.5, lambda: correct(conn_id, host=mage.url))
    timer.start()

    task(kind, deferrable=deferrable, mage_conn_id=conn_id).run()

    timer.join()
    assert mage.count("GET", "/api/status") == 1


def test_trigger_stores_all_that_it_waits_by(connect_cloud):
    arguments = {
        "mage_cloud_conn_id": "m",
        "team_id": "t",
        "mage_conn_id": "o",
        "stop_on_kill": True,
        "cluster_id": "c",
        "status": "Stopped",
        "old_status": "Failed",
        "is_order": True,
        "poll_interval": 7.0,
        "deadline": 8.0,
        "max_unreachable": 9.0,
    }

    assert MageClusterTrigger(**arguments).serialize()[1] == arguments


def test_trigger_of_0_1_0_or_of_a_later_version_can_be_read():
    """The one had these very arguments; the other may have more."""
    stored = {
        "mage_cloud_conn_id": "m",
        "team_id": "t",
        "cluster_id": "c",
        "status": "Active",
        "poll_interval": 15.0,
        "old_status": None,
        "deadline": 8.0,
        "max_unreachable": 600.0,
        "mage_conn_id": None,
        "is_order": True,
        "stop_on_kill": False,
    }

    trigger = MageClusterTrigger(**stored, unheard_of=1)

    assert trigger.serialize()[1] == stored


@pytest.mark.parametrize(
    ("operator", "status"), [(MageStartClusterOperator, "Active"), (MageStopClusterOperator, "Stopped")]
)
def test_wait_that_0_1_0_deferred_is_gone_on_with(cloud, task, operator, status):
    cloud.cluster("c1", status=status)
    instance = task(operator)
    event = {"cluster_id": "c1", "error": None, "message": ""}

    assert instance.operator.execute_complete(instance.context, event, deadline=5.0) == status
    assert cloud.count("PUT") == 0


@pytest.mark.parametrize("event", [None, "done", {"pipeline_run_id": 7}], ids=str)
def test_foreign_event_is_refused(task, event):
    with pytest.raises(ValueError, match="not an event of this package"):
        task(MageStopClusterOperator).operator.execute_complete({}, event)


def test_deferral_of_a_restart_says_how_to_go_on(cloud, task):
    cluster = cloud.cluster("c1", status="Stopped")
    instance = task(MageRestartClusterOperator)
    event = make_event(cluster_id="c1")

    status = instance.operator.execute_complete(
        instance.context, event, deadline=None, step="start", replicas_before=3
    )

    assert (status, cluster.config["replicaCount"]) == ("Active", 3)


@pytest.fixture
def killed(cloud, connect_cloud, monkeypatch):
    """A trigger whose cluster is on its way up, and what Airflow says of its task when it is cancelled."""
    cloud.cluster("c1", delay=60).order("Active", time.time())

    def make(state, *, stop_on_kill=True):
        trigger = MageClusterTrigger(connect_cloud(), "team-1", "c1", stop_on_kill=stop_on_kill)
        trigger.task_instance = type("TaskInstance", (), {"task_id": "t"})()
        monkeypatch.setattr(_compat, "_is_deferred", lambda *_: state == "deferred")
        return trigger

    return make


KILLS = pytest.mark.parametrize(
    ("state", "stop_on_kill", "target"),
    [("failed", True, "Stopped"), ("failed", False, "Active"), ("deferred", True, "Active")],
)


@KILLS
def test_kill_stops_the_cluster_unless_the_task_is_still_deferred(cloud, killed, state, stop_on_kill, target):
    """A triggerer that was late, and has lost its triggers to another one, is told to kill them, too."""
    asyncio.run(killed(state, stop_on_kill=stop_on_kill).on_kill())

    assert cloud.cloud.teams["team-1"]["c1"].target == target


def cancel_in_mid_wait(cloud, trigger):
    async def cancel():
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancel())


@KILLS
def test_cancelled_trigger_stops_the_cluster_where_airflow_says_no_more(
    cloud, killed, state, stop_on_kill, target, monkeypatch
):
    monkeypatch.setattr(trigger_module, "calls_on_kill", lambda: False)

    cancel_in_mid_wait(cloud, killed(state, stop_on_kill=stop_on_kill))

    assert cloud.cloud.teams["team-1"]["c1"].target == target


def test_cancelled_trigger_leaves_the_rest_to_on_kill_where_airflow_calls_that(cloud, killed, monkeypatch):
    monkeypatch.setattr(trigger_module, "calls_on_kill", lambda: True)

    cancel_in_mid_wait(cloud, killed("failed"))

    assert cloud.cloud.teams["team-1"]["c1"].target == "Active"
