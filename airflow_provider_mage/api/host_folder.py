"""The folder in which the processes of one user on one host leave each other tokens and locks."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import FileLock

log = logging.getLogger(__name__)

_PRIVATE_FOLDER = 0o700

_said: set[tuple[int, str]] = set()


@contextmanager
def go_on_without(what: str, *, to_mend: str) -> Iterator[None]:
    """
    End a block that the host does not let us carry out, and say why: once in each process.

    A host may have no home, no room or no locks, and what is in its files may be odd. A task does without, so
    this holds whatever the error: no request belongs into the block, nor anything else that may fail a task.

    :param what: What there will not be, and what follows: the beginning of the warning.
    :param to_mend: What to do about it: its end.
    """
    try:
        yield
    except Exception as error:  # files, locks and ciphers raise what they like
        log.debug("Trouble with this host", exc_info=error)
        if (key := (os.getpid(), what)) not in _said:
            _said.add(key)
            log.warning("%s The reason: %s. %s", what, _plain(error), to_mend)


def private_folder(folder: Path | None = None) -> Path:
    """
    Return a folder that nobody else can read, and make it if need be.

    By default it is the user's own cache folder. An error says that there can be none, or that it belongs to
    somebody else.
    """
    folder = folder or _default_folder()
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} is no folder of this user's")
    if stat.S_IMODE(status.st_mode) != _PRIVATE_FOLDER:
        folder.chmod(_PRIVATE_FOLDER)
    return folder


def digest_of(name: str) -> str:
    """Return the name of a file that stands for something whose own name may be long, odd or confidential."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def take_host_lock(name: str, patience: float, folder: Path | None = None) -> FileLock | None:
    """
    Take a lock that the processes of this user on this host share.

    :param name: What it keeps others from.
    :param patience: Seconds to wait for whoever has it.
    :param folder: Where it is; by default the user's own cache folder.
    :return: The lock, or None if others kept it. It is reentrant: a task that is killed while it has the lock
        may need it again to clean up.
    """
    from filelock import Timeout

    folder = private_folder(folder)
    _check_locks(folder)
    lock = _lock_at(folder / f"{digest_of(name)}.lock")
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return None
    return lock


@cache
def _check_locks(folder: Path) -> None:
    """
    Lock a file that nobody else knows.

    What refuses this has no locks. Of a file that others know, some file systems say it in the words for a
    lock that is taken (EACCES), and everybody would wait for nobody.
    """
    import fcntl

    with tempfile.TemporaryFile(dir=folder) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@cache
def _lock_at(path: Path) -> FileLock:
    """Return one object for good, as only one and the same object is reentrant."""
    from filelock import FileLock

    return FileLock(path, mode=0o600)


def _default_folder() -> Path:
    from platformdirs import user_cache_path

    folder = user_cache_path("airflow-provider-mage")
    if not folder.is_absolute():  # platformdirs before 4.12 says `~` where there is no home
        raise RuntimeError("this user has no home folder: neither HOME nor an entry in the user database")
    return folder


def _plain(error: Exception) -> str:
    """Return an error in words for people: what the system says, and about which file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error) or type(error).__name__
