"""
One poller per team and triggerer process, however many of its clusters are waited for.

Mage Cloud may be able to list a team's clusters; that is a guess, so where it cannot, or leaves one out,
clusters are read one by one.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageAPIError, MageAuthError, MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_mage.api.cloud import MageCloudClient
    from airflow_provider_mage.api.models import Cluster

log = logging.getLogger(__name__)

SHORTEST_ROUND = 0.5
UNAUTHORIZED = 401


@dataclass(eq=False)
class _Watcher:
    """
    One waiting trigger.

    :param cluster_id: The cluster it waits for.
    :param next_pause: Returns the seconds until its next look.
    """

    cluster_id: str
    next_pause: Callable[[], float]
    due: float = 0.0
    sightings: asyncio.Queue[Cluster | MageError] = field(default_factory=asyncio.Queue)


class ClusterPoller:
    """
    Looks at a team's clusters on behalf of all who wait for one of them.

    :param connect: Makes the client, in a worker thread; it should not repeat requests itself.
    :param team_id: The team.
    :param on_idle: Called when the last watcher has left.
    """

    def __init__(
        self,
        connect: Callable[[], MageCloudClient],
        team_id: str,
        on_idle: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._team_id = team_id
        self._on_idle = on_idle
        self._client: MageCloudClient | None = None
        self._watchers: list[_Watcher] = []
        self._can_list = True
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watch(
        self, cluster_id: str, next_pause: Callable[[], float]
    ) -> AsyncIterator[asyncio.Queue[Cluster | MageError]]:
        """Look out for one cluster: yields a queue of what is seen of it, or of why it could not be seen."""
        watcher = _Watcher(cluster_id, next_pause)
        self._watchers.append(watcher)
        self._wake.set()
        if self._task is None:
            # In a context of its own, else its log lines would go to the log of whichever task came first.
            create_task = asyncio.get_running_loop().create_task
            self._task = contextvars.Context().run(create_task, self._run())
        try:
            yield watcher.sightings
        finally:
            self._watchers.remove(watcher)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None
                self._on_idle()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            # Whoever is due soon is served now, too: that is what makes one request of many.
            due = [watcher for watcher in self._watchers if watcher.due <= now + SHORTEST_ROUND]
            try:
                await self._look(due)
            except MageError as error:
                _tell(due, error)
            except Exception as error:
                # A bug here must fail the watchers, not leave them waiting for ever.
                log.exception("The poller of clusters has failed.")
                _tell(due, MageError(f"The poller has failed ({error!r}); see the triggerer's log."))
            now = time.monotonic()
            for watcher in due:
                watcher.due = now + max(watcher.next_pause(), SHORTEST_ROUND)
            next_due = min((watcher.due for watcher in self._watchers), default=now + SHORTEST_ROUND)
            try:
                await asyncio.wait_for(self._wake.wait(), max(next_due - now, 0.0))
            except asyncio.TimeoutError:
                continue

    async def _look(self, due: list[_Watcher]) -> None:
        if self._client is None:
            self._client = await asyncio.to_thread(self._connect)
        cluster_ids = {watcher.cluster_id for watcher in due}
        found = await self._list(self._client) if len(cluster_ids) > 1 and self._can_list else {}
        for cluster_id in cluster_ids:
            sighting: Cluster | MageError | None = found.get(cluster_id)
            try:
                if sighting is None:
                    sighting = await asyncio.to_thread(self._client.get_cluster, self._team_id, cluster_id)
            except MageError as error:
                is_everybodys = isinstance(error, MageTransportError) or (
                    isinstance(error, MageAuthError) and error.code == UNAUTHORIZED
                )
                if is_everybodys:
                    raise
                sighting = error
            _tell([watcher for watcher in due if watcher.cluster_id == cluster_id], sighting)

    async def _list(self, client: MageCloudClient) -> dict[str, Cluster]:
        try:
            clusters = await asyncio.to_thread(client.list_clusters, self._team_id)
        except MageTransportError as error:
            if error.temporary:
                raise
            reason: MageError = error
        except MageAPIError as error:
            reason = error
        else:
            return {cluster.id: cluster for cluster in clusters if cluster.status}
        log.info("Mage Cloud does not list the clusters of team %s: reading each. %s", self._team_id, reason)
        self._can_list = False
        return {}


def _tell(watchers: list[_Watcher], sighting: Cluster | MageError) -> None:
    for watcher in watchers:
        watcher.sightings.put_nowait(sighting)


_pollers: dict[tuple[int, str, str], ClusterPoller] = {}


def poller_of(mage_cloud_conn_id: str, team_id: str) -> ClusterPoller:
    """
    Return this process's one poller for a team.

    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud.
    :param team_id: The team.
    :return: The poller.
    """
    key = (id(asyncio.get_running_loop()), mage_cloud_conn_id, team_id)
    poller = _pollers.get(key)
    if poller is None:
        poller = _pollers[key] = ClusterPoller(
            lambda: _connect(mage_cloud_conn_id), team_id, on_idle=lambda: _pollers.pop(key, None)
        )
    return poller


def _connect(mage_cloud_conn_id: str) -> MageCloudClient:
    from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

    return MageCloudHook(mage_cloud_conn_id, retry_for=0.0).client
