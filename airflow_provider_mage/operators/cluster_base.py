"""What the operators about one Mage Pro cluster share."""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_mage._arguments import read_seconds
from airflow_provider_mage._clusters.goal import IDLE, ClusterGoal
from airflow_provider_mage.api.cloud import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.hooks.mage_cloud import MageCloudHook


class ClusterOperator(BaseOperator):
    """
    A task about one cluster.

    :param cluster_id: The cluster. (templated)
    :param team_id: The team it belongs to; by default the connection's ``team_id``. (templated)
    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud. (templated)
    :param kwargs: Those of every operator.
    """

    template_fields: Sequence[str] = ("cluster_id", "team_id", "mage_cloud_conn_id")
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        cluster_id: str,
        team_id: str | None = None,
        mage_cloud_conn_id: str = "mage_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.team_id = team_id
        self.mage_cloud_conn_id = mage_cloud_conn_id

    @cached_property
    def hook(self) -> MageCloudHook:
        """The connection to Mage Cloud."""
        from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

        return MageCloudHook(self.mage_cloud_conn_id)

    def _handle(self, hook: MageCloudHook | None = None) -> ClusterHandle:
        from airflow_provider_mage._clusters.handle import ClusterHandle, read_name

        hook = hook or self.hook
        return ClusterHandle(
            hook.client,
            read_name(self.team_id, "team_id", instead=hook.team_id),
            read_name(self.cluster_id, "cluster_id"),
        )


class WaitingClusterOperator(ClusterOperator):
    """
    A task that turns a cluster on or off and waits for it.

    :param mage_conn_id: The Airflow connection to the cluster's own API. With it, a start waits until that
        answers, too, and a stop can see what runs there. (templated)
    :param wait_for_completion: Whether the task lasts until the cluster is as it should be.
    :param deferrable: Whether the triggerer waits, so that the wait takes up no worker; by default as
        Airflow's configuration says (``[operators] default_deferrable``).
    :param poll_interval: The longest pause between two looks at the cluster, in seconds or as a timedelta,
        like all times here.
    :param timeout: How long to wait before the task fails; None for no limit.
    :param max_unreachable: How long Mage Cloud may be out of reach before the task fails.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id``, and those of every operator.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "mage_conn_id")

    def __init__(
        self,
        *,
        mage_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 15.0,
        timeout: float | timedelta | None = 1800.0,
        max_unreachable: float | timedelta = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mage_conn_id = mage_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = read_seconds(poll_interval, "poll_interval")
        self.timeout = None if timeout is None else read_seconds(timeout, "timeout")
        self.max_unreachable = read_seconds(max_unreachable, "max_unreachable", least=0.0)
        self._has_asked: bool | None = None
        """Whether this task is why the cluster starts; None in an instance that has not looked."""

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002  # Airflow's signature
        event: Any = None,
        deadline: float | None = None,  # noqa: ARG002  # what every deferral carries
    ) -> str:
        """
        Go on after the trigger has waited for the last time.

        :param context: The task's context.
        :param event: The trigger's event.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :return: The cluster's status.
        """
        self._check_event(event)
        return self._finish()

    def _new_deadline(self) -> float | None:
        return None if self.timeout is None else time.time() + self.timeout

    def _finish(self) -> str:
        status = self._handle().read().status
        self.log.info("Cluster %s is %r.", self.cluster_id, status)
        return status

    @staticmethod
    def _check_event(event: Any) -> None:
        from airflow_provider_mage.triggers.event import read_event

        _, failure = read_event(event, "cluster_id")
        if failure:
            raise failure

    def _start_and_wait(self, replica_count: int | None, deadline: float | None) -> str:
        from airflow_provider_mage._clusters.start_stop import start_cluster

        handle = self._handle()
        before = handle.read()
        # Known before it is asked for: a task may be killed in the middle of that.
        self._has_asked = not before.is_active
        cluster, self._has_asked = start_cluster(handle, replica_count)
        if self.wait_for_completion and (self._has_asked or self.mage_conn_id is not None):
            old_status = before.status if before.has_failed else None
            self._wait(ACTIVE, deadline, then="execute_complete", old_status=old_status)
            return self._finish()
        return cluster.status

    def _wait(
        self,
        status: str,
        deadline: float | None,
        *,
        then: str,
        old_status: str | None = None,
        **carried: Any,
    ) -> None:
        """
        Wait until the cluster is as it should be: here, or in the triggerer, after which a method goes on.

        :param status: The status it is to have.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :param then: The method's name.
        :param old_status: A failure-like status that it had before.
        :param carried: What the method is to know.
        """
        from airflow_provider_mage._clusters.activity import why_unusable
        from airflow_provider_mage._clusters.watch import ClusterWatch, wait_for_cluster

        goal = ClusterGoal(
            cluster_id=str(self.cluster_id),
            status=status,
            old_status=old_status,
            poll_interval=self.poll_interval,
            deadline=deadline,
            max_unreachable=self.max_unreachable,
            is_order=status != IDLE,
        )
        uses_mage = status == IDLE or (status == ACTIVE and self.mage_conn_id is not None)
        if self.deferrable:
            self._defer(goal, then, uses_mage=uses_mage, carried=carried)
        mage = self._mage(retry_for=0.0) if uses_mage else None
        wait_for_cluster(
            self._handle(self.hook.retrying_for(0.0)),
            ClusterWatch(goal),
            obstacle=partial(why_unusable, mage, goal) if mage else lambda: None,
        )

    def _mage(self, **options: Any) -> MageClient:
        from airflow_provider_mage.hooks.mage import MageHook

        return MageHook(str(self.mage_conn_id), **options).client

    def _defer(self, goal: ClusterGoal, then: str, *, uses_mage: bool, carried: dict[str, Any]) -> None:
        from airflow_provider_mage.triggers.cluster import MageClusterTrigger

        handle = self._handle()
        self.defer(
            trigger=MageClusterTrigger(
                self.mage_cloud_conn_id,
                handle.team_id,
                handle.cluster_id,
                goal.status,
                goal.poll_interval,
                old_status=goal.old_status,
                deadline=goal.deadline,
                max_unreachable=goal.max_unreachable,
                mage_conn_id=self.mage_conn_id if uses_mage else None,
                is_order=goal.is_order,
                stop_on_kill=self._stops_on_kill,
            ),
            method_name=then,
            kwargs={"deadline": goal.deadline, **carried},
            # Airflow 3.3 enforces a deferred task's execution_timeout only if it is told so here (observed).
            timeout=self.execution_timeout,
        )

    @property
    def _stops_on_kill(self) -> bool:
        """Whether the cluster is to be stopped if the task is killed while it waits."""
        return False
