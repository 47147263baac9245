"""
Waiting for a cluster: what to make of what is seen, and of what is not.

:class:`ClusterWatch` only keeps the books, so that a worker and a triggerer wait by the same rules;
:func:`wait_for_cluster` is the worker's way to feed it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._clusters.goal import ClusterGoal
    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

FIRST_PAUSE = 2.0
PAUSE_GROWTH = 1.5
OLD_FAILURE_PATIENCE = 60.0
"""Seconds that a cluster that had failed before it was started may still say so."""


class ClusterWatch:
    """
    The books on one cluster that is being waited for.

    :param goal: What is waited for.
    :param clock: The time.
    """

    def __init__(self, goal: ClusterGoal, clock: Clock = time) -> None:
        self.goal = goal
        self._clock = clock
        self._pause = min(FIRST_PAUSE, goal.poll_interval)
        self._started = clock.monotonic()
        self._described = f"cluster {goal.cluster_id} was not seen yet"
        self._lost_at: float | None = None
        self._has_been_heard = False

    def saw(self, cluster: Cluster) -> bool:
        """
        Take note of the cluster.

        :param cluster: The cluster.
        :return: Whether it is as it should be. Statuses that nobody has documented count as "still changing".
        :raises MageError: If it never will be.
        """
        if self._lost_at is not None:
            log.info("Cluster %s can be read again.", self.goal.cluster_id)
            self._lost_at = None
        self._note(f"cluster {self.goal.cluster_id} is {cluster.status!r}")
        if self.goal.is_reached_by(cluster):
            return True
        if cluster.has_failed and not self._is_old_failure(cluster):
            raise MageError(
                f"Cluster {self.goal.cluster_id} is {cluster.status!r} instead of {self.goal.status!r}: see "
                "its page in Mage Cloud."
            )
        self._check_that_it_is_still_wanted(cluster)
        return False

    def missed(self, error: MageError) -> None:
        """
        Take note that the cluster could not be read, which says nothing about it.

        :param error: Why.
        :raises MageError: The error itself if it will not pass, or Mage Cloud has been out of reach too long.
        """
        if not error.may_pass:
            raise error
        now = self._clock.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            log.warning(
                "Cluster %s cannot be read, which says nothing about it. %s", self.goal.cluster_id, error
            )
        if now - self._lost_at >= self.goal.max_unreachable:
            raise MageTransportError(
                f"Mage Cloud could not be reached for {self.goal.max_unreachable:g} s, and "
                f"{self._described} when it was last seen. {error}",
                may_have_arrived=True,
            ) from error

    def found_obstacle(self, reason: str) -> None:
        """
        Take note of what is in the way, although the cluster has its status.

        :param reason: What.
        """
        self._note(f"cluster {self.goal.cluster_id} {reason}")

    def check_deadline(self) -> None:
        """
        See whether there is time left.

        :raises TimeoutError: If there is none.
        """
        if self.goal.deadline is not None and self._clock.time() > self.goal.deadline:
            raise TimeoutError(
                f"The time to wait is over, and cluster {self.goal.cluster_id} should be "
                f"{self.goal.status!r}: {self._described}."
            )

    def next_pause(self) -> float:
        """Return the seconds until the next look: more and more, up to the poll interval."""
        pause, self._pause = self._pause, min(self._pause * PAUSE_GROWTH, self.goal.poll_interval)
        left = self.time_left()
        return pause if left is None else min(pause, left)

    def time_left(self) -> float | None:
        """Return the seconds until just after the deadline; None if there is none."""
        if self.goal.deadline is None:
            return None
        return max(0.0, self.goal.deadline - self._clock.time()) + 0.01

    def _note(self, sentence: str) -> None:
        if sentence != self._described:
            self._described = sentence
            log.info("Waiting for %r: %s.", self.goal.status, sentence)

    def _is_old_failure(self, cluster: Cluster) -> bool:
        waited = self._clock.monotonic() - self._started
        return cluster.status == self.goal.old_status and waited < OLD_FAILURE_PATIENCE

    def _check_that_it_is_still_wanted(self, cluster: Cluster) -> None:
        """See that nobody turns the cluster the other way, as the replicas in its config tell."""
        if cluster.replica_count is None or not self.goal.is_order:
            return
        if (cluster.replica_count > 0) == self.goal.wants_running:
            self._has_been_heard = True
        elif self._has_been_heard:
            raise MageError(
                f"Somebody else has {'stopped' if self.goal.wants_running else 'started'} cluster "
                f"{self.goal.cluster_id} meanwhile; it should have been {self.goal.status!r}."
            )


def wait_for_cluster(
    handle: ClusterHandle,
    watch: ClusterWatch,
    *,
    obstacle: Callable[[], str | None] = lambda: None,
    clock: Clock = time,
) -> None:
    """
    Return once a cluster is as it should be.

    :param handle: The cluster; its client should not repeat requests itself, as that is done here.
    :param watch: The books.
    :param obstacle: Called once the cluster has its status: returns what is still in the way, or None.
    :param clock: The time.
    :raises TimeoutError: If that takes too long.
    :raises MageError: If it never will be, or can no longer be read.
    """
    while True:
        try:
            cluster = handle.read()
        except MageError as error:
            watch.missed(error)
        else:
            if watch.saw(cluster):
                reason = obstacle()
                if reason is None:
                    return
                watch.found_obstacle(reason)
        watch.check_deadline()
        clock.sleep(watch.next_pause())
