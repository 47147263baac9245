"""The trigger that waits for a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mage._clusters.goal import IDLE, ClusterGoal
from airflow_provider_mage._compat import task_was_acted_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class MageClusterTrigger(BaseTrigger):
    """
    Waits until a cluster is as it should be.

    Its one event says how the waiting ended (:mod:`airflow_provider_mage.triggers.event`). All triggers of
    one team in one triggerer share one poller, and with it the requests.

    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud.
    :param team_id: The team that the cluster belongs to.
    :param cluster_id: The cluster.
    :param status: The status it is to have: ``Active``, ``Stopped``, or ``Idle`` for one that runs, and on
        which no pipeline does.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param old_status: A failure-like status that it had before, which says nothing yet.
    :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
    :param max_unreachable: Seconds for which Mage Cloud may be out of reach.
    :param mage_conn_id: The Airflow connection to the cluster's own API, if that has a say in it.
    :param is_order: Whether the task has asked for the status, and nobody else may want the opposite.
    :param stop_on_kill: Whether the cluster is stopped when a person acts on the waiting task.
    """

    def __init__(
        self,
        mage_cloud_conn_id: str,
        team_id: str,
        cluster_id: str,
        status: str = "Active",
        poll_interval: float = 15.0,
        *,
        old_status: str | None = None,
        deadline: float | None = None,
        max_unreachable: float = 600.0,
        mage_conn_id: str | None = None,
        is_order: bool = False,
        stop_on_kill: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own has no annotations
        self.mage_cloud_conn_id = mage_cloud_conn_id
        self.team_id = team_id
        self.cluster_id = cluster_id
        self.status = status
        self.poll_interval = poll_interval
        self.old_status = old_status
        self.deadline = deadline
        self.max_unreachable = max_unreachable
        self.mage_conn_id = mage_conn_id
        self.is_order = is_order
        self.stop_on_kill = stop_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger: ids, a status and numbers, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mage_cloud_conn_id": self.mage_cloud_conn_id,
                "team_id": self.team_id,
                "cluster_id": self.cluster_id,
                "status": self.status,
                "poll_interval": self.poll_interval,
                "old_status": self.old_status,
                "deadline": self.deadline,
                "max_unreachable": self.max_unreachable,
                "mage_conn_id": self.mage_conn_id,
                "is_order": self.is_order,
                "stop_on_kill": self.stop_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the waiting ended."""
        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.triggers.event import make_event

        failure: Exception | None = None
        try:
            await self._wait()
        except asyncio.CancelledError:
            if self.stop_on_kill and await task_was_acted_on(self):
                await self.on_kill()
            raise
        except (MageError, TimeoutError) as error:
            failure = error
        # Not inside the `try`: some runners end a trigger at its `yield` with CancelledError, success or not.
        yield TriggerEvent(make_event(failure, cluster_id=self.cluster_id))

    async def on_kill(self) -> None:
        """Stop the cluster, as a person has marked or cleared the task (called by Airflow 3.3 and later)."""
        if self.stop_on_kill:
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        from airflow_provider_mage._clusters.handle import ClusterHandle
        from airflow_provider_mage._clusters.start_stop import stop_cluster
        from airflow_provider_mage._runs.cancel import KILL_PATIENCE
        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

        client = MageCloudHook(self.mage_cloud_conn_id, retry_for=KILL_PATIENCE).client
        try:
            stop_cluster(ClusterHandle(client, self.team_id, self.cluster_id))
        except MageError as error:
            self.log.warning("Cluster %s could not be stopped, so it may run. %s", self.cluster_id, error)

    async def _wait(self) -> None:
        from airflow_provider_mage._clusters.watch import ClusterWatch
        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.triggers.cluster_poller import poller_of

        goal = ClusterGoal(
            self.cluster_id,
            self.status,
            old_status=self.old_status,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            max_unreachable=self.max_unreachable,
            is_order=self.is_order,
        )
        watch = ClusterWatch(goal)
        poller = poller_of(self.mage_cloud_conn_id, self.team_id)
        async with poller.watch(self.cluster_id, watch.next_pause) as sightings:
            while True:
                watch.check_deadline()
                try:
                    sighting = await asyncio.wait_for(sightings.get(), watch.time_left())
                except asyncio.TimeoutError:
                    continue
                if isinstance(sighting, MageError):
                    watch.missed(sighting)
                elif watch.saw(sighting):
                    obstacle = await asyncio.to_thread(self._obstacle, goal)
                    if obstacle is None:
                        return
                    watch.found_obstacle(obstacle)

    def _obstacle(self, goal: ClusterGoal) -> str | None:
        from airflow_provider_mage._clusters.activity import why_unusable
        from airflow_provider_mage.hooks.mage import MageHook

        if self.mage_conn_id is None:
            return "is to be idle, which nobody can see" if goal.status == IDLE else None
        return why_unusable(MageHook(self.mage_conn_id, retry_for=0.0).client, goal)
