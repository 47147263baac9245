"""The two tasks around a block of tasks that share a cluster, for :mod:`airflow_provider_mage.cluster`."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._compat import is_dag_run_active, read_variable, write_variable
from airflow_provider_mage.operators.cluster import MageStartClusterOperator, MageStopClusterOperator
from airflow_provider_mage.operators.cluster_steps import finish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage._clusters.lease import Holder, Leases, Stored
    from airflow_provider_mage.operators.cluster_base import ClusterOperator

log = logging.getLogger(__name__)

DESCRIPTION = "Which DAG runs need a Mage Pro cluster: it is stopped when the last of them is done."


def take_lease(task: MageClusterSetupOperator, context: Context) -> None:
    """Take a lease of the cluster, which may have to be down first."""
    _leases(task).acquire(_holder(context, task.task_id), deadline=task.deadline)


def announce_stop(task: MageClusterTeardownOperator, context: Context) -> str | None:
    """Say that this DAG run does not need the cluster any more; if others do, the task is done."""
    is_to_stop = _leases(task).announce_stop(_holder(context, task.setup_task_id))
    return None if is_to_stop else finish(task, context)


def release_lease(task: MageClusterTeardownOperator, context: Context) -> str:
    """Give the lease back, now that whoever waits for that may start the cluster again."""
    _leases(task).release(_holder(context, task.setup_task_id))
    return finish(task, context)


class MageClusterSetupOperator(MageStartClusterOperator):
    """
    Takes a lease of a cluster and starts it, unless it runs.

    :param kwargs: Those of :class:`~airflow_provider_mage.operators.cluster.MageStartClusterOperator`.
    """

    steps = (take_lease, *MageStartClusterOperator.steps)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class MageClusterTeardownOperator(MageStopClusterOperator):
    """
    Gives a lease of a cluster back, and stops the cluster if nobody else has one.

    It is run however the tasks before it have ended, the setup among them: a start that was under way when
    its task was killed has left a lease, too.

    :param setup_task_id: The task that takes the lease.
    :param kwargs: Those of :class:`~airflow_provider_mage.operators.cluster.MageStopClusterOperator`.
    """

    steps = (announce_stop, *MageStopClusterOperator.steps[:-1], release_lease)

    def __init__(self, *, setup_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.setup_task_id = setup_task_id


class VariableStore:
    """
    The leases of a cluster in an Airflow Variable.

    :param handle: The cluster.
    """

    def __init__(self, handle: ClusterHandle) -> None:
        # The digest tells apart what a Variable's key cannot, and the clusters of other addresses.
        name = f"{handle.team_id}_{handle.cluster_id}"
        digest = hashlib.sha256(handle.name_on_host.encode()).hexdigest()[:8]
        self.key = f"mage_cluster_leases_{re.sub(r'[^A-Za-z0-9-]', '_', name)[:150]}_{digest}"
        self._has_warned = False

    def read(self) -> Stored:
        """Return all leases."""
        from airflow_provider_mage._clusters.lease import Damaged, read_leases

        leases = read_leases(read_variable(self.key))
        if isinstance(leases, Damaged) and not self._has_warned:
            self._has_warned = True
            log.warning(
                "Variable %r holds something that is no lease of a cluster, and does not count; has somebody "
                "edited it?",
                self.key,
            )
        return leases

    def write(self, leases: Stored) -> None:
        """Store all leases; the Variable goes with the last of them."""
        write_variable(self.key, json.dumps(leases) if leases else None, DESCRIPTION)


def _leases(task: ClusterOperator) -> Leases:
    from airflow_provider_mage._clusters.lease import Leases

    handle = task.handle()
    return Leases(handle, VariableStore(handle), is_active=is_dag_run_active)


def _holder(context: Context, setup_task_id: str) -> Holder:
    from airflow_provider_mage._clusters.lease import Holder

    ti = context["ti"]
    return Holder(ti.dag_id, ti.run_id, setup_task_id, -1 if ti.map_index is None else ti.map_index)
