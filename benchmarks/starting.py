"""
What a start costs: this package's operator beside a bare request, and beside Airflow's HTTP operator.

All against one real Mage server, whose scheduler is told to look once an hour, so that nothing but the
starting is measured. The ways take turns, and what counts is how many bare POSTs each costs within its turn.
Exits with 1 if a promise of ``docs/benchmarks.md`` is not kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_tasks import CONN_ID, HTTP_CONN_ID, Deferred, connections, execute
from mage_database import SCHEDULE, MageDatabase
from measured_mage import DATABASES, measured_mage
from report import table, write_section

if TYPE_CHECKING:
    from collections.abc import Callable

    from measured_mage import Meter, Spent

    from mage_server import MageServer

PIPELINE = "daily_orders"
SCHEDULES = 5
FINISHED_RUNS = 20
FINISHED_WITHIN = timedelta(hours=12)
VARIABLES = {"orders": 42}
BARE = "a bare POST"
BY_NAME, BY_ID = "by the schedule's name", "by its id"
PROMISED = {BY_NAME: 3.6, BY_ID: 3.6}
"""
So many bare POSTs may a start cost Mage, up to where the task defers itself or ends. By its id it could do
with 2.3, if the schedule were not read first: then an id of another pipeline's would start a run of that one.
"""

MODULES = (
    "airflow.providers.http.operators.http",
    "airflow_provider_mage.hooks.mage",
    "airflow_provider_mage.operators.pipeline",
    "airflow_provider_mage.triggers.pipeline",
)
"""Imported first, so that the processes of tasks inherit them."""

DEFERRABLE, NO_WAIT, SYNC = "deferrable", "without waiting", "waiting itself, with its first look"
MODES: dict[str, dict[str, Any]] = {
    DEFERRABLE: {"deferrable": True},
    NO_WAIT: {"deferrable": False, "wait_for_completion": False},
    SYNC: {"deferrable": False},
}


@dataclass
class Figures:
    """What one way of starting costs Mage, turn by turn: for one start each, and in bare POSTs."""

    cpu: list[float] = field(default_factory=list)
    posts: list[float] = field(default_factory=list)
    requests: dict[str, float] = field(default_factory=dict)

    def add(self, spent: Spent, starts: int, turns: int) -> None:
        """Add one turn of many."""
        self.cpu.append(spent.cpu / starts)
        for kind, count in spent.kinds().items():
            self.requests[kind] = self.requests.get(kind, 0) + count / starts / turns


class Starting:
    """
    The ways to start a run.

    :param server: A Mage server.
    :param database: Its database; the runs start under its pipeline schedule.
    """

    def __init__(self, server: MageServer, database: MageDatabase) -> None:
        self._server = server
        self._database = database
        self._path = f"/pipeline_schedules/{database.schedule_id}/pipeline_runs"
        self._body = {"pipeline_run": {"variables": VARIABLES}}
        self._headers = {"X-API-KEY": server.api_key, "OAUTH-TOKEN": server.session_tokens()[0]}

    def ways(self) -> dict[str, Callable[[], None]]:
        """Return what starts one run in each way, by its name."""
        schedules: dict[str, dict[str, Any]] = {
            BY_NAME: {"pipeline_schedule_name": SCHEDULE},
            BY_ID: {"pipeline_schedule_id": self._database.schedule_id},
        }
        return {
            BARE: self.post,
            "HTTP operator": self.http_operator,
            **{
                way(schedule, mode): partial(self.operator, mode, schedules[schedule])
                for schedule in schedules
                for mode in MODES
            },
        }

    def post(self) -> None:
        """Ask Mage for a run, and for nothing else."""
        self._server.request("POST", self._path, self._body)

    def http_operator(self) -> None:
        """Have the HTTP provider's operator do that. It gets a token for nothing that never expires."""
        from airflow.providers.http.operators.http import HttpOperator

        arguments = {
            "http_conn_id": HTTP_CONN_ID,
            "endpoint": f"api{self._path}",
            "data": json.dumps(self._body),
            "headers": {**self._headers, "Content-Type": "application/json"},
        }
        if "pipeline_run" not in json.loads(execute(HttpOperator, arguments)):
            raise RuntimeError("The HTTP operator has started no run")

    def operator(self, mode: str, schedule: dict[str, Any]) -> None:
        """Have this package's operator do it, up to where it defers itself or ends."""
        from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

        arguments = {
            "mage_conn_id": CONN_ID,
            "pipeline_uuid": PIPELINE,
            "variables": VARIABLES,
            **schedule,
            **MODES[mode],
        }
        result = execute(
            MageTriggerPipelineOperator, arguments, on_push=self._end_at_once if mode == SYNC else _ignore
        )
        if isinstance(result, Deferred) is not (mode == DEFERRABLE):
            raise RuntimeError(f"{mode}: the operator has returned {result!r}")

    def _end_at_once(self, key: str, value: Any) -> None:
        """Let a run end before the first look at it, so that there is no second one."""
        if key == "pipeline_run_id":
            self._database.complete(value)


