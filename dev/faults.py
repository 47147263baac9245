"""
Run many tasks against a real Mage, with a random fault on every second request, and count the runs.

    faults.py [--runs 500] [--at-once 60] [--seed 3]

Each task is one ``MageTriggerPipelineOperator`` that is run, and retried, as Airflow would. All is well if
Mage then has exactly one completed run for each of them, and none that is still active. A Mage that is too
slow for the time-outs, because the machine is busy, proves nothing: it is given longer ones.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fakes.faulty_proxy import FaultyProxy, Forwarder, single_faults
from fakes.scheduler import TaskInstance, add_connection
from isolation import REPOSITORY
from mage_server import MageServer
from postgresql import PostgreSQL

if TYPE_CHECKING:
    from fakes.messages import Answer, Request

PROJECT = (REPOSITORY / "tests" / "mage_project", REPOSITORY / "tests" / "faults" / "mage_project")
PIPELINE = "sleeper"
TIMEOUT = 4.0
"""
Seconds that a request may take (``timeout`` in the connection's extra). The package's promise is in time-outs
(how late a request may be, how long duplicates are looked for), so all other times here follow from it.
"""

SLOW = 0.5
"""
The share of a time-out by which an undisturbed request must be answered. A proxy's lateness comes on top of
the server's own: only if that one is short does a late request arrive as late as it is meant to.
"""

PACES = (1, 2, 4, 8)
"""
Longer and longer time-outs. What fails on a server that is slow says nothing about the package, and is tried
again with the next one; what fails on one that is not is an error, as is what fails with the last one.
"""

BLOCK_TIMEOUTS = 15
"""
How long a run takes, in time-outs. A duplicate that is over before it is found, after up to seven of them and
some requests, cannot be cancelled.
"""

STARTS_PER_SECOND = 4
"""As many as Airflow's scheduler and Mage's one thread manage."""

RETRIES = 5
ACTIVE = ("initial", "running")


class TimedForwarder(Forwarder):
    """
    Passes requests on, and takes the time.

    :param upstream: The URL of the server behind the proxy.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.slowest = 0.0

    def handle(self, request: Request) -> Answer:
        """
        Pass a request on.

        :param request: What to ask.
        :return: The answer.
        """
        started = time.monotonic()
        try:
            return super().handle(request)
        finally:
            self.slowest = max(self.slowest, time.monotonic() - started)


class TimedProxy(FaultyProxy):
    """
    A proxy that knows how slow the server behind it was, whatever it did to the answers itself.

    :param upstream: The URL of the server behind it.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._timed = TimedForwarder(upstream)
        self._api = self._timed

    @property
    def slowest(self) -> float:
        """The most seconds that the server took to answer."""
        return self._timed.slowest


@dataclass(frozen=True)
class Count:
    """
    What became of the tasks.

    :param runs: Every run on Mage: its run key and its status.
    :param slowest: The most seconds that Mage took to answer.
    """

    tasks: int
    red: dict[str, str]
    retries: Counter[str]
    runs: list[tuple[str, str]]
    requests: int
    faults: Counter[str]
    log_ins: int
    seconds: float
    timeout: float
    slowest: float

    @property
    def completed(self) -> Counter[str]:
        """How many runs with each key have completed."""
        return Counter(key for key, status in self.runs if status == "completed")

    def with_status(self, *statuses: str) -> int:
        """
        Count the runs of all tasks.

        :param statuses: With one of these statuses.
        :return: How many.
        """
        return sum(status in statuses for _, status in self.runs)

    @property
    def is_exact(self) -> bool:
        """Whether every task is green, has one completed run with a key of its own, and no run is active."""
        return (
            not self.red
            and len(self.completed) == self.tasks == self.completed.total()
            and not self.with_status(*ACTIVE, "failed")
        )

    @property
    def is_slow(self) -> bool:
        """Whether Mage was too slow for its time-out, so that tasks may have gone wrong because of that."""
        return self.slowest > SLOW * self.timeout

    def __str__(self) -> str:
        rows: list[tuple[str, Any]] = [
            ("tasks", self.tasks),
            ("requests", self.requests),
            ("of these disturbed", self.faults.total()),
            *((f"  {fault}", times) for fault, times in sorted(self.faults.items())),
            ("attempts that failed", self.retries.total()),
            *((f"  {error}", times) for error, times in sorted(self.retries.items())),
            ("log-ins", self.log_ins),
            ("runs on Mage", len(self.runs)),
            ("  completed", self.completed.total()),
            ("  run keys of these", len(self.completed)),
            ("  cancelled as duplicates", self.with_status("cancelled")),
            ("  failed", self.with_status("failed")),
            ("  still active", self.with_status(*ACTIVE)),
            ("tasks that are not green", len(self.red)),
            ("tasks with no completed run", self.tasks - len(self.completed)),
            ("tasks with more than one", sum(times > 1 for times in self.completed.values())),
            ("seconds", f"{self.seconds:.0f}"),
            ("  of these a time-out", f"{self.timeout:.0f}"),
            ("  Mage's slowest answer", f"{self.slowest:.1f}"),
        ]
        return "\n".join(f"{name:<32}{value:>8}" for name, value in rows)


def run_with_faults(
    server: MageServer, tasks: int, *, at_once: int, seed: int, timeout: float = TIMEOUT
) -> Count:
    """
    Run tasks through a proxy that disturbs every second request.

    :param server: The Mage server, with the pipeline ``sleeper``.
    :param tasks: How many.
    :param at_once: How many at a time.
    :param seed: Of the proxy's dice.
    :param timeout: Seconds that a request may take.
    :return: What became of them.
    """
    started, log_ins = time.monotonic(), len(server.session_tokens())
    dag_run = f"faults_{started}"
    with TimedProxy(server.url) as proxy:
        add_connection("mage_faults", server, proxy.root, timeout=timeout)
        proxy.disturb_every_second(single_faults(timeout), seed)
        instances = [TaskInstance(partial(_operator, number, timeout), dag_run) for number in range(tasks)]
        with ThreadPoolExecutor(at_once) as pool:
            outcomes = []
            for instance in instances:
                outcomes.append(pool.submit(_run, instance))
                time.sleep(1 / STARTS_PER_SECOND)
            red = dict(filter(None, (outcome.result() for outcome in outcomes)))
    runs = _runs(server, dag_run)
    return Count(
        tasks=tasks,
        red=red,
        retries=Counter(type(error).__name__ for instance in instances for error in instance.errors),
        runs=runs,
        requests=len(proxy.requests),
        faults=proxy.faults,
        log_ins=len(server.session_tokens()) - log_ins,
        seconds=time.monotonic() - started,
        timeout=timeout,
        slowest=proxy.slowest,
    )


def _operator(number: int, timeout: float) -> Any:
    from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

    return MageTriggerPipelineOperator(
        task_id=f"task_{number}",
        mage_conn_id="mage_faults",
        pipeline_uuid=PIPELINE,
        variables={"seconds": BLOCK_TIMEOUTS * timeout},
        poll_interval=10,
        retries=RETRIES,
    )


def _run(instance: TaskInstance) -> tuple[str, str] | None:
    try:
        instance.run()
    except Exception as error:  # noqa: BLE001  whatever it is, it belongs into the report
        return instance.task_id, repr(error)
    return None


def _runs(server: MageServer, dag_run: str) -> list[tuple[str, str]]:
    rows = [(row["variables"].get("airflow", {}), row["status"]) for row in server.stored_runs()]
    return [(origin["run_key"], status) for origin, status in rows if origin.get("run_id") == dag_run]


def main() -> int:
    """Run the tasks and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=60)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        # Airflow 3 logs to stdout, Airflow 2 where it is told to.
        logging.basicConfig(
            stream=log, level=logging.INFO, format="%(asctime)s %(threadName)s %(message)s", force=True
        )
        with (
            PostgreSQL() as postgresql,
            MageServer(postgresql.create_database("mage"), overlays=PROJECT) as server,
        ):
            for pace in PACES:
                with contextlib.redirect_stdout(log):
                    count = run_with_faults(
                        server, args.runs, at_once=args.at_once, seed=args.seed, timeout=pace * TIMEOUT
                    )
                print(count)
                if count.is_exact or not count.is_slow:
                    break
                print("That was a Mage too slow for its time-out")
        if not count.is_exact:
            log.seek(0)
            print(f"The provider's log:\n{log.read()}")
            print("NOT exactly one completed run for each task; the provider's log is above")
    for task, error in count.red.items():
        print(f"{task}: {error}")
    return 0 if count.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
