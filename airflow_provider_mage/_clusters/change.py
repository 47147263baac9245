"""
Changing a cluster's config without losing what others have changed.

Mage Cloud takes a config whole and knows no versions, so nothing can be changed in one step. Writers on one
host take turns. Writers elsewhere are noticed: a config is written only if two reads in a row agree on what
it replaces, and read again afterwards, and if a writer who came too late has undone ours it is made again.
What no client can exclude is a foreign write between our last read and our write, and a foreign writer who
read before our write and writes after our last look.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._clusters.turns import turn_on_host
from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

UNREST_PATIENCE = 120.0
"""Seconds for which others may go on changing the config before we give up."""


@dataclass(frozen=True)
class ConfigChange:
    """
    What is to become of a cluster.

    :param apply: Returns the config that is wanted, out of the one there is; must not change that one.
    :param status: The status to send along; None for none.
    :param is_needless: Whether a cluster is as wanted already, before anything was sent.
    """

    apply: Callable[[Mapping[str, Any]], dict[str, Any]]
    status: str | None
    is_needless: Callable[[Cluster], bool]

    def has_happened(self, cluster: Cluster) -> bool:
        """Whether a cluster's config is as wanted; its status takes longer."""
        return self.apply(cluster.config) == cluster.config


def change_cluster(
    handle: ClusterHandle, change: ConfigChange, *, clock: Clock = time
) -> tuple[Cluster, bool]:
    """
    Change a cluster, and see that it is changed.

    :param handle: The cluster.
    :param change: What is to become of it.
    :param clock: The time.
    :return: The cluster as it was last read, and whether anything was sent.
    :raises MageError: If others keep changing it.
    :raises MageTransportError: If it stays unknown whether it was changed.
    """
    with turn_on_host(handle.name_on_host):
        give_up = clock.monotonic() + UNREST_PATIENCE
        cluster = handle.read()
        if change.is_needless(cluster):
            return cluster, False
        while True:
            confirmed = handle.read()
            if confirmed.config == cluster.config:
                _send(handle, change, confirmed, clock)
                confirmed = handle.read()
                if change.has_happened(confirmed):
                    return confirmed, True
                log.warning(
                    "Somebody else has changed cluster %s at the same time: changing it again.",
                    handle.cluster_id,
                )
            else:
                log.info("Somebody else is changing cluster %s: reading it again.", handle.cluster_id)
            cluster = confirmed
            if clock.monotonic() > give_up:
                raise MageError(
                    f"Cluster {handle.cluster_id} could not be changed, as others keep changing it at "
                    "the same time: see who does, and try again."
                )
            clock.sleep(random.uniform(0.05, 0.5))  # noqa: S311  out of step with the others, not a secret


def _send(handle: ClusterHandle, change: ConfigChange, cluster: Cluster, clock: Clock) -> None:
    config = change.apply(cluster.config)
    try:
        handle.client.update_cluster(handle.team_id, handle.cluster_id, config=config, status=change.status)
    except MageTransportError as error:
        if not error.may_have_arrived:
            raise
        log.warning("Nobody knows whether cluster %s was changed: looking. %s", handle.cluster_id, error)
        _await_change(handle, change, clock)


def _await_change(handle: ClusterHandle, change: ConfigChange, clock: Clock) -> None:
    """Wait for a change that may still be on its way, for as long as a request can be stuck."""
    deadline = clock.monotonic() + 2 * handle.client.session.timeout
    pause = 0.5
    while not change.has_happened(handle.read()) and clock.monotonic() < deadline:
        clock.sleep(min(pause, max(0.0, deadline - clock.monotonic())))
        pause *= 2
