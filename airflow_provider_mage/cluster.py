"""A Mage Pro cluster that is up while a block of tasks runs, and down afterwards, whatever became of them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, TaskGroup, TriggerRule, conf

from airflow_provider_mage.operators.cluster_scope import (
    MageClusterSetupOperator,
    MageClusterTeardownOperator,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

TEARDOWN_RETRIES = 3


@dataclass(frozen=True)
class ClusterScope:
    """
    What :func:`mage_cluster` hands out.

    :param start: The setup task; what is to be done before goes upstream of it.
    :param stop: The teardown task.
    """

    start: MageClusterSetupOperator
    stop: MageClusterTeardownOperator


@contextmanager
def mage_cluster(
    *,
    cluster_id: str,
    team_id: str | None = None,
    name: str = "cluster",
    replica_count: int | str | None = None,
    mage_cloud_conn_id: str = "mage_cloud_default",
    mage_conn_id: str | None = None,
    if_busy: str = "stop",
    on_failure_fail_dagrun: bool = False,
    deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
    poll_interval: float | timedelta = 15.0,
    timeout: float | timedelta | None = 1800.0,
    **kwargs: Any,
) -> Iterator[ClusterScope]:
    """
    Have a cluster up around the tasks that are made inside.

    The start is their setup and the stop their teardown. The stop runs if they succeed, fail, are skipped or
    cleared, and also if the start itself has failed or was killed. DAG runs of one Airflow may share a
    cluster: it is stopped when none of them needs it any more. A cluster that runs already is used as it is,
    and stopped like any other.

    :param cluster_id: The cluster. (templated)
    :param team_id: The team it belongs to; by default the connection's ``team_id``. (templated)
    :param name: What the two tasks are called: ``start_<name>`` and ``stop_<name>``.
    :param replica_count: How many replicas it is to have; by default 1, or as many as it has if it runs.
        (templated)
    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud. (templated)
    :param mage_conn_id: The Airflow connection to the cluster's own API: the tasks begin when that answers.
        (templated)
    :param if_busy: What the stop does if pipelines still run on the cluster: ``stop`` it without looking,
        ``wait`` until they are done, ``cancel_runs``, or ``fail``. All but ``stop`` need ``mage_conn_id``.
    :param on_failure_fail_dagrun: Whether a stop that fails makes the DAG run fail.
    :param deferrable: Whether the triggerer waits; by default as Airflow's configuration says.
    :param poll_interval: The longest pause between two looks at the cluster, in seconds or as a timedelta.
    :param timeout: How long the start, and the stop, may take, likewise; None for no limit.
    :param kwargs: Arguments of every operator, such as ``pool`` or ``retries``, for both tasks.
    :yield: The two tasks.
    """
    shared: dict[str, Any] = {
        "cluster_id": cluster_id,
        "team_id": team_id,
        "mage_cloud_conn_id": mage_cloud_conn_id,
        "mage_conn_id": mage_conn_id,
        "deferrable": deferrable,
        "poll_interval": poll_interval,
        "timeout": timeout,
    }
    start = MageClusterSetupOperator(
        task_id=f"start_{name}", replica_count=replica_count, **{**kwargs, **shared}
    )
    stop = MageClusterTeardownOperator(
        task_id=f"stop_{name}",
        setup_task_id=start.task_id,
        if_busy=if_busy,
        # A stop that fails costs money.
        **{"retries": TEARDOWN_RETRIES, **kwargs, **shared},
    )
    with stop.as_teardown(setups=start, on_failure_fail_dagrun=on_failure_fail_dagrun):
        # Airflow's own rule for teardowns leaves a cluster up whose start was killed half-way (observed).
        stop.trigger_rule = TriggerRule.ALL_DONE
        known = set(start.dag.task_ids)
        yield ClusterScope(start, stop)
    _connect_others(start, stop, set(start.dag.task_ids) - known)


def _connect_others(
    start: MageClusterSetupOperator, stop: MageClusterTeardownOperator, task_ids: set[str]
) -> None:
    """Put between the two what Airflow leaves out: mapped tasks, and teardowns (observed on 2.11 and 3.3)."""
    for task_id in sorted(task_ids):
        task = start.dag.get_task(task_id)
        if isinstance(task, BaseOperator) and not task.is_teardown:
            continue
        if start.task_id not in task.get_flat_relative_ids(upstream=True):
            task.set_upstream(start)
        if stop.task_id not in task.get_flat_relative_ids(upstream=False):
            task.set_downstream(stop)


@contextmanager
def mage_cluster_group(group_id: str, *, cluster_id: str, **kwargs: Any) -> Iterator[TaskGroup]:
    """
    Have a cluster up around a task group, which other tasks can go before and after.

    :param group_id: The task group.
    :param cluster_id: The cluster. (templated)
    :param kwargs: Those of :func:`mage_cluster`.
    :yield: The task group.
    """
    with TaskGroup(group_id=group_id) as group, mage_cluster(cluster_id=cluster_id, **kwargs):
        yield group
