"""Taking turns: what is read, changed and written back is in one task's hands at a time, on one host."""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.host_folder import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import FileLock

log = logging.getLogger(__name__)

PATIENCE = 600.0
"""Seconds to wait for the tasks before us."""


@contextmanager
def turn_on_host(name: str) -> Iterator[None]:
    """
    Keep the other processes of this user on this host out.

    Where there is no disk to leave a lock on, this says so and lets everybody in.

    :param name: What is to be changed.
    :raises MageError: If the turn does not come.
    """
    from filelock import Timeout

    try:
        lock = _lock(hashlib.sha256(name.encode()).hexdigest()[:32])
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise MageError(f"Other tasks of this host have been changing {name} for {PATIENCE:g} s.") from error
    except OSError as error:
        log.warning("Other tasks of this host cannot be kept from changing %s meanwhile. %s", name, error)
        yield
        return
    try:
        yield
    finally:
        lock.release()


@lru_cache(maxsize=128)
def _lock(digest: str) -> FileLock:
    """Return one object for good: it is reentrant, for a task that is killed while it has its turn."""
    from filelock import FileLock

    return FileLock(private_folder() / f"{digest}.lock", mode=0o600)
