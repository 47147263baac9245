"""What a task waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mage.api.cloud import ACTIVE

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import Cluster

IDLE = "Idle"
"""No status of Mage Cloud's: a cluster that runs, and on which no pipeline runs."""


@dataclass(frozen=True)
class ClusterGoal:
    """
    What is waited for.

    :param cluster_id: The cluster.
    :param status: The status it is to have, or :data:`IDLE`.
    :param old_status: A failure-like one that it had before, which says nothing yet.
    :param poll_interval: The longest pause between two looks, in seconds.
    :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
    :param max_unreachable: Seconds for which Mage Cloud may be out of reach.
    :param is_order: Whether the one who waits has asked for it, and nobody else may want the opposite.
    """

    cluster_id: str
    status: str
    old_status: str | None = None
    poll_interval: float = 15.0
    deadline: float | None = None
    max_unreachable: float = 600.0
    is_order: bool = False

    @property
    def wants_running(self) -> bool:
        """Whether the cluster is to run."""
        return self.status in (ACTIVE, IDLE)

    def is_reached_by(self, cluster: Cluster) -> bool:
        """
        Whether a cluster has the status that is waited for.

        :param cluster: The cluster.
        :return: Whether it has. To one who has ordered it to run, one without any replica is about to stop.
        """
        if self.status == IDLE:
            return not cluster.is_stopped
        if self.is_order and self.wants_running and cluster.replica_count == 0:
            return False
        return cluster.status.casefold() == self.status.casefold()
