"""The folder in which the processes of one user on one host leave each other tokens and locks."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PRIVATE_FOLDER = 0o700


def private_folder(folder: Path | None = None) -> Path:
    """
    Return a folder that nobody else can read, and make it if need be.

    :param folder: The folder; by default the user's own cache folder.
    :return: The folder.
    :raises OSError: If it cannot be made, or belongs to somebody else.
    """
    folder = folder or _default_folder()
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} does not belong to this user")
    if stat.S_IMODE(status.st_mode) != _PRIVATE_FOLDER:
        folder.chmod(_PRIVATE_FOLDER)
    return folder


def _default_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("airflow-provider-mage")