def _ignore(key: str, value: Any) -> None:
    """Do nothing with an XCom."""


def way(schedule: str, mode: str) -> str:
    """Return the name of one of this package's ways."""
    return f"this package, {schedule}, {mode}"


def measure(
    ways: dict[str, Callable[[], None]], meter: Meter, *, turns: int, starts: int
) -> dict[str, Figures]:
    """
    Let every way start runs, turn by turn.

    :param ways: What starts one run in each way.
    :param meter: Mage's.
    :param turns: How many turns each has, every other one in the opposite order.
    :param starts: How many runs each starts within a turn.
    :return: What each costs.
    """
    figures = {name: Figures() for name in ways}
    for start in ways.values():
        start()
    for turn in range(turns):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            with meter.measure() as spent:
                for _ in range(starts):
                    ways[name]()
            figures[name].add(spent, starts, turns)
        for row in figures.values():
            row.posts.append(row.cpu[-1] / figures[BARE].cpu[-1])
        print(f"turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
    return figures


def figures_table(figures: dict[str, Figures]) -> str:
    """Return the figures as a Markdown table."""
    head = ("start", "Mage CPU ms", "bare POSTs", "lowest - highest", "requests", "of which")
    return table(
        head,
        [
            (
                name,
                f"{statistics.median(row.cpu) * 1000:.0f}",
                f"{statistics.median(row.posts):.1f}",
                f"{min(row.posts):.1f} - {max(row.posts):.1f}",
                f"{sum(row.requests.values()):.1f}",
                ", ".join(f"{count:.3g} `{kind}`" for kind, count in sorted(row.requests.items())),
            )
            for name, row in figures.items()
        ],
    )


def promises(figures: dict[str, Figures]) -> dict[str, bool]:
    """
    Compare this package with what it promises.

    :param figures: What was measured.
    :return: Sentences, and whether what each says is as good as promised.
    """
    kept = {}
    for schedule, most in PROMISED.items():
        posts = max(statistics.median(figures[way(schedule, mode)].posts) for mode in (DEFERRABLE, NO_WAIT))
        kept[f"a start {schedule} costs Mage as much as {posts:.1f} bare POSTs (at most {most})"] = (
            posts <= most
        )
    return kept


def main() -> int:
    """Measure, write the table, and say whether every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--starts", type=int, default=20, help="runs that each way starts within a turn")
    parser.add_argument("--dry-run", action="store_true", help="print only, and write no report")
    arguments = parser.parse_args()

    for module in MODULES:
        importlib.import_module(module)
    with measured_mage(arguments.database) as (server, meter):
        os.environ.update(connections(server))
        database = MageDatabase(server, PIPELINE)
        database.add_finished(FINISHED_RUNS, within=FINISHED_WITHIN)
        for number in range(1, SCHEDULES):
            database.add_schedule(f"another {number}")
        ways = Starting(server, database).ways()
        figures = measure(ways, meter, turns=arguments.turns, starts=arguments.starts)
    kept = promises(figures)
    found = [f"- {'' if is_kept else '**Not kept:** '}{promise}" for promise, is_kept in kept.items()]
    text = "\n".join([figures_table(figures), "", *found])
    print(text)
    if not arguments.dry_run and arguments.database == "sqlite":
        write_section("starting", text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
