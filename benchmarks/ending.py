"""
A thousand deferred tasks whose runs all end at one moment, and what the whole life of such a task costs.

Operators start the runs on a real Mage server that has seen many, and defer themselves; their triggers wait
in one event loop, as in a triggerer; the runs end in Mage's own database; each task is resumed with its
trigger's event. Mage's scheduler is told to look once an hour, so that nothing else is measured. Beside it,
the same runs are waited for with one request per run. Exits with 1 if a promise of ``docs/benchmarks.md`` is
not kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_tasks import CONN_ID, Deferred, connections, execute, go_on
from contenders import Contender, environment
from mage_database import SCHEDULE, MageDatabase
from measured_mage import DATABASES, measured_mage
from report import table, write_section

if TYPE_CHECKING:
    from measured_mage import Meter, Spent

    from mage_server import MageServer

PIPELINE = "daily_orders"
OURS, PEER = "ours", "request_per_run"
WAYS = {OURS: "this package", PEER: "one request per run"}
GRACE = 4.0
"""Seconds over a poll interval after which the last of the ends should have been noticed."""

PATIENCE = 6
"""Poll intervals until an end that was not noticed is taken for missed."""

MOST_REQUESTS = 4.0
"""How many requests the whole life of one task may cost Mage, if many wait at once."""

MODULES = (
    "airflow_provider_mage.hooks.mage",
    "airflow_provider_mage.operators.pipeline",
    "airflow_provider_mage.triggers.pipeline",
)
"""Imported first, so that the processes of tasks inherit them."""


@dataclass(frozen=True)
class Ending:
    """
    How one way has noticed that all runs have ended.

    :param delays: Seconds from there until each event, the shortest first.
    :param events: The events' payloads, by run.
    :param waiting: What Mage spent before the end, from the beginning of the wait.
    :param end: What Mage spent from the end until the last event.
    """

    delays: list[float]
    events: dict[str, Any]
    waiting: Spent
    end: Spent


@dataclass(frozen=True)
class Share:
    """
    What a part of their lives has cost Mage for all tasks together.

    :param spent: What Mage spent.
    :param tasks: How many tasks there were.
    """

    spent: Spent
    tasks: int

    @property
    def requests(self) -> float:
        """How many requests that is for each task."""
        return len(self.spent.requests) / self.tasks

    @property
    def cpu(self) -> float:
        """How many processor seconds that is for each task."""
        return self.spent.cpu / self.tasks


class Life:
    """
    A thousand tasks, from their start on.

    :param server: A Mage server.
    :param meter: Tells what the server spends.
    :param database: Its database.
    :param tasks: How many tasks.
    :param started: How many of them have been started by an operator; the others have the same trigger, and
        no worker that resumes them.
    :param poll_interval: Seconds between two looks at a run.
    """

    def __init__(
        self,
        server: MageServer,
        meter: Meter,
        database: MageDatabase,
        *,
        tasks: int,
        started: int,
        poll_interval: float,
    ) -> None:
        from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

        self._meter = meter
        self._database = database
        self._tasks = tasks
        self._started = min(started, tasks)
        self._poll_interval = poll_interval
        self._environment = environment(server, poll_interval, time.time() - 1)
        self._operator = (
            MageTriggerPipelineOperator,
            {
                "mage_conn_id": CONN_ID,
                "pipeline_uuid": PIPELINE,
                "pipeline_schedule_name": SCHEDULE,
                "poll_interval": poll_interval,
                "deferrable": True,
            },
        )
        self._deferred: dict[int, Deferred] = {}
        self._triggers: dict[int, tuple[str, dict[str, Any]]] = {}

    def start(self) -> Share:
        """Start the runs."""
        first = self._execute()  # it logs in
        self._database.complete(first[0])
        with self._meter.measure() as spent:
            self._deferred = dict(self._execute() for _ in range(self._started))
        self._triggers = {run_id: task.trigger for run_id, task in self._deferred.items()}
        path, arguments = next(iter(self._triggers.values()))
        if others := self._tasks - self._started:
            for run_id in self._database.add_running(others):
                # A run that was copied belongs to no task.
                self._triggers[run_id] = (path, {**arguments, "pipeline_run_id": run_id, "claim": None})
        return Share(spent, self._started)

    def wait(self, way: str, triggers: Path, pause: float) -> Ending:
        """
        Wait for the runs, and let all of them end.

        :param way: One of :data:`WAYS`.
        :param triggers: A file for what Airflow stores of the triggers.
        :param pause: Seconds from the steady state until the end.
        :return: What came of it.
        """
        run_ids = range(min(self._triggers), max(self._triggers) + 1)
        if len(run_ids) != self._tasks:
            raise RuntimeError("Somebody else starts runs too")
        self._database.run_again(run_ids)
        triggers.write_text(json.dumps(self._triggers))
        with ExitStack() as stack:
            with self._meter.measure() as waiting:
                contender = stack.enter_context(
                    Contender(
                        way,
                        run_ids,
                        pause + PATIENCE * self._poll_interval,
                        {**self._environment, "BENCH_TRIGGERS": str(triggers)},
                        until_ended=True,
                    )
                )
                time.sleep(pause)
            with self._meter.measure() as end:
                moment = self._database.complete(*run_ids)
                seen = contender.seen()
        delays = sorted(ended - moment for ended in seen["ended"].values())
        return Ending(delays, seen["events"], waiting, end)

    def resume(self, events: dict[str, Any]) -> Share:
        """
        Resume every task that an operator has started, and that has got its event.

        :param events: The events' payloads, by run.
        :return: What Mage spent.
        """
        with self._meter.measure() as spent:
            for run_id, deferred in self._deferred.items():
                event = events.get(str(run_id))
                if event and go_on(*self._operator, deferred, event) != run_id:
                    raise RuntimeError(f"The task of run {run_id} has returned something else")
        return Share(spent, self._started)

    def _execute(self) -> tuple[int, Deferred]:
        result = execute(*self._operator)
        if not isinstance(result, Deferred):
            raise TypeError(f"A task has returned {result!r} instead of deferring itself")
        return int(result.trigger[1]["pipeline_run_id"]), result


def endings_table(endings: dict[str, list[Ending]], tasks: int) -> str:
    """Return what the end of all runs cost each way, as a Markdown table."""
    head = (
        f"{tasks:,} runs end at one moment",
        "first event, s",
        "median event, s",
        "last event, s",
        "worst last event, s",
        "requests",
        "Mage CPU s",
        "events",
    )
    return table(
        head,
        [
            (
                WAYS[way],
                f"{statistics.median(row.delays[0] for row in rows):.1f}",
                f"{statistics.median(statistics.median(row.delays) for row in rows):.1f}",
                f"{statistics.median(row.delays[-1] for row in rows):.1f}",
                f"{max(row.delays[-1] for row in rows):.1f}",
                f"{statistics.median(len(row.end.requests) for row in rows):,.0f}",
                f"{statistics.median(row.end.cpu for row in rows):.2f}",
                f"{min(len(row.delays) for row in rows):,} of {tasks:,}",
            )
            for way, rows in endings.items()
        ],
    )


def life_table(life: dict[str, Share], tasks: int) -> str:
    """Return what each part of a task's life cost Mage, as a Markdown table."""
    head = (f"a deferred task among {tasks:,}", "requests", "Mage CPU ms")
    parts = [(part, share.requests, share.cpu) for part, share in life.items()]
    parts.append(("in all", sum(row[1] for row in parts), sum(row[2] for row in parts)))
    return table(head, [(part, f"{requests:.2f}", f"{cpu * 1000:.0f}") for part, requests, cpu in parts])


