"""
Leases: a cluster that several DAG runs share goes down with the last of them.

The leases of a cluster are one Airflow Variable, which every worker of one Airflow can see, and a person,
too. They are not kept in the cluster's config: a changed config may restart a cluster that is in use.

A Variable has no compare-and-set: it is read, changed and written back. Tasks of one host take turns. A
worker of another host that has read before a change and writes after it undoes the change, so whoever has
changed something waits a moment and looks whether it is still there. From then on it stays.

A holder that is done says ``stopping``, and once that stays, looks whether others hold the cluster. Who comes
meanwhile either is seen, and the cluster is not stopped, or sees that it is about to be, and waits until it
is down. Two that are done at once both stop it, which does no harm.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_mage._clusters.turns import turn_on_host
from airflow_provider_mage.api.errors import MageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._clusters.handle import ClusterHandle

log = logging.getLogger(__name__)

HOLDING, STOPPING = "holding", "stopping"

# Seconds in which a worker that has read the leases has written them, and the others see it.
SETTLING = 2.0

FIRST_LOOK, LONGEST_LOOK = 1.0, 10.0
TRIES = 20

# DAG, DAG run and task.
HOLDER_PARTS = 3

# The leases of a cluster, by :attr:`Holder.key`.
Stored = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Holder:
    """Who needs a cluster: one setup task of a DAG run, with which the lease ends at the latest."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def key(self) -> str:
        """What its lease is stored under."""
        return json.dumps([self.dag_id, self.run_id, self.task_id, self.map_index])

    def __str__(self) -> str:
        return f"{self.dag_id} / {self.run_id} / {self.task_id}"


class Damaged(Stored):
    """The leases that are left where a person has edited what is stored: some may be missing."""


def read_leases(text: str | None) -> Stored:
    """
    Read leases as they are stored; what is no lease does not count.

    :param text: The text; None if there is none.
    :return: The leases, :class:`Damaged` if there was anything else.
    """
    try:
        stored = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return Damaged()
    if not isinstance(stored, dict):
        return Damaged()
    leases = {key: lease for key, lease in stored.items() if _is_lease(key, lease)}
    return leases if len(leases) == len(stored) else Damaged(leases)


def _is_lease(key: str, lease: Any) -> bool:
    try:
        holder = json.loads(key)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(holder, list)
        and len(holder) >= HOLDER_PARTS
        and all(isinstance(part, str) for part in holder[:HOLDER_PARTS])
        and isinstance(lease, dict)
        and lease.get("state") in (HOLDING, STOPPING)
    )


class LeaseStore(Protocol):
    """Where the leases of a cluster are kept."""

    def read(self) -> Stored:
        """Return all leases."""

    def write(self, leases: Stored) -> None:
        """Store all leases."""


class Leases:
    """
    The leases of one cluster.

    :param handle: The cluster.
    :param store: Where they are kept.
    :param is_active: Whether a DAG run, given by DAG and run id, still goes on.
    """

    def __init__(
        self, handle: ClusterHandle, store: LeaseStore, *, is_active: Callable[[str, str], bool]
    ) -> None:
        self._store = store
        self._name = f"the leases of {handle.name_on_host}"
        self._is_active = is_active
        self._clock = handle.client.clock

    def acquire(self, holder: Holder, *, deadline: float | None = None) -> None:
        """
        Take a lease, and return once the cluster is not about to be stopped any more.

        A TimeoutError says that whoever is stopping it has not come to an end by the deadline.
        """
        leases = self._settle(holder, HOLDING)
        pause = FIRST_LOOK
        while True:
            stopping = self._others(leases, holder, STOPPING)
            if not stopping:
                return
            log.info("Waiting until the cluster is down: %s is stopping it.", ", ".join(stopping))
            if deadline is not None and self._clock.time() > deadline:
                raise TimeoutError(f"Timed out: {', '.join(stopping)} is still stopping the cluster.")
            self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK)
            leases = self._store.read()

    def announce_stop(self, holder: Holder) -> bool:
        """
        Say that somebody does not need the cluster any more, and return whether it is to be stopped now.

        Then this holder stops it, and says :meth:`release` afterwards.
        """
        leases = self._store.read()
        # If somebody has edited them, it may be ours that is missing: the cluster would stay up for ever.
        if holder.key not in leases and not isinstance(leases, Damaged):
            log.info("%s holds no lease of the cluster, so it is left as it is.", holder)
            return False
        # Said before the look at the others: two that are done at once must not leave it to each other.
        leases = self._settle(holder, STOPPING)
        needing = self._others(leases, holder, HOLDING)
        if needing:
            log.info("The cluster stays up, as others need it: %s.", ", ".join(needing))
            self.release(holder)
        return not needing

    def release(self, holder: Holder) -> None:
        """Remove the lease of a holder."""
        self._settle(holder, None)

    def _others(self, leases: Stored, holder: Holder, state: str) -> list[str]:
        """Return who else has a lease in that state; leases whose DAG run is over are removed."""
        # A run that was deleted or marked never comes to its teardown: its lease would keep the cluster up.
        void = {key for key in leases if key != holder.key and not self._counts(key, holder)}
        if void:
            log.warning("These leases of the cluster are void, as their DAG runs are over: %s.", void)
            self._change(lambda current: {key: lease for key, lease in current.items() if key not in void})
        return [
            key
            for key, lease in leases.items()
            if lease["state"] == state and key != holder.key and key not in void
        ]

    def _counts(self, key: str, holder: Holder) -> bool:
        dag_id, run_id, *_ = json.loads(key)
        if (dag_id, run_id) == (holder.dag_id, holder.run_id):
            return True
        try:
            return self._is_active(dag_id, run_id)
        except Exception as error:  # noqa: BLE001  whatever it is: a cluster that is up too long beats one that is pulled away
            log.warning("It is unknown whether %s still goes on, so its lease counts. %s", key, error)
            return True

    def _settle(self, holder: Holder, state: str | None) -> Stored:
        """Write a lease, or remove it if there is no state, and return all leases once that stays."""

        def change(leases: Stored) -> Stored:
            others = {key: lease for key, lease in leases.items() if key != holder.key}
            return others if state is None else {**others, holder.key: {"state": state}}

        for _ in range(TRIES):
            self._change(change)
            self._clock.sleep(SETTLING)
            leases = self._store.read()
            if change(leases) == leases:
                return leases
        raise MageError(f"Cannot change {self._name}: others keep changing them at the same time.")

    def _change(self, change: Callable[[Stored], Stored]) -> None:
        with turn_on_host(self._name):
            before = self._store.read()
            after = change(before)
            if after != before or isinstance(before, Damaged):
                self._store.write(after)
