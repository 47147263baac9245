"""What only a real Mage can prove: restarts, outages, killed tasks, and its own lost jobs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from faults import TIMEOUT, TimedProxy

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.faults import late_answer, late_request
from fakes.scheduler import TaskInstance, add_connection
from isolation import REPOSITORY, wait_until
from mage_server import MageServer

HERE = Path(__file__).resolve().parent
PROJECT = (HERE.parent / "mage_project", HERE / "mage_project")
MODES = {"sync": False, "deferred": True}
PATIENT = 60.0
"""Seconds that a request may take where no time-out is waited for: no busy machine makes it longer."""

ENOUGH = 900.0
"""Seconds that are waited for something, however busy the machine is."""

RUNS_TO_LOSE_ONE = 40

pytestmark = pytest.mark.timeout(3600)  # the first waits for all cases, of both modules


class Task(TaskInstance):
    """
    A task on a real Mage.

    :param url: Where it finds that Mage, or a proxy in front of it.
    :param request_timeout: Seconds that a request may take.
    """

    def __init__(self, mage, url, name, request_timeout=PATIENT, **options):
        self.mage = mage
        self.options = {
            "task_id": "task",
            # Nobody waits for a log-in of each, which keeps Mage busy for a second.
            "mage_conn_id": add_connection(
                name, mage, url, timeout=request_timeout, oauth_token=mage.session_tokens()[0]
            ),
            "poll_interval": 1,
            **options,
        }
        super().__init__(lambda: MageTriggerPipelineOperator(**self.options), name)

    @property
    def runs(self):
        """Its runs on Mage, the oldest first."""
        runs = self.mage.stored_runs()
        return [run for run in runs if run["variables"].get("airflow", {}).get("run_id") == self.run_id]

    @property
    def statuses(self):
        return [run["status"] for run in self.runs]


class Log(logging.Handler):
    """What the package logs in the thread that made this."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self._thread = threading.get_ident()

    def emit(self, record):
        if record.thread == self._thread:
            self.lines.append(record.getMessage())

    def __enter__(self):
        logger = logging.getLogger("airflow_provider_mage")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_):
        logging.getLogger("airflow_provider_mage").removeHandler(self)

    def __contains__(self, text):
        return any(text in line for line in self.lines)


@dataclass(frozen=True)
class Outcome:
    """
    What became of a case.

    :param slowest: The most seconds that Mage took to answer; 0 where nothing depends on that.
    """

    statuses: list[str]
    errors: list[Exception] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    run_keys: set[str] = field(default_factory=set)
    slowest: float = 0.0


class Case:
    """A case in which nothing depends on time-outs."""

    pool = ""
    needs_mage = False
    length = 0.0
    timeout = PATIENT

    def at(self, _):
        return self


# A server that goes away in mid-run


def restart(mage):
    mage.restart()


def die_for_a_minute(mage):
    mage.kill()
    time.sleep(60)
    mage.start()


@dataclass(frozen=True)
class Accident(Case):
    """Two tasks, which wait in a worker and in a triggerer, on a Mage of their own."""

    happen: Callable[[MageServer], None]

    pool = "accidents"

    def __str__(self):
        return self.happen.__name__

    def play(self, _):
        with MageServer(overlays=PROJECT) as mage:
            tasks = [
                Task(
                    mage,
                    mage.url,
                    f"{self}_{mode}",
                    pipeline_uuid="sleeper",
                    variables={"seconds": 10},
                    deferrable=MODES[mode],
                )
                for mode in MODES
            ]
            with ThreadPoolExecutor() as pool:
                ends = [pool.submit(task.run) for task in tasks]
                for task in tasks:
                    wait_until(lambda task=task: "running" in task.statuses, what="Mage run", timeout=ENOUGH)
                self.happen(mage)
                for end in ends:
                    end.result(timeout=ENOUGH)
            return Outcome(
                [status for task in tasks for status in task.statuses],
                [error for task in tasks for error in task.errors],
            )

    def check(self, outcome):
        assert outcome.statuses == ["completed", "completed"]
        assert not outcome.errors


@pytest.mark.parametrize("case", [Accident(restart), Accident(die_for_a_minute)], ids=str)
def test_a_mage_that_goes_away_in_mid_run_is_waited_out(outcomes, case):
    case_at_pace, outcome = outcomes[case].result()
    case_at_pace.check(outcome)


# A task whose process is killed

