"""A sensor that waits for a cluster."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._clusters.goal import ClusterGoal
from airflow_provider_mage.api.cloud import ACTIVE
from airflow_provider_mage.sensors.deferrable import DeferrableSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage._clusters.watch import ClusterWatch
    from airflow_provider_mage.hooks.mage_cloud import MageCloudHook


class MageClusterSensor(DeferrableSensor):
    """
    Waits until a Mage Pro cluster has a status.

    A Mage Cloud that cannot be reached for a while says nothing about the cluster: the sensor looks again
    for as long as its ``timeout`` allows. A failure-like status fails at once. ``soft_fail`` skips the task
    when its time is over, ``never_fail`` on any failure, in every mode alike.

    :param cluster_id: The cluster. (templated)
    :param team_id: The team it belongs to; by default the connection's ``team_id``. (templated)
    :param status: The status to wait for: ``Active``, ``Stopped``, or any other that Mage Cloud may show.
        (templated)
    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud. (templated)
    :param mage_conn_id: The Airflow connection to the cluster's own API, if an active cluster has to answer
        there, too. (templated)
    :param kwargs: ``deferrable``, as in :class:`~airflow_provider_mage.sensors.deferrable.DeferrableSensor`,
        and those of every sensor.
    """

    template_fields: Sequence[str] = (
        "cluster_id",
        "team_id",
        "status",
        "mage_cloud_conn_id",
        "mage_conn_id",
    )
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        cluster_id: str,
        team_id: str | None = None,
        status: str = ACTIVE,
        mage_cloud_conn_id: str = "mage_cloud_default",
        mage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.team_id = team_id
        self.status = status
        self.mage_cloud_conn_id = mage_cloud_conn_id
        self.mage_conn_id = mage_conn_id

    @cached_property
    def hook(self) -> MageCloudHook:
        """The connection to Mage Cloud."""
        from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

        return MageCloudHook(self.mage_cloud_conn_id, retry_for=0.0)

    def poke(self, context: Context) -> bool:  # noqa: ARG002  # Airflow's signature
        """Look at the cluster once."""
        from airflow_provider_mage.api.errors import MageError

        watch = self._watch()
        try:
            cluster = self._handle().read()
        except MageError as error:
            watch.missed(error)
            return False
        if not watch.saw(cluster):
            return False
        reason = self._obstacle(watch.goal)
        if reason is not None:
            watch.found_obstacle(reason)
        return reason is None

    def execute_complete(self, context: Context, event: Any = None) -> None:  # noqa: ARG002
        """
        Go on after the trigger has waited.

        :param context: The task's context.
        :param event: The trigger's event.
        """
        with self._skipping():
            self._read_event(event, "cluster_id")

    def _handle(self) -> ClusterHandle:
        from airflow_provider_mage._clusters.handle import ClusterHandle, read_name

        return ClusterHandle(
            self.hook.client,
            read_name(self.team_id, "team_id", instead=self.hook.team_id),
            read_name(self.cluster_id, "cluster_id"),
        )

    def _watch(self) -> ClusterWatch:
        from airflow_provider_mage._clusters.watch import ClusterWatch

        # Only the sensor's own time-out ends a wait for a Mage Cloud that is out of reach.
        goal = ClusterGoal(str(self.cluster_id), self.status, max_unreachable=float("inf"))
        return ClusterWatch(goal)

    @property
    def _answering_conn_id(self) -> str | None:
        """The connection to the cluster's own API, if that has to answer: one that is down cannot."""
        return self.mage_conn_id if self.status.casefold() == ACTIVE.casefold() else None

    def _obstacle(self, goal: ClusterGoal) -> str | None:
        from airflow_provider_mage._clusters.activity import why_unusable
        from airflow_provider_mage.hooks.mage import MageHook

        if self._answering_conn_id is None:
            return None
        return why_unusable(MageHook(self._answering_conn_id, retry_for=0.0).client, goal)

    def _defer(self, deadline: float | None) -> None:
        from airflow_provider_mage.triggers.cluster import MageClusterTrigger

        handle = self._handle()
        self.defer(
            trigger=MageClusterTrigger(
                self.mage_cloud_conn_id,
                handle.team_id,
                handle.cluster_id,
                self.status,
                float(self.poke_interval),
                deadline=deadline,
                max_unreachable=float(self.timeout),
                mage_conn_id=self._answering_conn_id,
            ),
            method_name="execute_complete",
            timeout=self.execution_timeout,
        )