def promises(
    endings: dict[str, list[Ending]], life: dict[str, Share], tasks: int, poll_interval: float
) -> dict[str, bool]:
    """
    Compare this package with what it promises.

    :param endings: How each way noticed the ends.
    :param life: What each part of the tasks' lives cost.
    :param tasks: How many tasks there were.
    :param poll_interval: Seconds between two looks at a run.
    :return: Sentences, and whether what each says is as good as promised.
    """
    most = poll_interval + GRACE
    noticed = min(len(row.delays) for row in endings[OURS])
    last = max(row.delays[-1] for row in endings[OURS])
    requests = sum(share.requests for share in life.values())
    return {
        f"{noticed:,} of {tasks:,} ends that come at one moment are noticed, the last after {last:.1f} s at "
        f"worst (at most {most:.0f})": noticed == tasks and last <= most,
        f"{requests:.2f} requests in the life of a deferred task among {tasks:,} "
        f"(at most {MOST_REQUESTS:.0f})": requests <= MOST_REQUESTS,
    }


def comparison(endings: dict[str, list[Ending]]) -> str:
    """Say how much more the end of all runs costs with one request per run."""
    ours, peer = (
        [statistics.median(values) for values in zip(*map(_costs, endings[way]), strict=True)]
        for way in (OURS, PEER)
    )
    requests, cpu, last = (theirs / own for theirs, own in zip(peer, ours, strict=True))
    return (
        f"one request per run takes {requests:.1f} times as many requests, {cpu:.1f} times as much of Mage's "
        f"CPU and {last:.1f} times as long until the last event"
    )


