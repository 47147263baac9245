"""
What the tasks about clusters consist of.

Each step gets the task and its context. It returns what is to be waited for before the next step, None to go
on at once, or the result of the task, which is done then. A deferred task remembers the next step by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage._arguments import read_count
from airflow_provider_mage._clusters.goal import IDLE
from airflow_provider_mage.api.cloud import ACTIVE, STOPPED

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.goal import ClusterGoal
    from airflow_provider_mage.operators.cluster_base import SteppedClusterOperator


def start(task: SteppedClusterOperator, context: Context) -> ClusterGoal | None:  # noqa: ARG001  as of every step
    """Ask for the cluster to run, unless it does."""
    from airflow_provider_mage._clusters.start_stop import start_cluster

    replica_count = task.replicas_before or read_count(task.replica_count, "replica_count")
    handle = task.handle()
    before = handle.read()
    # Known before it is asked for: a task may be killed in the middle of that.
    task.has_asked = not before.is_active
    task.seen, task.has_asked = start_cluster(handle, replica_count)
    if task.wait_for_completion and (task.has_asked or task.mage_conn_id is not None):
        return task.goal(ACTIVE, old_status=before.status if before.has_failed else None)
    return None


def clear_the_way(task: SteppedClusterOperator, context: Context) -> ClusterGoal | None:  # noqa: ARG001
    """Do with pipelines that run on the cluster what the author wants, before it is stopped."""
    from airflow_provider_mage._clusters.activity import active_runs, cancel_active_runs, require_idle
    from airflow_provider_mage.hooks.mage import MageHook

    if task.if_busy == "stop" or not task.handle().read().is_active:
        return None
    client = MageHook(str(task.mage_conn_id)).client
    if task.if_busy == "fail":
        require_idle(client)
    elif task.if_busy == "cancel_runs":
        cancel_active_runs(client)
    elif active_runs(client):
        return task.goal(IDLE)
    return None


def stop(task: SteppedClusterOperator, context: Context) -> ClusterGoal | None:  # noqa: ARG001
    """Ask for the cluster to stop, unless it has."""
    from airflow_provider_mage._clusters.start_stop import stop_cluster

    task.seen, has_asked = stop_cluster(task.handle())
    # It has to be down before it can be started again.
    is_waited_for = task.wait_for_completion or start in task.steps
    return task.goal(STOPPED) if has_asked and is_waited_for else None


def note_replicas(task: SteppedClusterOperator, context: Context) -> None:  # noqa: ARG001
    """Note how many replicas the cluster is to have afterwards, which a stop makes it forget."""
    wanted = read_count(task.replica_count, "replica_count")
    task.replicas_before = wanted or task.handle().read().replica_count or None


def finish(task: SteppedClusterOperator, context: Context) -> str:  # noqa: ARG001
    """Return the cluster's status."""
    if task.seen is None:
        task.seen = task.handle().read()
        task.log.info("Cluster %s is %r.", task.cluster_id, task.seen.status)
    return task.seen.status
