"""Taking turns: on one host, one task at a time reads, changes and writes back."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.host_folder import host_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

# Seconds to wait for the tasks before us.
PATIENCE = 600.0


@contextmanager
def turn_on_host(name: str) -> Iterator[None]:
    """
    Keep the other processes of this user on this host out; if the turn does not come, raise a MageError.

    Where there is no disk to keep a lock on, the log says so, and everybody is let in: writers on other hosts
    cannot be kept out either, so those who use this notice them anyway.
    """
    from filelock import Timeout

    try:
        lock = host_lock(name)
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise MageError(f"Timed out: other tasks of this host are still changing {name}.") from error
    except OSError as error:
        log.warning("Cannot lock %s: other tasks of this host may change it meanwhile. %s", name, error)
        yield
        return
    try:
        yield
    finally:
        lock.release()