def _costs(ending: Ending) -> tuple[float, float, float]:
    return len(ending.end.requests), ending.end.cpu, ending.delays[-1]


def main() -> int:
    """Measure, write the tables, and say whether every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--poll-interval", type=float, default=10, help="seconds")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument(
        "--started", type=int, default=1000, help="how many tasks an operator starts, if not all"
    )
    parser.add_argument("--ends", type=int, default=3, help="how often all runs end, for each way")
    parser.add_argument("--dry-run", action="store_true", help="print only, and write no report")
    arguments = parser.parse_args()
    tasks, poll_interval = arguments.tasks, arguments.poll_interval
    for module in MODULES:
        importlib.import_module(module)
    endings: dict[str, list[Ending]] = {way: [] for way in WAYS}
    life: dict[str, Share] = {}
    with (
        measured_mage(arguments.database) as (server, meter),
        tempfile.TemporaryDirectory(prefix="bench-triggers-") as directory,
    ):
        os.environ.update(connections(server))
        database = MageDatabase(server, PIPELINE)
        database.add_finished()
        one = Life(
            server, meter, database, tasks=tasks, started=arguments.started, poll_interval=poll_interval
        )
        life["its start"] = one.start()
        for number in range(arguments.ends):
            # Spread over the poll interval: it is chance when in it the runs end.
            pause = poll_interval * (number + 0.5) / arguments.ends
            for way, rows in endings.items():
                rows.append(ending := one.wait(way, Path(directory) / "triggers.json", pause))
                if way == OURS and not number:
                    life[f"waiting, {ending.waiting.seconds:.0f} s"] = Share(ending.waiting, tasks)
                    life["its run's end"] = Share(ending.end, tasks)
                    life["its worker's resumption"] = one.resume(ending.events)
                shown = endings_table({way: [ending]}, tasks).splitlines()[-1]
                print(shown, file=sys.stderr, flush=True)
    kept = promises(endings, life, tasks, poll_interval)
    found = [f"- {'' if is_kept else '**Not kept:** '}{promise}" for promise, is_kept in kept.items()]
    found.append(f"- {comparison(endings)}")
    text = "\n".join([endings_table(endings, tasks), "", life_table(life, tasks), "", *found])
    print(text)
    if not arguments.dry_run:
        write_section(f"ending-{arguments.database}", text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
