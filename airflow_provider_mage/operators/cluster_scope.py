"""The two tasks around a block of tasks that share a cluster, for :mod:`airflow_provider_mage.cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage.operators.cluster import MageStartClusterOperator, MageStopClusterOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.lease import Holder, Leases


class MageClusterSetupOperator(MageStartClusterOperator):
    """
    Takes a lease of a cluster and starts it, unless it runs.

    :param kwargs: Those of :class:`~airflow_provider_mage.operators.cluster.MageStartClusterOperator`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def execute(self, context: Context) -> str:
        """Take a lease, and see that the cluster runs."""
        from airflow_provider_mage._clusters.lease import Leases, VariableStore

        handle = self._handle()
        leases = Leases(VariableStore(handle), handle.name_on_host)
        leases.acquire(_holder(context, self.task_id), deadline=self._new_deadline())
        return super().execute(context)


class MageClusterTeardownOperator(MageStopClusterOperator):
    """
    Gives a lease of a cluster back, and stops the cluster if nobody else has one.

    It is run however the tasks before it have ended, the setup among them: a start that was under way when
    its task was killed has left a lease, too.

    :param setup_task_id: The task that takes the lease.
    :param kwargs: Those of :class:`~airflow_provider_mage.operators.cluster.MageStopClusterOperator`.
    """

    def __init__(self, *, setup_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.setup_task_id = setup_task_id

    def stop_when_idle(self, context: Context, event: Any = None, deadline: float | None = None) -> str:
        """
        Stop the cluster if nobody else needs it, or wait until that is possible and come back here.

        :param context: The task's context.
        :param event: The trigger's event, if it has waited for the cluster's runs.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :return: The cluster's status.
        """
        if not self._leases().announce_stop(_holder(context, self.setup_task_id)):
            return self._finish()
        status = super().stop_when_idle(context, event, deadline)
        self._leases().release(_holder(context, self.setup_task_id))
        return status

    def execute_complete(self, context: Context, event: Any = None, deadline: float | None = None) -> str:
        """
        Go on after the trigger has waited for the last time.

        :param context: The task's context.
        :param event: The trigger's event.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :return: The cluster's status.
        """
        status = super().execute_complete(context, event, deadline)
        self._leases().release(_holder(context, self.setup_task_id))
        return status

    def _leases(self) -> Leases:
        from airflow_provider_mage._clusters.lease import Leases, VariableStore

        handle = self._handle()
        return Leases(VariableStore(handle), handle.name_on_host)


def _holder(context: Context, setup_task_id: str) -> Holder:
    from airflow_provider_mage._clusters.lease import Holder

    ti = context["ti"]
    return Holder(ti.dag_id, ti.run_id, setup_task_id, -1 if ti.map_index is None else ti.map_index)
