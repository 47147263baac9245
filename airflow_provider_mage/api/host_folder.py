"""The folder in which the processes of one user on one host leave each other tokens and locks."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import FileLock

_PRIVATE_FOLDER = 0o700


def private_folder(folder: Path | None = None) -> Path:
    """
    Return a folder that nobody else can read, and make it if need be.

    By default it is the user's own cache folder. An OSError says that it cannot be made, or belongs to
    somebody else.
    """
    folder = folder or _default_folder()
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} does not belong to this user")
    if stat.S_IMODE(status.st_mode) != _PRIVATE_FOLDER:
        folder.chmod(_PRIVATE_FOLDER)
    return folder


def digest_of(name: str) -> str:
    """Return the name of a file that stands for something whose own name may be long, odd or confidential."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def host_lock(name: str, folder: Path | None = None) -> FileLock:
    """
    Return the lock that the processes of this user on this host share.

    :param name: What it keeps others from.
    :param folder: Where it is; by default the user's own cache folder.
    :return: A lock that is not taken yet. It is reentrant: a task that is killed while it has the lock may
        need it again to clean up.
    :raises OSError: If there is nowhere to keep it.
    """
    return _lock_at(private_folder(folder) / f"{digest_of(name)}.lock")


@cache
def _lock_at(path: Path) -> FileLock:
    """Return one object for good, as only one and the same object is reentrant."""
    from filelock import FileLock

    return FileLock(path, mode=0o600)


def _default_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("airflow-provider-mage")
