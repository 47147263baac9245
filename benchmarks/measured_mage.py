"""A real Mage server for a benchmark, and what it spends: processor time, and answers to requests."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from mage_server import MageServer
from postgresql import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATABASES = ("sqlite", "postgresql")
LOG_SECONDS = 0.1
"""Mage writes a request into its log after it has answered."""


@dataclass
class Spent:
    """
    What Mage has spent within some time, once that is over.

    :param cpu: Processor seconds.
    :param seconds: How long it was.
    :param requests: What was answered: method, path and query each.
    """

    cpu: float = 0.0
    seconds: float = 0.0
    requests: tuple[str, ...] = ()

    @property
    def cpu_per_minute(self) -> float:
        """Processor seconds per minute."""
        return self.cpu * 60 / self.seconds

    def kinds(self) -> Counter[str]:
        """Count the requests by method and path, whatever they are about."""
        return Counter(
            re.sub(r"/(\d+)(?=/|$)", "/*", re.sub(r"/pipelines/[^/]+", "/pipelines/*", request.split("?")[0]))
            for request in self.requests
        )

    def count(self, pattern: str) -> int:
        """Count the requests that begin as a regular expression says."""
        return sum(bool(re.match(pattern, request)) for request in self.requests)


class Meter:
    """
    Reads off what a Mage server spends.

    :param server: The server, started.
    :param database_processes: Lists the processes of its database, if it has any.
    """

    def __init__(
        self, server: MageServer, database_processes: Callable[[], list[psutil.Process]] = list
    ) -> None:
        self._log = server.log_path
        self._web_server = psutil.Process(
            server.request("GET", "/status")["statuses"][0]["server_process_id"]
        )
        self._database_processes = database_processes

    @contextmanager
    def measure(self) -> Iterator[Spent]:
        """
        Measure what Mage spends within the ``with`` block.

        :yields: What will say so after it.
        """
        spent = Spent()
        time.sleep(LOG_SECONDS)
        log_begin, cpu, started = self._log.stat().st_size, self._cpu_seconds(), time.monotonic()
        yield spent
        spent.seconds = time.monotonic() - started
        time.sleep(LOG_SECONDS)
        spent.cpu = self._cpu_seconds() - cpu
        log = self._log.read_bytes()[log_begin:].decode(errors="replace")
        spent.requests = tuple(
            f"{method} {path}" for method, path in re.findall(r"tornado\.access:\d+ (\S+) /api(/\S*)", log)
        )

    def _cpu_seconds(self) -> float:
        processes = [self._web_server, *self._database_processes()]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def measured_mage(database: str = "sqlite") -> Iterator[tuple[MageServer, Meter]]:
    """
    Run a Mage server that starts no run by itself, and keep what this process caches to this process.

    :param database: One of :data:`DATABASES`.
    :yields: The server and its meter.
    """
    with ExitStack() as stack:
        # A cache of its own, else the log-in of an earlier run would be found on the disk.
        os.environ["XDG_CACHE_HOME"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cache-"))
        stack.callback(os.environ.pop, "XDG_CACHE_HOME")
        postgresql = stack.enter_context(PostgreSQL()) if database == "postgresql" else None
        url = postgresql.create_database("mage") if postgresql else ""
        server = stack.enter_context(MageServer(url, keep_worker_pool=False, scheduler_interval=3600))
        yield server, Meter(server, postgresql.processes if postgresql else list)
