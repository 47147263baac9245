"""
How often a Mage that has nothing else to do loses a job, and how long a task then waits for it.

Short runs one after the other, with the operator as it is by default, every second one deferred. Exits with 1
unless every task is green, no task waited for a lost job for longer than :data:`LONGEST`, no block was
executed twice in a run whose job was found, and nothing is left in Mage that was made to find one. In other
runs, Mage itself executes a block twice now and then; that is counted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from report import table, write_section

from fakes.scheduler import TaskInstance, add_connection
from mage_server import MageServer

PROJECT = Path(__file__).resolve().parent / "mage_project"
BLOCKS = {"one_block": ["first"], "three_blocks": ["first", "second", "third"]}
LONGEST = 100.0
LOST = "Mage has lost a job"
FOUND = "Made Mage look into its queue"


class Messages(logging.Handler):
    """What the package logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []
        logging.getLogger("airflow_provider_mage").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((time.monotonic(), record.getMessage()))

    def waits(self) -> list[float]:
        """Return for how long the task whose lines these are has waited for each job that Mage has lost."""
        waits = []
        for number, (lost_at, line) in enumerate(self.lines):
            if LOST in line:
                later = (
                    at for at, said in self.lines[number + 1 :] if LOST not in said and FOUND not in said
                )
                stood_still = float(line.removeprefix("Nothing has changed for ").split()[0])
                waits.append(stood_still + next(later, time.monotonic()) - lost_at)
        return waits

    def count(self, text: str) -> int:
        """Tell how many lines say so."""
        return sum(text in line for _, line in self.lines)


@dataclass
class Outcome:
    """What has become of the tasks."""

    seconds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    found: int = 0
    red: list[str] = field(default_factory=list)
    twice_when_found: int = 0
    twice_otherwise: int = 0
    left: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nobody had to help, and no block was executed twice."""
        return (
            not self.red
            and not self.twice_when_found
            and max(self.waits, default=0.0) <= LONGEST
            and not self.left
        )

    def row(self, pipeline_uuid: str, interval: int) -> list[str]:
        """Return a row of the table."""
        usual = sorted(self.seconds)[len(self.seconds) // 2]
        return [
            str(len(BLOCKS[pipeline_uuid])),
            str(interval),
            str(len(self.seconds)),
            str(len(self.seconds) - len(self.red)),
            f"{usual:.1f}",
            str(len(self.waits)),
            str(self.found),
            f"{max(self.waits):.0f}" if self.waits else "",
            str(self.twice_when_found),
            str(self.twice_otherwise),
            str(self.left),
        ]


def measure(pipeline_uuid: str, interval: int, runs: int) -> Outcome:
    """
    Run the tasks, on a server of their own.

    :param pipeline_uuid: The pipeline that they run.
    :param interval: Seconds between two rounds of Mage's scheduler.
    :param runs: How many tasks.
    :return: What has become of them.
    """
    from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

    outcome = Outcome()
    with MageServer(overlays=[PROJECT], keep_worker_pool=False, scheduler_interval=interval) as mage:
        conn_id = add_connection("lost_jobs", mage, mage.url, oauth_token=mage.session_tokens()[0])
        messages = Messages()
        for number in range(runs):
            journal = mage.directory / f"journal_{number}"
            options = {
                "task_id": "task",
                "mage_conn_id": conn_id,
                "pipeline_uuid": pipeline_uuid,
                "variables": {"journal": str(journal)},
                "deferrable": bool(number % 2),
            }
            messages.lines.clear()
            started = time.monotonic()
            try:
                TaskInstance(lambda o=options: MageTriggerPipelineOperator(**o), f"run_{number}").run()
            except Exception as error:  # noqa: BLE001  whatever it is, it is counted
                outcome.red.append(repr(error))
            outcome.seconds.append(time.monotonic() - started)
            executed = journal.read_text().split() if journal.exists() else []
            again = len(executed) - len(set(executed))
            if messages.count(FOUND):
                outcome.twice_when_found += again
            else:
                outcome.twice_otherwise += again
            if list(dict.fromkeys(executed)) != BLOCKS[pipeline_uuid]:
                outcome.red.append(f"run {number + 1}: executed were {executed}")
            outcome.waits += messages.waits()
            outcome.found += messages.count(FOUND)
        schedules = mage.request("GET", f"/pipelines/{pipeline_uuid}/pipeline_schedules")
        outcome.left = len(schedules["pipeline_schedules"]) - 1 + len(mage.runs(pipeline_uuid)) - runs
    return outcome


HEAD = (
    "blocks",
    "scheduler interval, s",
    "tasks",
    "green",
    "a task usually lasts, s",
    "jobs lost",
    "found",
    "longest wait for one, s",
    "blocks executed twice, of runs with a found job",
    "of others",
    "left in Mage",
)


def main() -> None:
    """Measure, and write the section."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=300)
    arguments.add_argument("--longer-runs", type=int, default=30, help="of three blocks: more are lost")
    arguments.add_argument("--slow-runs", type=int, default=20, help="with Mage's own interval of 10 s")
    arguments.add_argument("--no-report", action="store_true", help="leave docs/benchmarks.md as it is")
    options = arguments.parse_args()
    cases = {
        ("one_block", 1): options.runs,
        ("three_blocks", 1): options.longer_runs,
        ("one_block", 10): options.slow_runs,
    }
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        outcomes = {case: measure(*case, runs) for case, runs in cases.items() if runs}
    text = table(HEAD, [outcome.row(*case) for case, outcome in outcomes.items()])
    print(text, *(line for outcome in outcomes.values() for line in outcome.red), sep="\n")
    if not options.no_report:
        write_section("lost-jobs", text)
    sys.exit(0 if all(outcome.is_good for outcome in outcomes.values()) else 1)


if __name__ == "__main__":
    main()
