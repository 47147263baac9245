"""Clusters going up and down, at the pace of Mage Cloud and with its moods."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_mage import _compat
from airflow_provider_mage._clusters import watch as watch_module
from airflow_provider_mage._clusters.start_stop import start_cluster, stop_cluster
from airflow_provider_mage.api.errors import MageError, MageNotFoundError, MageTransportError
from airflow_provider_mage.operators.cluster import (
    MageRestartClusterOperator,
    MageStartClusterOperator,
    MageStopClusterOperator,
)
from fakes.faults import CLOSE_AFTER, CLOSE_BEFORE, http_error, late_request
from fakes.mage_cloud import FakeMageCloud
from fakes.scheduler import set_current_context

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])
PUT = ("PUT", "clusters")


@BOTH
def test_start_waits_until_the_cluster_is_active(cloud, task, deferrable):
    cluster = cloud.cluster("c1", delay=0.3)

    assert task(MageStartClusterOperator, deferrable=deferrable).run() == "Active"
    assert cluster.history == ["Starting", "Active"]
    assert cloud.count(*PUT) == 1


@BOTH
def test_stop_waits_until_the_cluster_is_stopped(cloud, task, deferrable):
    cluster = cloud.cluster("c1", status="Active", delay=0.3)

    assert task(MageStopClusterOperator, deferrable=deferrable).run() == "Stopped"
    assert cluster.history == ["Stopping", "Stopped"]
    assert cluster.config["replicaCount"] == 0


@BOTH
def test_restart_is_stop_wait_start_wait(cloud, task, deferrable):
    cluster = cloud.cluster("c1", status="Active", delay=0.2)
    cluster.config["replicaCount"] = 3

    assert task(MageRestartClusterOperator, deferrable=deferrable).run() == "Active"
    assert cluster.history == ["Stopping", "Stopped", "Starting", "Active"]
    assert cluster.config["replicaCount"] == 3


def test_restart_of_a_stopped_cluster_starts_it(cloud, task):
    cluster = cloud.cluster("c1", status="Stopped")

    assert task(MageRestartClusterOperator).run() == "Active"
    assert cluster.history == ["Starting", "Active"]


@pytest.mark.parametrize(
    ("operator", "status"), [(MageStartClusterOperator, "Active"), (MageStopClusterOperator, "Stopped")]
)
def test_what_is_so_already_is_not_asked_for_again(cloud, task, operator, status, caplog):
    cloud.cluster("c1", status=status)

    with caplog.at_level("INFO"):
        assert task(operator).run() == status

    assert cloud.count(*PUT) == 0
    assert "nothing to do" in caplog.text


def test_everything_else_in_the_config_comes_back_as_it_was(cloud, task):
    config = {
        "z": [1, {"y": None}],
        "replicaCount": 0,
        "a": {"é": 1.5},
        "extraEnvs": [{"valueFrom": {}, "name": "x"}],
    }
    cluster = cloud.cluster("c1", config=config)

    task(MageStartClusterOperator, replica_count=2).run()

    [request] = cloud.requests_of(*PUT)
    assert list(request.json["cluster"]["config"]) == ["z", "replicaCount", "a", "extraEnvs"]
    assert cluster.config == {**config, "replicaCount": 2}


@pytest.mark.parametrize("operator", [MageStartClusterOperator, MageRestartClusterOperator])
def test_replica_count_may_come_from_a_template(cloud, task, operator):
    cluster = cloud.cluster("c1")

    task(operator, replica_count="{{ 1 + 1 }}").run()
    assert cluster.config["replicaCount"] == 2

    with pytest.raises(ValueError, match="`replica_count` must be"):
        task(operator, replica_count="{{ 0 }}").run()


def test_replica_count_of_a_running_cluster_changes_only_if_asked(cloud, task):
    cluster = cloud.cluster("c1", status="Active")
    cluster.config["replicaCount"] = 3

    task(MageStartClusterOperator).run()
    assert cluster.config["replicaCount"] == 3

    task(MageStartClusterOperator, replica_count=2).run()
    assert cluster.config["replicaCount"] == 2


@BOTH
@pytest.mark.parametrize("status", ["Failed", "DeployError", "CrashLoopBackOff"])
def test_failure_like_status_fails_at_once(cloud, task, deferrable, status):
    cloud.cluster("c1", delay=0.1, breaks_as=status)

    started = time.monotonic()
    with pytest.raises(MageError, match=f"c1 is '{status}' instead of 'Active'"):
        task(MageStartClusterOperator, deferrable=deferrable).run()
    assert time.monotonic() - started < 5


def test_cluster_that_had_failed_before_can_be_started(cloud, task):
    cluster = cloud.cluster("c1", status="Failed", delay=0.3)
    cluster.on_the_way = ("Failed", "Failed")  # says so until it is up

    assert task(MageStartClusterOperator).run() == "Active"


def test_old_failure_counts_again_when_it_does_not_go_away(cloud, task, monkeypatch):
    monkeypatch.setattr(watch_module, "OLD_FAILURE_PATIENCE", 0.2)
    cluster = cloud.cluster("c1", status="Failed", delay=60)
    cluster.on_the_way = ("Failed", "Failed")

    with pytest.raises(MageError, match="is 'Failed'"):
        task(MageStartClusterOperator).run()


@BOTH
def test_unknown_status_is_waited_for_until_time_is_up(cloud, task, deferrable):
    cloud.cluster("c1", delay=60)

    with pytest.raises(TimeoutError, match="c1 is 'Starting'"):
        task(MageStartClusterOperator, deferrable=deferrable, timeout=2).run()


@BOTH
def test_somebody_elses_stop_ends_the_wait_for_the_start(cloud, task, deferrable, handle):
    cloud.cluster("c1", delay=60)

    def stop_once_it_is_waited_for():
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            methods = [request.method for request in list(cloud.requests)]
            if (
                "PUT" in methods and methods[methods.index("PUT") :].count("GET") > 2
            ):  # one is the start's own
                return stop_cluster(handle)
            time.sleep(0.02)
        raise TimeoutError

    with ThreadPoolExecutor() as pool:
        stop = pool.submit(stop_once_it_is_waited_for)
        with pytest.raises(MageError, match="Somebody else has stopped cluster c1"):
            task(MageStartClusterOperator, deferrable=deferrable, timeout=60).run()
        stop.result()


def test_no_waiting_if_not_asked_for(cloud, task):
    cloud.cluster("c1", delay=60)

    assert task(MageStartClusterOperator, wait_for_completion=False).run() == "Starting"


def test_unknown_cluster_and_team_are_named_as_such(task):
    with pytest.raises(MageNotFoundError):
        task(MageStartClusterOperator, cluster_id="nobody").run()
    with pytest.raises(MageNotFoundError):
        task(MageStartClusterOperator, team_id="nobody").run()


def test_team_is_the_connections_unless_the_task_names_one(cloud, task):
    other = cloud.cluster("c1", "team-2")

    task(MageStartClusterOperator).run()
    assert other.history == []
    task(MageStartClusterOperator, team_id="team-2").run()
    assert other.status == "Active"


def test_task_without_any_team_says_so(cloud, task, connect_cloud):
    conn_id = connect_cloud(extra={})

    with pytest.raises(ValueError, match="team_id"):
        task(MageStartClusterOperator, mage_cloud_conn_id=conn_id).run()


@pytest.mark.parametrize("cluster_id", ["a/b", "ü?x=1", "c 1"])
def test_ids_stay_within_their_segment_of_the_path(cloud, task, cluster_id):
    cloud.cluster(cluster_id, "t/1")

    task(MageStartClusterOperator, cluster_id=cluster_id, team_id="t/1").run()

    assert cloud.status(cluster_id, "t/1") == "Active"


@pytest.mark.parametrize(
    "fault", [CLOSE_BEFORE, CLOSE_AFTER, http_error(502), http_error(504, is_processed=True)]
)
def test_change_of_unknown_fate_is_looked_for_before_it_is_sent_again(cloud, handle, fault):
    cloud.inject(fault, match=PUT)
    arrived = fault.is_processed

    cluster, has_asked = start_cluster(handle)

    assert (cluster.status, has_asked) == ("Active", True)
    assert cloud.count(*PUT) == (1 if arrived else 2)
    after_first_put = [
        r.method for r in cloud.requests[[r.method for r in cloud.requests].index("PUT") + 1 :]
    ]
    assert after_first_put[0] == "GET"


def test_late_change_is_waited_for(cloud, handle):
    cloud.inject(late_request(0.8), match=PUT)  # the client gives up after 0.5 s

    cluster, _ = start_cluster(handle)

    assert cluster.status == "Active"
    assert cloud.count(*PUT) == 1


def test_outage_is_not_a_failed_cluster(cloud, task):
    cloud.cluster("c1", delay=0.2)
    cloud.inject(http_error(503), times=3, match=("GET", "clusters"), skip=4)

    assert task(MageStartClusterOperator).run() == "Active"


def test_outage_that_lasts_ends_the_wait_and_says_how_it_stood(cloud, task):
    cloud.cluster("c1", delay=60)
    cloud.inject(http_error(503), times=None, match=("GET", "clusters"), skip=5)

    with pytest.raises(MageTransportError, match="Last seen: cluster c1 is 'Starting'"):
        task(MageStartClusterOperator, max_unreachable=0.3).run()


def test_foreign_write_after_ours_is_noticed_and_ours_made_again(cloud, handle):
    stale = {**cloud.cloud.teams["team-1"]["c1"].config, "zone": "eu"}

    def foreign_write(request, answer):
        cloud.cloud.teams["team-1"]["c1"].config = dict(stale)
        return answer

    from fakes.faults import Fault

    cloud.inject(Fault("foreign write", is_processed=True, change=foreign_write), match=PUT)
    start_cluster(handle)

    config = cloud.cloud.teams["team-1"]["c1"].config
    assert (config["replicaCount"], config["zone"]) == (1, "eu")


@BOTH
def test_started_means_usable_when_the_clusters_own_connection_is_given(
    cloud, task, deferrable, mage, connect, caplog
):
    mage.inject(http_error(503), times=3, match=("GET", "/api/status"))

    with caplog.at_level("INFO"):
        task(MageStartClusterOperator, deferrable=deferrable, mage_conn_id=connect("mage")).run()

    assert mage.count("GET", "/api/status") == 4
    assert "its own API does not answer" in caplog.text


def test_cluster_that_runs_already_must_be_usable_too(cloud, task, mage, connect):
    cloud.cluster("c1", status="Active")

    task(MageStartClusterOperator, mage_conn_id=connect("mage")).run()

    assert mage.count("GET", "/api/status") == 1
    assert cloud.count(*PUT) == 0


@pytest.fixture
def busy_mage(mage):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    mage.advance(run.id, 2)
    return mage


def test_busy_cluster_is_not_stopped_if_that_is_to_fail(cloud, task, busy_mage, connect):
    cloud.cluster("c1", status="Active")

    with pytest.raises(MageError, match="run 1 of daily_orders"):
        task(MageStopClusterOperator, if_busy="fail", mage_conn_id=connect("mage")).run()
    assert cloud.count(*PUT) == 0


@BOTH
def test_busy_cluster_is_stopped_once_its_runs_are_done(cloud, task, deferrable, busy_mage, connect):
    cloud.cluster("c1", status="Active")
    threading.Timer(0.5, lambda: busy_mage.finish(1)).start()

    stop = task(MageStopClusterOperator, if_busy="wait", mage_conn_id=connect("mage"), deferrable=deferrable)

    assert stop.run() == "Stopped"
    assert busy_mage.pipeline_runs[1].status == "completed"


def test_runs_are_cancelled_before_the_stop(cloud, task, busy_mage, connect):
    cloud.cluster("c1", status="Active")

    assert (
        task(MageStopClusterOperator, if_busy="cancel_runs", mage_conn_id=connect("mage")).run() == "Stopped"
    )
    assert busy_mage.pipeline_runs[1].status == "cancelled"


def test_run_that_nobody_will_ever_start_keeps_no_cluster_up(cloud, task, mage, connect):
    cloud.cluster("c1", status="Active")
    mage.pipeline_run(mage.pipeline_schedule("daily_orders", status="inactive"))

    assert task(MageStopClusterOperator, if_busy="fail", mage_conn_id=connect("mage")).run() == "Stopped"


@pytest.mark.parametrize("arguments", [{"if_busy": "explode"}, {"if_busy": "fail"}])
def test_what_to_do_with_a_busy_cluster_is_checked_first(cloud, task, arguments):
    with pytest.raises(ValueError, match="if_busy"):
        task(MageStopClusterOperator, **arguments).run()
    assert cloud.requests == []


@BOTH
@pytest.mark.parametrize(("undo", "status"), [(True, "Stopped"), (False, "Active")])
def test_start_that_was_under_way_is_left_alone_or_undone(cloud, task, undo, status, deferrable):
    cloud.cluster("c1", delay=0.2)
    start = task(MageStartClusterOperator, undo_on_kill=undo, timeout=0.1, deferrable=deferrable)

    with pytest.raises(TimeoutError):
        start.run()

    time.sleep(0.5)
    assert cloud.status("c1") == status


@BOTH
def test_cluster_that_ran_already_is_never_undone(cloud, task, connect, deferrable):
    cloud.cluster("c1", status="Active")
    nowhere = connect("mage", host="http://127.0.0.1:9")

    with pytest.raises(TimeoutError):
        task(
            MageStartClusterOperator,
            undo_on_kill=True,
            timeout=0.2,
            mage_conn_id=nowhere,
            deferrable=deferrable,
        ).run()
    assert cloud.status("c1") == "Active"


@pytest.fixture
def deferred_start(cloud, task):
    """A task that has asked for a start, may undo it, and waits in the triggerer."""
    cloud.cluster("c1", delay=60)
    instance = task(MageStartClusterOperator, undo_on_kill=True, deferrable=True)
    with pytest.raises(TaskDeferred) as deferral, set_current_context(instance.context):
        instance.operator.execute(instance.context)
    instance.trigger = deferral.value.trigger
    return instance


def test_failure_is_not_hidden_by_undoing_it(cloud, task):
    """Not even where Airflow no longer knows what it was executing."""
    operator = task(MageStartClusterOperator, undo_on_kill=True, replica_count="many").operator

    with pytest.raises(ValueError, match="replica_count"):
        operator.execute({})


def test_kill_while_deferred_undoes_the_start(cloud, deferred_start, monkeypatch):
    monkeypatch.setattr(_compat, "_is_deferred", lambda *_: False)
    deferred_start.trigger.task_instance = deferred_start

    asyncio.run(deferred_start.trigger.on_kill())

    assert cloud.cloud.teams["team-1"]["c1"].target == "Stopped"


def test_task_that_is_resumed_only_to_be_killed_undoes_its_start(cloud, deferred_start):
    """As Airflow 2.11 does when `execution_timeout` has passed in the meantime."""
    with set_current_context(deferred_start.context):
        deferred_start.make_operator().on_kill()

    assert cloud.cloud.teams["team-1"]["c1"].target == "Stopped"


def test_trigger_row_holds_no_secret(cloud, task):
    with pytest.raises(TaskDeferred) as deferral:
        task(MageStartClusterOperator, deferrable=True).operator.execute({})

    row = json.dumps(deferral.value.trigger.serialize())
    assert cloud.password not in row
    assert "prod" not in row


def test_expired_log_in_is_renewed(cloud, task):
    handle = task(MageStartClusterOperator)
    handle.run()
    cloud._account.expiry_of.clear()

    task(MageStopClusterOperator).run()

    assert cloud.log_ins == 2
    assert isinstance(cloud, FakeMageCloud)


@pytest.mark.parametrize(
    "operator_class",
    [MageStartClusterOperator, MageStopClusterOperator, MageRestartClusterOperator],
)
def test_missing_connection_is_told_in_a_sentence_and_not_tried_again(cloud, task, operator_class):
    with pytest.raises(AirflowFailException) as caught:
        task(operator_class, mage_cloud_conn_id="nowhere").run()

    assert str(caught.value) == (
        "Airflow has no connection 'nowhere': create one of type mage_cloud with that id, or name another in "
        "`mage_cloud_conn_id`."
    )
    assert cloud.requests == []
