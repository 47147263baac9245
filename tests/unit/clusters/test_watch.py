"""The rules of waiting for a cluster: what is seen, and what the time is, are plain values here."""

import pytest

from airflow_provider_mage._clusters.goal import IDLE, ClusterGoal
from airflow_provider_mage._clusters.watch import AskCluster, ClusterWatch, Obstacle
from airflow_provider_mage._waiting.watch import Over, Wait
from airflow_provider_mage.api.errors import MageAuthError, MageError, MageTransportError
from airflow_provider_mage.api.models import Cluster

NO_ANSWER = MageTransportError("No answer.", temporary=True)
UP, DOWN = {"replicaCount": 1}, {"replicaCount": 0}


def seen(status, config=None):
    return Cluster("c1", status, config or {})


def watch(status="Active", **rules):
    return ClusterWatch(ClusterGoal(cluster_id="c1", status=status, **rules))


def test_cluster_that_runs_is_asked_before_the_wait_is_over():
    one, cluster = watch(), seen("Active")

    assert one.step(cluster, 0) == AskCluster(cluster)
    assert one.step(None, 0) == Over(cluster)


@pytest.mark.parametrize("status", ["Stopped", "Hibernated"])
def test_cluster_that_is_not_to_run_is_not_asked(status):
    assert watch(status).step(seen(status), 0) == Over(seen(status))


def test_statuses_are_compared_without_regard_to_case():
    assert watch("stopped").step(seen("STOPPED"), 0) == Over(seen("STOPPED"))


def test_obstacle_is_waited_out_and_the_cluster_asked_again_at_the_next_look():
    one, cluster = watch(deadline=100), seen("Active")
    one.step(cluster, 0)

    assert one.step(Obstacle("is 'Active', but its own API does not answer. Oh."), 0).look_in == 2.0
    assert one.step(cluster, 2) == AskCluster(cluster)
    assert one.step(Obstacle("is 'Active', but its own API does not answer. Oh."), 2).look_in == 3.0
    with pytest.raises(TimeoutError, match=r"^Timed out: cluster c1 is 'Active', but its .* answer. Oh\.$"):
        one.step(NO_ANSWER, 101)


@pytest.mark.parametrize(("status", "is_asked"), [("Active", True), ("Strange", True), ("Stopped", False)])
def test_only_a_cluster_that_may_run_can_be_idle(status, is_asked):
    step = watch(IDLE).step(seen(status), 0)

    assert isinstance(step, AskCluster if is_asked else Wait)


def test_looks_become_rarer_up_to_the_poll_interval():
    one = watch(poll_interval=5.0)

    assert [one.step(seen("Starting"), now).look_in for now in range(5)] == [2.0, 3.0, 4.5, 5.0, 5.0]


def test_first_look_is_made_at_once():
    assert watch().step(None, 0) == Wait(0.0, None)


def test_no_look_is_later_than_the_deadline():
    one = watch(deadline=1.0)

    assert one.step(seen("Starting"), 0).look_in == pytest.approx(1.0, abs=0.1)
    with pytest.raises(TimeoutError, match=r"^Timed out: cluster c1 is 'Starting'\.$"):
        one.step(None, 1.01)


@pytest.mark.parametrize("status", ["Failed", "DeployError", "CrashLoopBackOff"])
def test_failure_ends_the_wait(status):
    with pytest.raises(MageError, match=f"Cluster c1 is '{status}' instead of 'Active'"):
        watch().step(seen(status), 0)


def test_failure_can_be_what_is_waited_for():
    assert watch("Failed").step(seen("Failed"), 0) == Over(seen("Failed"))


def test_old_failure_counts_once_it_has_had_time_to_go_away():
    one = watch(old_status="Failed")

    assert isinstance(one.step(seen("Failed"), 1000), Wait)
    assert isinstance(one.step(seen("Failed"), 1059), Wait)
    with pytest.raises(MageError, match="'Failed'"):
        one.step(seen("Failed"), 1060)


def test_other_failure_than_the_old_one_counts_at_once():
    with pytest.raises(MageError, match="'DeployError'"):
        watch(old_status="Failed").step(seen("DeployError"), 0)


@pytest.mark.parametrize(
    ("status", "ordered", "opposite", "verb"),
    [("Active", UP, DOWN, "stopped"), ("Stopped", DOWN, UP, "started")],
)
def test_somebody_who_turns_it_the_other_way_ends_the_wait(status, ordered, opposite, verb):
    one = watch(status, is_order=True)

    # Not yet the order that this task has given.
    assert isinstance(one.step(seen("Changing", opposite), 0), Wait)
    assert isinstance(one.step(seen("Changing", ordered), 1), Wait)
    with pytest.raises(MageError, match=f"Somebody else has {verb} cluster c1"):
        one.step(seen("Changing", opposite), 2)


def test_whoever_has_ordered_nothing_waits_on_whatever_others_do():
    one = watch()

    for config in (DOWN, UP, DOWN):
        assert isinstance(one.step(seen("Changing", config), 0), Wait)


def test_active_cluster_without_replicas_is_about_to_stop():
    assert isinstance(watch(is_order=True).step(seen("Active", DOWN), 0), Wait)
    assert isinstance(watch(is_order=False).step(seen("Active", DOWN), 0), AskCluster)


def test_outage_is_waited_out_and_ends_the_wait_when_it_lasts():
    one = watch(max_unreachable=60)
    one.step(seen("Starting"), 90)

    assert isinstance(one.step(NO_ANSWER, 100), Wait)
    assert isinstance(one.step(NO_ANSWER, 149), Wait)
    assert isinstance(one.step(seen("Starting"), 200), Wait)
    assert isinstance(one.step(NO_ANSWER, 215), Wait)
    with pytest.raises(
        MageTransportError,
        match=r"Cannot reach Mage Cloud since 1970-01-01 00:03:20 UTC; cluster c1 may still be starting or "
        r"stopping\. Last seen: cluster c1 is 'Starting'\. No answer\.",
    ):
        one.step(None, 260)


def test_pause_that_the_server_asks_for_is_kept():
    error = MageTransportError("Too many.", temporary=True, retry_after=40.0)

    assert watch().step(error, 0).look_in == 40.0


def test_error_that_will_not_pass_ends_the_wait():
    with pytest.raises(MageAuthError):
        watch().step(MageAuthError("No.", code=403), 0)


def test_each_change_is_logged_once(caplog):
    one = watch()
    with caplog.at_level("INFO"):
        for now, status in enumerate(["Starting", "Starting", "Warming", "Warming"]):
            one.step(seen(status), now)

    assert [record.message for record in caplog.records] == [
        "Waiting for 'Active': cluster c1 is 'Starting'.",
        "Waiting for 'Active': cluster c1 is 'Warming'.",
    ]
