"""The trigger that waits for a cluster."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._clusters.goal import ClusterGoal
from airflow_provider_mage.api.cloud import ACTIVE
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.triggers.base import MageTrigger

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.watch import AskCluster, Obstacle
    from airflow_provider_mage._waiting.watch import Wait
    from airflow_provider_mage.api.models import Cluster
    from airflow_provider_mage.triggers.threads import Call


class MageClusterTrigger(MageTrigger):
    """
    Waits until a cluster is as it should be.

    Its one event says how the waiting ended (:mod:`airflow_provider_mage.triggers.event`). It looks at its
    own cluster only, so that a bad answer concerns no other task.

    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud.
    :param team_id: The team that the cluster belongs to.
    :param cluster_id: The cluster.
    :param status: The status it is to have: ``Active``, ``Stopped``, or ``Idle`` for one that runs, and on
        which no pipeline does.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param mage_conn_id: The Airflow connection to the cluster's own API, if that has a say in it.
    :param stop_on_kill: Whether the cluster is stopped when a person acts on the waiting task.
    :param rules: The other fields of :class:`~airflow_provider_mage._clusters.goal.ClusterGoal`. One that is
        not known here is left out: what Airflow has stored may be of another version.
    """

    def __init__(
        self,
        mage_cloud_conn_id: str,
        team_id: str,
        cluster_id: str,
        status: str = ACTIVE,
        poll_interval: float = 15.0,
        *,
        mage_conn_id: str | None = None,
        stop_on_kill: bool = False,
        **rules: Any,
    ) -> None:
        super().__init__(mage_cloud_conn_id, {"cluster_id": cluster_id}, undoes_on_kill=stop_on_kill)
        self.mage_cloud_conn_id = mage_cloud_conn_id
        self.team_id = team_id
        self.mage_conn_id = mage_conn_id
        self.stop_on_kill = stop_on_kill
        given = {"cluster_id": cluster_id, "status": status, "poll_interval": poll_interval}
        self.goal = ClusterGoal.from_dict({**rules, **given})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger: ids, a status and numbers, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mage_cloud_conn_id": self.mage_cloud_conn_id,
                "team_id": self.team_id,
                "mage_conn_id": self.mage_conn_id,
                "stop_on_kill": self.stop_on_kill,
                **asdict(self.goal),
            },
        )

    async def _wait(self, call: Call) -> dict[str, Any]:
        from airflow_provider_mage._clusters.watch import ClusterWatch
        from airflow_provider_mage._waiting.drive import wait_async
        from airflow_provider_mage._waiting.within import within
        from airflow_provider_mage.hooks.mage_cloud import view_cluster
        from airflow_provider_mage.triggers.threads import threads_of

        view = view_cluster(
            self.goal,
            mage_cloud_conn_id=self.mage_cloud_conn_id,
            team_id=self.team_id,
            mage_conn_id=self.mage_conn_id,
        )

        async def look(step: Wait) -> Cluster | MageError | None:
            # A look that gets no answer holds up no deadline; the thread comes back when its request ends.
            with suppress(asyncio.TimeoutError):
                return await within(step.wake_in, look_in(step.look_in))
            return None

        async def look_in(seconds: float) -> Cluster | MageError:
            await asyncio.sleep(seconds)
            try:
                return await call(view.look)
            except MageError as error:
                return error

        with threads_of(self.mage_conn_id or self.mage_cloud_conn_id) as call_cluster:

            async def ask(step: AskCluster) -> Obstacle | None:
                return await call_cluster(view.ask, step)

            await wait_async(ClusterWatch(self.goal), look, ask, time.time)
        return {}

    def _undo(self) -> None:
        from airflow_provider_mage._clusters.handle import ClusterHandle
        from airflow_provider_mage._clusters.start_stop import stop_cluster
        from airflow_provider_mage.api.retries import KILLED
        from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

        client = MageCloudHook(self.mage_cloud_conn_id).client.with_retries(KILLED)
        try:
            stop_cluster(ClusterHandle(client, self.team_id, self.goal.cluster_id))
        except MageError as error:
            self.log.warning("Cannot stop cluster %s: it may be running. %s", self.goal.cluster_id, error)
