"""What keeps a server that is started for a test or the demo apart from its surroundings."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
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
    Ports on loopback that were free a moment ago.

    :param count: how many
    :return: their numbers, all different
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind((LOOPBACK, 0))
        return [listener.getsockname()[1] for listener in sockets]


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