ATTEMPT = """
from datetime import datetime

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.scheduler import TaskInstance

make_operator = lambda: MageTriggerPipelineOperator(**{options!r})
started_at = datetime.fromisoformat({started_at!r})
TaskInstance(make_operator, {run_id!r}, started_at).attempt()
"""


def start_process(task):
    """Begin a first attempt in a process of its own."""
    code = ATTEMPT.format(options=task.options, run_id=task.run_id, started_at=task.started_at.isoformat())
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "dev")}
    return subprocess.Popen([sys.executable, "-c", code], env=env)  # noqa: S603  it is our own code


@dataclass(frozen=True)
class Kill(Case):
    """
    A task that is killed while it asks for a run, and tried again.

    :param has_arrived: Whether the request has reached Mage by then. If not, it does after the retry's own.
    """

    has_arrived: bool
    pace: int = 1

    pool = "real"
    needs_mage = True
    length = 100.0

    def __str__(self):
        return "it had arrived" if self.has_arrived else "it arrives after the retry"

    def at(self, pace):
        return replace(self, pace=pace)

    @property
    def timeout(self):
        return self.pace * TIMEOUT

    def play(self, mage):
        if self.has_arrived:
            # The run is to be still active when the retry finds it, some requests later.
            fault, seconds = late_answer(600), 5 * self.timeout
        else:
            # Late enough for the retry to be first; and of the run that it then starts the end must not come
            # before the retry has looked for the last time, seven time-outs after its own.
            fault, seconds = late_request(3 * self.timeout), 5 * self.timeout
        with TimedProxy(mage.url) as proxy, Log() as log:
            task = Task(
                mage,
                proxy.root,
                f"killed_{self.has_arrived}_{self.pace}",
                self.timeout,
                pipeline_uuid="sleeper",
                variables={"seconds": seconds},
            )
            proxy.inject(fault, match=("POST", "/pipeline_runs$"))
            process = start_process(task)
            wait_until(
                lambda: proxy.count("POST", "/pipeline_runs$"), what="request for a run", timeout=ENOUGH
            )
            if self.has_arrived:
                wait_until(lambda: task.statuses, what="Mage run", timeout=ENOUGH)
            process.kill()
            process.wait()
            task.try_number = 1
            task.attempt()
        keys = {run["variables"]["airflow"]["run_key"] for run in task.runs}
        return Outcome(task.statuses, log=log.lines, run_keys=keys, slowest=proxy.slowest)

    def check(self, outcome):
        assert outcome.statuses == (["completed"] if self.has_arrived else ["completed", "cancelled"])
        assert len(outcome.run_keys) == 1
        assert any("Reattached to run" in line for line in outcome.log) == self.has_arrived


@pytest.mark.parametrize("case", [Kill(has_arrived=True), Kill(has_arrived=False)], ids=str)
def test_a_task_that_is_killed_while_it_asks_for_a_run_has_one_run(outcomes, case):
    case_at_pace, outcome = outcomes[case].result()
    case_at_pace.check(outcome)


# A job that Mage loses

SAYS_IT_IS_LOST = "Mage has lost a job"


@dataclass(frozen=True)
class LostJob(Case):
    """Runs of three quick blocks, until Mage's worker pool leaves with a job in its queue: nobody helps."""

    pool = "lost job"

    def __str__(self):
        return "lost job"

    def play(self, _):
        with MageServer(overlays=PROJECT, keep_worker_pool=False) as mage, Log() as log:
            for number in range(RUNS_TO_LOSE_ONE):
                journal = mage.directory / f"journal_{number}"
                task = Task(
                    mage,
                    mage.url,
                    f"lose_{number}",
                    pipeline_uuid="journal",
                    variables={"journal": str(journal)},
                )
                log.lines.clear()
                task.attempt()
                if SAYS_IT_IS_LOST in log:
                    return Outcome(task.statuses, log=log.lines, blocks=journal.read_text().split())
        return None

    def check(self, outcome):
        if outcome is None:
            return
        assert any("Made Mage look into its queue" in line for line in outcome.log)
        assert outcome.statuses == ["completed"]
        assert outcome.blocks == ["first", "middle", "last"]


@pytest.mark.parametrize("case", [LostJob()], ids=str)
def test_a_job_that_mage_has_lost_is_found_again_without_help(outcomes, case):
    case_at_pace, outcome = outcomes[case].result()
    if outcome is None:
        pytest.skip(f"Mage has lost no job of {RUNS_TO_LOSE_ONE} runs")
    case_at_pace.check(outcome)
