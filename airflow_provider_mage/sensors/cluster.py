"""A sensor that waits for a cluster."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import read_name, read_optional_name
from airflow_provider_mage._clusters.goal import ClusterGoal
from airflow_provider_mage.api.cloud import ACTIVE
from airflow_provider_mage.sensors.deferrable import DeferrableSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.view import ClusterView
    from airflow_provider_mage._clusters.watch import ClusterWatch
    from airflow_provider_mage.hooks.mage_cloud import MageCloudHook


class MageClusterSensor(DeferrableSensor):
    """
    Waits until a Mage Pro cluster has a status.

    While Mage Cloud cannot be reached, the sensor looks again for as long as its ``timeout`` allows. A
    failure-like status fails at once. ``soft_fail`` skips the task when its time is over, ``never_fail`` on
    any failure, in every mode alike.

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

        return MageCloudHook(self._mage_cloud_conn_id)

    def poke(self, context: Context) -> bool:  # noqa: ARG002  # Airflow's signature
        """Look at the cluster once."""
        from airflow_provider_mage._waiting.drive import look_once
        from airflow_provider_mage._waiting.watch import Over

        watch, view = self._wait
        return isinstance(look_once(watch, view.look, view.ask, time), Over)

    def execute_complete(self, context: Context, event: Any = None) -> None:  # noqa: ARG002
        """Go on after the trigger has waited."""
        self._read_event(event, "cluster_id")

    @property
    def _mage_cloud_conn_id(self) -> str:
        return read_name(self.mage_cloud_conn_id, "mage_cloud_conn_id")

    @property
    def _mage_conn_id(self) -> str | None:
        return read_optional_name(self.mage_conn_id, "mage_conn_id")

    @cached_property
    def _team_id(self) -> str:
        return read_name(self.team_id, "team_id", instead=self.hook.team_id)

    @cached_property
    def _wait(self) -> tuple[ClusterWatch, ClusterView]:
        """The wait that each poke of this process goes on with."""
        from airflow_provider_mage._clusters.watch import ClusterWatch
        from airflow_provider_mage.hooks.mage_cloud import view_cluster

        # Only the sensor's own time-out ends a wait for a Mage Cloud that is out of reach.
        goal = self._goal(deadline=None, max_unreachable=float("inf"))
        view = view_cluster(
            goal,
            mage_cloud_conn_id=self._mage_cloud_conn_id,
            team_id=self._team_id,
            mage_conn_id=self._mage_conn_id,
        )
        return ClusterWatch(goal), view

    def _goal(self, *, deadline: float | None, max_unreachable: float) -> ClusterGoal:
        return ClusterGoal(
            cluster_id=read_name(self.cluster_id, "cluster_id"),
            status=read_name(self.status, "status"),
            poll_interval=float(self.poke_interval),
            deadline=deadline,
            max_unreachable=max_unreachable,
        )

    def _defer(self, deadline: float | None) -> None:
        from airflow_provider_mage.triggers.cluster import MageClusterTrigger

        # No longer than that, and JSON has no infinity.
        goal = self._goal(deadline=deadline, max_unreachable=float(self.timeout))
        self.defer(
            trigger=MageClusterTrigger(
                self._mage_cloud_conn_id, self._team_id, mage_conn_id=self._mage_conn_id, **asdict(goal)
            ),
            method_name="execute_complete",
            timeout=self.execution_timeout,
        )
