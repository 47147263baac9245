"""Asking Mage Cloud to start or stop a cluster, unless that has happened already."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_mage._clusters.change import ConfigChange, change_cluster
from airflow_provider_mage.api.cloud import ACTIVE, STOPPED
from airflow_provider_mage.api.cluster_config import with_replicas

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster

log = logging.getLogger(__name__)


def start_cluster(handle: ClusterHandle, replica_count: int | None = None) -> tuple[Cluster, bool]:
    """
    Ask for a cluster to run; return it, perhaps on its way up, and whether anything had to be asked for.

    By default it has 1 replica, or as many as it has if it runs.
    """

    def is_needless(cluster: Cluster) -> bool:
        has_replicas = cluster.replica_count != 0
        return cluster.is_active and (
            has_replicas if replica_count is None else cluster.replica_count == replica_count
        )

    change = ConfigChange(partial(with_replicas, replica_count=replica_count or 1), ACTIVE, is_needless)
    return _order(handle, change, "start")


def stop_cluster(handle: ClusterHandle) -> tuple[Cluster, bool]:
    """Ask for a cluster to stop; return it, perhaps on its way down, and whether that had to be asked for."""

    def is_needless(cluster: Cluster) -> bool:
        return cluster.is_stopped and not cluster.replica_count

    return _order(handle, ConfigChange(partial(with_replicas, replica_count=0), STOPPED, is_needless), "stop")


def _order(handle: ClusterHandle, change: ConfigChange, verb: str) -> tuple[Cluster, bool]:
    cluster, has_asked = change_cluster(handle, change)
    if has_asked:
        log.info("Asked Mage Cloud to %s cluster %s; it is %r.", verb, handle.cluster_id, cluster.status)
    else:
        log.info("Cluster %s is %r already: nothing to do.", handle.cluster_id, cluster.status)
    return cluster, has_asked
