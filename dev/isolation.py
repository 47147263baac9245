"""What keeps a server that is started for a test or the demo apart from its surroundings."""

from __future__ import annotations

import atexit
import ctypes
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 32_000)
"""Below those that Linux gives to outgoing connections: one of these may be gone the moment after."""

ROOM = 4 * 1024**3
"""Bytes that must be free in memory for files to go there."""

REMOVAL_SECONDS = 20.0
PR_SET_PDEATHSIG = 1
# The UDP port of the same number, which no server here uses, says that a port is taken: it is free again
# when this process has ended, however it ended.
_claims = ExitStack()
atexit.register(_claims.close)
# Everything else, AIRFLOW__... and credentials above all, stays out of a server's environment.
PASSED_ON = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")


def bare_environment(*, home: Path, bin_dir: Path) -> dict[str, str]:
    """
    The environment that a server starts from.

    :param home: its home directory, and where its temporary files go: those of a killed process stay behind
    :param bin_dir: the ``bin`` directory of the virtual environment that it runs in, first on its PATH
    :return: a new dict, to be added to
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    path = os.pathsep.join([str(bin_dir), os.environ.get("PATH", os.defpath)])
    return {**passed_on, "HOME": str(home), "TMPDIR": str(home), "PATH": path, "NO_PROXY": "*"}


def free_ports(count: int) -> list[int]:
    """
    Ports on loopback that nobody uses, and that nobody else is given while this process lives.

    :param count: how many
    :return: their numbers, all different
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)  # noqa: S311  chance, not a secret
        claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind((LOOPBACK, port))
            with socket.socket() as listener:
                listener.bind((LOOPBACK, port))
        except OSError:
            claim.close()
        else:
            _claims.enter_context(claim)
            ports.append(port)
    return ports


def roomy_directory() -> Path:
    """
    Where the temporary files of tests go.

    :return: a directory in memory where there is room: on a slow or busy disk everything takes longer
    """
    in_memory = Path("/dev/shm")  # noqa: S108  the names in it are made by mkdtemp
    if in_memory.is_dir() and os.access(in_memory, os.W_OK) and shutil.disk_usage(in_memory).free > ROOM:
        return in_memory
    return Path(tempfile.gettempdir())


def die_with_parent() -> None:
    """Have this process told to end (SIGTERM) when the one that started it has ended, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def remove(directory: Path) -> None:
    """
    Remove a directory, also one in which something that is about to end still writes.

    :param directory: what is removed
    """
    give_up = time.monotonic() + REMOVAL_SECONDS
    while directory.exists() and time.monotonic() < give_up:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.1 * directory.exists())


def is_free(port: int) -> bool:
    """
    Whether nobody listens on a port of loopback.

    :param port: its number
    :return: true if so
    """
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) != 0


def wait_until(look: Callable[[], T | None], *, what: str, timeout: float, interval: float = 0.2) -> T:
    """
    Look again and again until there is something to see.

    :param look: returns something true when it is time to stop
    :param what: what is waited for, for the error's text
    :param timeout: seconds
    :param interval: seconds between two looks
    :return: what `look` returned
    :raises TimeoutError: when it never did
    """
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"No {what} within {timeout:.0f} s")
        time.sleep(interval)
    return seen
