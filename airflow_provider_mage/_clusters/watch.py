"""The rules of waiting for a cluster, as a state machine (:mod:`airflow_provider_mage._waiting.watch`)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._waiting.watch import Over, Watch
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import Cluster

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.goal import ClusterGoal

log = logging.getLogger(__name__)

# Seconds that a cluster that had failed before it was started may still say so.
OLD_FAILURE_PATIENCE = 60.0


@dataclass(frozen=True)
class AskCluster:
    """To do: ask the own API of a cluster, which has its status, whether it can be used, or is idle."""

    cluster: Cluster


@dataclass(frozen=True)
class Obstacle:
    """A sighting: what is in the way although a cluster has its status, as in "cluster c1 is busy"."""

    reason: str


class ClusterWatch(Watch[Cluster]):
    """
    One wait for a cluster.

    ``Active`` and ``Stopped`` are the only statuses that Mage documents. So one that sounds like a failure
    is taken for one, and any other for one that will change.

    :param goal: What is waited for.
    """

    server = "Mage Cloud"
    first_pause = 2.0
    fate = "may still be starting or stopping"

    def __init__(self, goal: ClusterGoal) -> None:
        super().__init__(f"cluster {goal.cluster_id}", goal)
        self.goal = goal
        self._seen_first: float | None = None
        self._reached: Cluster | None = None
        self._has_asked = False
        self._is_obeyed = False

    def see(self, seen: Cluster | Obstacle, now: float) -> None:
        """Take note of the cluster, or of what is in the way; raises if it will never be as it should."""
        self._reached = None
        if isinstance(seen, Obstacle):
            self._note(f"{self.subject} {seen.reason.rstrip('.')}")
            return
        if self._seen_first is None:
            self._seen_first = now
        self._note(f"{self.subject} is {seen.status!r}")
        if self.goal.is_reached_by(seen):
            self._reached, self._has_asked = seen, False
            return
        is_old_failure = seen.status == self.goal.old_status and now - self._seen_first < OLD_FAILURE_PATIENCE
        if seen.has_failed and not is_old_failure:
            raise MageError(
                f"Cluster {self.goal.cluster_id} is {seen.status!r} instead of {self.goal.status!r}: see its "
                "page in Mage Cloud."
            )
        self._check_that_it_is_still_wanted(seen)

    def next_step(self, now: float) -> Any:  # noqa: ARG002  # of the base
        """Return the end of the wait if the cluster has its status and nothing is in the way."""
        if self._reached is None:
            return None
        if self._has_asked or not self.goal.wants_running:
            return Over(self._reached)
        self._has_asked = True
        return AskCluster(self._reached)

    def _note(self, state: str) -> None:
        if state != self._state:
            self._state = state
            log.info("Waiting for %r: %s.", self.goal.status, state)

    def _check_that_it_is_still_wanted(self, cluster: Cluster) -> None:
        """See that nobody turns the cluster the other way, as the replicas in its config tell."""
        if cluster.replica_count is None or not self.goal.is_order:
            return
        # Only once Mage Cloud has shown our own order: until then, what it shows may be older.
        if (cluster.replica_count > 0) == self.goal.wants_running:
            self._is_obeyed = True
        elif self._is_obeyed:
            raise MageError(
                f"Somebody else has {'stopped' if self.goal.wants_running else 'started'} cluster "
                f"{self.goal.cluster_id} meanwhile; it should have become {self.goal.status!r}."
            )
