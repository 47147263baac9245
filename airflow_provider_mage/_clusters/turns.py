"""Taking turns: on one host, one task at a time reads, changes and writes back."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.host_folder import go_on_without, take_host_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds to wait for the tasks before us.
PATIENCE = 600.0

_without_turns = partial(
    go_on_without,
    "Tasks of this host do not take turns with clusters: one may change a cluster while another does.",
    to_mend="Set XDG_CACHE_HOME to a folder that this user may write to, on a disk with locks.",
)


@contextmanager
def turn_on_host(name: str) -> Iterator[None]:
    """
    Keep the other processes of this user on this host out; if the turn does not come, raise a MageError.

    Where there is no disk to keep a lock on, or none that has locks, the log says so, and everybody is let
    in: writers on other hosts cannot be kept out either, so those who use this notice them anyway.
    """
    lock, is_late = None, False
    with _without_turns():
        lock = take_host_lock(name, PATIENCE)
        is_late = lock is None
    if is_late:
        raise MageError(f"Timed out: other tasks of this host are still changing {name}.")
    try:
        yield
    finally:
        if lock is not None:
            with _without_turns():
                lock.release()
