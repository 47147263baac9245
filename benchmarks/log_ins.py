"""
What a hundred task processes cost a real Mage server in log-ins: sharing one, and each making its own.

Each process is forked from one that has imported all it needs, as a worker's are, and reads one run. The
cache is cold. Exits with 1 unless they share a single log-in.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from airflow_tasks import CONN_ID, connections, in_task_process
from mage_database import MageDatabase
from measured_mage import measured_mage
from probe import Probe, p99
from report import table, write_section

if TYPE_CHECKING:
    from measured_mage import Meter

    from mage_server import MageServer

AT_ONCE = 16
IDLE_SECONDS = 20
LONGEST = 600
WAYS = {True: "this package", False: "a log-in in each task"}


def task(pipeline_run_id: int) -> str:
    """Do what every task begins with."""
    from airflow_provider_mage.hooks.mage import MageHook

    return MageHook(CONN_ID, retry_for=LONGEST).client.get_pipeline_run(pipeline_run_id).status.value


def measure(
    server: MageServer,
    meter: Meter,
    database: MageDatabase,
    tasks: int,
    *,
    share_login: bool,
    idle_p99: float,
) -> tuple[int, list[str]]:
    """
    Let so many task processes read a run.

    :param server: The server.
    :param meter: Tells what the server spends.
    :param database: Its database.
    :param tasks: How many.
    :param share_login: Whether they may share a log-in.
    :param idle_p99: The 99th percentile of somebody else's request when nobody logs in.
    :return: The log-ins they made, and a row of the table.
    """
    os.environ.update(connections(server, share_login=share_login, timeout=LONGEST))
    [run_id] = database.add_running(1)
    log_ins = len(server.session_tokens())
    with meter.measure() as spent, ThreadPoolExecutor(AT_ONCE) as pool:
        results = [pool.submit(in_task_process, partial(task, run_id)) for _ in range(tasks)]
        latencies: list[float] = []
        while not all(result.done() for result in results):
            latencies += Probe(server.url, 1).latencies()
        for result in results:
            result.result()
    log_ins = len(server.session_tokens()) - log_ins
    row = [
        WAYS[share_login],
        f"{log_ins}",
        f"{spent.cpu:.1f}",
        f"{spent.seconds:.0f}",
        f"{p99(latencies) / idle_p99:.0f}",
        f"{max(latencies):.1f}",
    ]
    return log_ins, row


def main() -> int:
    """Measure both ways, report, and say whether there was one log-in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--dry-run", action="store_true", help="print only, and write no report")
    arguments = parser.parse_args()

    import airflow_provider_mage.hooks.mage  # noqa: F401  the processes of tasks inherit it

    with measured_mage() as (server, meter):
        database = MageDatabase(server, "daily_orders")
        idle_p99 = p99(Probe(server.url, IDLE_SECONDS).latencies())
        made, rows = {}, []
        for share_login in WAYS:
            made[share_login], row = measure(
                server, meter, database, arguments.tasks, share_login=share_login, idle_p99=idle_p99
            )
            rows.append(row)
    head = (
        f"{arguments.tasks} task processes, {AT_ONCE} at a time",
        "log-ins",
        "Mage CPU s",
        "seconds until all are through",
        "p99 of `/api/status`, x idle",
        "longest, s",
    )
    text = table(head, rows)
    print(text)
    if not arguments.dry_run:
        write_section("log-ins", text)
    return 0 if made[True] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
