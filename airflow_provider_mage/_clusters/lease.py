"""
Who needs a cluster: one that several DAG runs share goes down with the last of them.

The leases of a cluster are one Airflow Variable, which every worker of one Airflow can see, and a person,
too. They are not kept in the cluster's config: a changed config may restart a cluster that is in use. The
book is read, changed and written back; tasks of one host take turns, and whoever writes reads again whether
it stayed.

A holder that is done says ``stopping``, waits a moment and only then looks whether others hold the cluster.
Who comes meanwhile either is seen, and the cluster is not stopped, or sees that it is about to be, and waits
until it is down. Two that are done at once both stop it, which does no harm.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_mage._clusters.turns import turn_on_host
from airflow_provider_mage._compat import is_dag_run_active, read_variable, write_variable
from airflow_provider_mage.api.errors import MageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

HOLDING, STOPPING = "holding", "stopping"

SETTLING = 2.0
"""Seconds in which two workers' changes of the book have become visible to both."""

FIRST_LOOK, LONGEST_LOOK = 1.0, 10.0
TRIES = 20
DESCRIPTION = "Which DAG runs need a Mage Pro cluster: it is stopped when the last of them is done."

Book = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Holder:
    """
    Who needs a cluster: one setup task, or one instance of it if it is mapped.

    :param dag_id: Its DAG.
    :param run_id: Its DAG run; when that is over, so is the lease.
    :param task_id: The setup task.
    :param map_index: Which instance; -1 if it is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def key(self) -> str:
        """The holder's name in the book."""
        return json.dumps([self.dag_id, self.run_id, self.task_id, self.map_index])

    def __str__(self) -> str:
        return f"{self.dag_id} / {self.run_id} / {self.task_id}"


class BookStore(Protocol):
    """Where the leases of a cluster are kept."""

    def read(self) -> Book:
        """Return all leases, by holder."""

    def write(self, book: Book) -> None:
        """Store all leases."""


class VariableStore:
    """
    The leases of a cluster in an Airflow Variable.

    :param handle: The cluster.
    """

    def __init__(self, handle: ClusterHandle) -> None:
        name = f"{handle.team_id}_{handle.cluster_id}"
        digest = hashlib.sha256(handle.name_on_host.encode()).hexdigest()[:8]
        self.key = f"mage_cluster_leases_{re.sub(r'[^A-Za-z0-9-]', '_', name)[:150]}_{digest}"

    def read(self) -> Book:
        """Return all leases, by holder."""
        text = read_variable(self.key)
        book: Book = json.loads(text) if text else {}
        return book

    def write(self, book: Book) -> None:
        """Store all leases."""
        write_variable(self.key, json.dumps(book) if book else None, DESCRIPTION)


class Leases:
    """
    The leases of one cluster.

    :param store: Where they are kept.
    :param name: The cluster's name on this host.
    :param is_active: Whether a DAG run, given by DAG and run id, still goes on.
    :param clock: The time.
    """

    def __init__(
        self,
        store: BookStore,
        name: str,
        *,
        is_active: Callable[[str, str], bool] = is_dag_run_active,
        clock: Clock = time,
    ) -> None:
        self._store = store
        self._name = f"the leases of {name}"
        self._is_active = is_active
        self._clock = clock

    def acquire(self, holder: Holder, *, deadline: float | None = None) -> None:
        """
        Say that somebody needs the cluster; once it is not about to be stopped any more, return.

        :param holder: Who.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :raises TimeoutError: If the one who is stopping it does not come to an end.
        """
        self._change(lambda book: {**book, holder.key: {"state": HOLDING}})
        pause = FIRST_LOOK
        while True:
            stopping = [key for key, lease in self._others(holder).items() if lease["state"] == STOPPING]
            if not stopping:
                return
            log.info("The cluster is being stopped by %s: waiting until it is down.", ", ".join(stopping))
            if deadline is not None and self._clock.time() > deadline:
                raise TimeoutError(f"The cluster is still being stopped by {', '.join(stopping)}.")
            self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK)

    def announce_stop(self, holder: Holder) -> bool:
        """
        Say that somebody does not need the cluster any more.

        :param holder: Who.
        :return: Whether the cluster is to be stopped now, by this holder, who says :meth:`release`
            afterwards. If others need it, or this holder had no lease, it is not.
        """
        if holder.key not in self._store.read():
            log.info("%s holds no lease of the cluster, so it is left as it is.", holder)
            return False
        # Said before the look at the others: two that are done at once must not leave it to each other.
        self._change(lambda book: {**book, holder.key: {"state": STOPPING}})
        self._clock.sleep(SETTLING)
        if self._is_needed_besides(holder):
            self.release(holder)
            return False
        return True

    def release(self, holder: Holder) -> None:
        """
        Strike a lease off.

        :param holder: Whose.
        """
        self._change(lambda book: {key: lease for key, lease in book.items() if key != holder.key})

    def _is_needed_besides(self, holder: Holder) -> bool:
        needing = [key for key, lease in self._others(holder).items() if lease["state"] == HOLDING]
        if needing:
            log.info("The cluster stays up, as others need it: %s.", ", ".join(needing))
        return bool(needing)

    def _others(self, holder: Holder) -> Book:
        """Return the leases of others; those whose DAG run is over are struck off."""
        others = {key: lease for key, lease in self._store.read().items() if key != holder.key}
        stale = {key for key in others if not self._counts(key, holder)}
        if stale:
            log.warning("These leases of the cluster are void, as their DAG runs are over: %s.", stale)
            self._change(lambda book: {key: lease for key, lease in book.items() if key not in stale})
        return {key: lease for key, lease in others.items() if key not in stale}

    def _counts(self, key: str, holder: Holder) -> bool:
        dag_id, run_id, *_ = json.loads(key)
        if (dag_id, run_id) == (holder.dag_id, holder.run_id):
            return True
        try:
            return self._is_active(dag_id, run_id)
        except Exception as error:  # noqa: BLE001  whatever it is: a cluster that is up too long beats one that is pulled away
            log.warning("Nobody knows whether %s still goes on, so its lease counts. %s", key, error)
            return True

    def _change(self, change: Callable[[Book], Book]) -> None:
        with turn_on_host(self._name):
            for _ in range(TRIES):
                before = self._store.read()
                after = change(before)
                if after == before:
                    return
                self._store.write(after)
                if change(kept := self._store.read()) == kept:
                    return
        raise MageError(f"Others keep changing {self._name} at the same time.")
