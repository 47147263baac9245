"""Asking Mage Cloud to start or stop a cluster, unless that has happened already."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_mage._clusters.change import ConfigChange, change_cluster
from airflow_provider_mage.api.cloud import ACTIVE, STOPPED
from airflow_provider_mage.api.cluster_config import with_replicas

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)


def start_cluster(
    handle: ClusterHandle, replica_count: int | None = None, *, clock: Clock = time
) -> tuple[Cluster, bool]:
    """
    Ask for a cluster to run.

    :param handle: The cluster.
    :param replica_count: How many replicas it is to have; by default 1, or as many as it has if it runs.
    :param clock: The time.
    :return: The cluster, which may still be on its way up, and whether anything had to be asked for.
    """

    def is_needless(cluster: Cluster) -> bool:
        has_replicas = cluster.replica_count != 0
        return cluster.is_active and (
            has_replicas if replica_count is None else cluster.replica_count == replica_count
        )

    change = ConfigChange(partial(with_replicas, replica_count=replica_count or 1), ACTIVE, is_needless)
    cluster, has_asked = change_cluster(handle, change, clock=clock)
    if has_asked:
        log.info("Asked Mage Cloud to start cluster %s; it is %r.", handle.cluster_id, cluster.status)
    else:
        log.info("Cluster %s is %r already: nothing to do.", handle.cluster_id, cluster.status)
    return cluster, has_asked


def stop_cluster(handle: ClusterHandle, *, clock: Clock = time) -> tuple[Cluster, bool]:
    """
    Ask for a cluster to stop.

    :param handle: The cluster.
    :param clock: The time.
    :return: The cluster, which may still be on its way down, and whether anything had to be asked for.
    """

    def is_needless(cluster: Cluster) -> bool:
        return cluster.is_stopped and not cluster.replica_count

    cluster, has_asked = change_cluster(
        handle, ConfigChange(partial(with_replicas, replica_count=0), STOPPED, is_needless), clock=clock
    )
    if has_asked:
        log.info("Asked Mage Cloud to stop cluster %s; it is %r.", handle.cluster_id, cluster.status)
    else:
        log.info("Cluster %s is %r already: nothing to do.", handle.cluster_id, cluster.status)
    return cluster, has_asked
