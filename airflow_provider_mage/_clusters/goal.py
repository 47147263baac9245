"""What a task waits for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mage._waiting.watch import WaitRules
from airflow_provider_mage.api.cloud import ACTIVE

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import Cluster

# No status of Mage Cloud's: a cluster that runs, and on which no pipeline runs.
IDLE = "Idle"


@dataclass(frozen=True, kw_only=True)
class ClusterGoal(WaitRules):
    """
    What is waited for. A trigger stores all of it, so every field is a plain JSON value.

    :param cluster_id: The cluster.
    :param status: The status it is to have, in Mage Cloud's words, or :data:`IDLE`.
    :param old_status: A failure-like status that it had before it was asked to start, which says nothing yet.
    :param is_order: Whether the one who waits has asked for it, and nobody else may want the opposite.
    """

    cluster_id: str
    status: str
    old_status: str | None = None
    is_order: bool = False
    poll_interval: float = 15.0

    @property
    def wants_running(self) -> bool:
        """Whether the cluster is to run."""
        return self.wants_idle or self.status.casefold() == ACTIVE.casefold()

    @property
    def wants_idle(self) -> bool:
        """Whether no pipeline is to run on it, which only its own API can tell."""
        return self.status == IDLE

    def is_reached_by(self, cluster: Cluster) -> bool:
        """
        Tell whether a cluster has the status that is waited for.

        To one who has ordered it to run, a cluster without any replica is about to stop.
        """
        if self.wants_idle:
            return not cluster.is_stopped
        if self.is_order and self.wants_running and cluster.replica_count == 0:
            return False
        return cluster.status.casefold() == self.status.casefold()
