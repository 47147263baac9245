"""A PostgreSQL server of one's own, on loopback, for as long as a benchmark runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))

from guard import GuardedProcess
from isolation import LOOPBACK, bare_environment, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil

OTHER_USER = "nobody"
"""Who runs it when root would, as PostgreSQL refuses to be run by root."""


def find(program: str) -> str | None:
    """Return where a program of PostgreSQL is; Debian keeps the server's off the PATH."""
    places = sorted(glob(f"/usr/lib/postgresql/*/bin/{program}"), reverse=True)  # noqa: PTH207
    return shutil.which(program) or next(iter(places), None)


@contextmanager
def postgresql() -> Iterator[tuple[str, Callable[[], list[psutil.Process]]]]:
    """
    Start a server with an empty database.

    :yields: The database's URL, as SQLAlchemy takes it, and what lists the server's processes.
    """
    initdb, postgres = find("initdb"), find("postgres")
    if not (initdb and postgres):
        raise FileNotFoundError("There is no PostgreSQL server here: initdb and postgres are not found.")
    directory = Path(tempfile.mkdtemp(prefix="bench-postgresql-"))
    other: dict[str, Any] = {}
    become: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(directory, OTHER_USER)
        other = {"user": OTHER_USER, "extra_groups": []}
        become = ["setpriv", f"--reuid={OTHER_USER}", "--clear-groups"]
    data, [port] = directory / "data", free_ports(1)
    env = bare_environment(home=directory, bin_dir=Path(postgres).parent)
    server = None
    try:
        subprocess.run(
            [initdb, "-D", str(data), "-U", "mage", "-A", "trust", "--no-sync", "-E", "UTF8"],
            env=env,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            check=True,
            **other,
        )
        server = GuardedProcess(
            [*become, postgres, "-D", str(data), "-k", str(directory), "-h", LOOPBACK, "-p", str(port)],
            env=env,
            cwd=directory,
            log_path=directory / "log",
            remove=[directory],
        )
        wait_until(
            lambda: b"ready to accept connections" in (directory / "log").read_bytes(),
            what="PostgreSQL server",
            timeout=60,
        )
        yield f"postgresql+psycopg2://mage:mage@{LOOPBACK}:{port}/postgres", server.processes
    finally:
        if server:
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)
