"""
Changing a cluster's config without losing what others have changed.

Mage Cloud takes a config whole and has no versions of it, so nothing can be changed in one step. Writers on
one host take turns. Writers elsewhere are noticed: a config is written only if two reads in a row agree on
what it replaces, and read again afterwards; if somebody else has undone our change by then, it is made again.
What no client can exclude is a foreign write between our last read and our write, and a foreign writer who
read before our write and writes after our last read.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._clusters.turns import turn_on_host
from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster

log = logging.getLogger(__name__)

# Seconds for which others may go on changing the config before we give up.
UNREST_PATIENCE = 120.0


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


def change_cluster(handle: ClusterHandle, change: ConfigChange) -> tuple[Cluster, bool]:
    """
    Change a cluster, and see that it is changed.

    :param handle: The cluster.
    :param change: What is to become of it.
    :return: The cluster as it was last read, and whether anything was sent.
    :raises MageError: If others keep changing it, or it stays unknown whether it was changed.
    """
    clock = handle.client.clock
    with turn_on_host(handle.name_on_host):
        give_up = clock.monotonic() + UNREST_PATIENCE
        cluster = handle.read()
        if change.is_needless(cluster):
            return cluster, False
        while True:
            # The second read that agrees: nobody was in the middle of a change of their own.
            confirmed = handle.read()
            if confirmed.config == cluster.config:
                _send(handle, change, confirmed)
                confirmed = handle.read()
                if change.has_happened(confirmed):
                    return confirmed, True
                log.warning(
                    "Somebody else has changed cluster %s at the same time. Changing it again.",
                    handle.cluster_id,
                )
            else:
                log.info("Somebody else is changing cluster %s. Reading it again.", handle.cluster_id)
            cluster = confirmed
            if clock.monotonic() > give_up:
                raise MageError(
                    f"Cannot change cluster {handle.cluster_id}: others keep changing it at the same time. "
                    "See who does, and try again."
                )
            clock.sleep(random.uniform(0.05, 0.5))  # noqa: S311  out of step with the others, not a secret


def _send(handle: ClusterHandle, change: ConfigChange, cluster: Cluster) -> None:
    config = change.apply(cluster.config)
    try:
        handle.client.update_cluster(handle.team_id, handle.cluster_id, config=config, status=change.status)
    except MageTransportError as error:
        if not error.may_have_arrived:
            raise
        log.warning("It is unknown whether cluster %s was changed. Reading it. %s", handle.cluster_id, error)
        _await_change(handle, change)


def _await_change(handle: ClusterHandle, change: ConfigChange) -> None:
    """
    Wait for a change that may still be on its way, for as long as a request can be stuck.

    Were it sent again at once, the first request could arrive after the second, and after what others have
    changed since: it holds the whole config.
    """
    clock = handle.client.clock
    deadline = clock.monotonic() + 2 * handle.client.timeout
    pause = 0.5
    while not change.has_happened(handle.read()) and clock.monotonic() < deadline:
        clock.sleep(min(pause, max(0.0, deadline - clock.monotonic())))
        pause *= 2
