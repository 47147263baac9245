"""What only a real Mage can prove: restarts, outages, killed tasks, and its own lost jobs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.faults import late_answer, late_request
from fakes.faulty_proxy import FaultyProxy
from fakes.scheduler import TaskInstance, add_connection
from isolation import REPOSITORY, wait_until
from mage_server import MageServer

HERE = Path(__file__).resolve().parent
PROJECT = (HERE.parent / "mage_project", HERE / "mage_project")
MODES = {"sync": False, "deferred": True}
TIMEOUT = 4.0
RUNS_TO_LOSE_ONE = 40


class Task(TaskInstance):
    """
    A task on a real Mage.

    :param url: Where it finds that Mage, or a proxy in front of it.
    """

    def __init__(self, mage, url, name, **options):
        self.mage = mage
        self.options = {
            "task_id": "task",
            # Nobody waits for a log-in of each, which keeps Mage busy for a second.
            "mage_conn_id": add_connection(
                name, mage, url, timeout=TIMEOUT, oauth_token=mage.session_tokens()[0]
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


# A job that Mage loses


def lose_a_job():
    """Start runs of three quick blocks until Mage's worker pool leaves with a job in its queue."""
    with MageServer(overlays=PROJECT, keep_worker_pool=False) as mage, Log() as log:
        for number in range(RUNS_TO_LOSE_ONE):
            journal = mage.directory / f"journal_{number}"
            task = Task(
                mage,
                mage.url,
                f"lose_{number}",
                pipeline_uuid="journal",
                variables={"journal": str(journal)},
                stall_timeout=6,
                timeout=15,
                cancel_on_kill=False,
            )
            log.lines.clear()
            try:
                task.attempt()
            except TimeoutError:
                was_lost = "is queued. Mage says that its scheduler is running. Its worker pool may" in log
                task.options |= {"on_stall": "repair", "timeout": None}
                task.attempt()
                if was_lost:
                    return log.lines, task.statuses, journal.read_text().split()
    return None


@pytest.fixture(scope="module", autouse=True)
def losing_a_job(request):
    """In the background, as it takes a while and leaves the machine idle."""
    with ThreadPoolExecutor() as pool:
        wanted = any(item.name.startswith("test_a_job") for item in request.session.items)
        yield pool.submit(lose_a_job) if wanted else None


# A server that goes away in mid-run


def restart(mage):
    mage.restart()


def die_for_a_minute(mage):
    mage.kill()
    time.sleep(60)
    mage.start()


@pytest.mark.parametrize("accident", [restart, die_for_a_minute])
def test_a_mage_that_goes_away_in_mid_run_is_waited_out(mage, accident):
    tasks = [
        Task(
            mage,
            mage.url,
            f"{accident.__name__}_{mode}",
            pipeline_uuid="sleeper",
            variables={"seconds": 10},
            deferrable=MODES[mode],
        )
        for mode in MODES
    ]
    with ThreadPoolExecutor() as pool:
        ends = [pool.submit(task.run) for task in tasks]
        for task in tasks:
            wait_until(lambda task=task: "running" in task.statuses, what="Mage run", timeout=60)
        accident(mage)
        for end in ends:
            end.result(timeout=200)
    for task in tasks:
        assert task.statuses == ["completed"]
        assert not task.errors


# A task whose process is killed

ATTEMPT = """
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.scheduler import TaskInstance

TaskInstance(lambda: MageTriggerPipelineOperator(**{options!r}), {run_id!r}).attempt()
"""


def start_process(task):
    """Begin a first attempt in a process of its own."""
    paths = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY / "dev")])
    code = ATTEMPT.format(options=task.options, run_id=task.run_id)
    env = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen([sys.executable, "-c", code], env=env)  # noqa: S603  it is our own code


@pytest.mark.parametrize(
    ("fault", "seconds", "statuses"),
    [
        pytest.param(late_answer(60), 2 * TIMEOUT, ["completed"], id="it had arrived"),
        pytest.param(
            late_request(3 * TIMEOUT),
            5 * TIMEOUT,
            ["completed", "cancelled"],
            id="it arrives after the retry",
        ),
    ],
)
def test_a_task_that_is_killed_while_it_asks_for_a_run_has_one_run(mage, fault, seconds, statuses):
    with FaultyProxy(mage.url) as proxy, Log() as log:
        task = Task(
            mage,
            proxy.root,
            f"killed_{len(statuses)}",
            pipeline_uuid="sleeper",
            variables={"seconds": seconds},
        )
        proxy.inject(fault, match=("POST", "/pipeline_runs$"))
        process = start_process(task)
        wait_until(lambda: proxy.count("POST", "/pipeline_runs$"), what="request for a run", timeout=120)
        if len(statuses) == 1:
            wait_until(lambda: task.statuses, what="Mage run", timeout=30)
        process.kill()
        process.wait()
        task.try_number = 1
        task.attempt()
    assert task.statuses == statuses
    assert len({run["variables"]["airflow"]["run_key"] for run in task.runs}) == 1
    assert ("Reattached to run" in log) == (len(statuses) == 1)


def test_a_job_that_mage_has_lost_is_reported_and_found_again(losing_a_job):
    outcome = losing_a_job.result()
    if outcome is None:
        pytest.skip(f"Mage has lost no job of {RUNS_TO_LOSE_ONE} runs")
    log, statuses, blocks = outcome
    assert any("Reattached to run" in line for line in log)
    assert any("which wakes its worker pool" in line for line in log)
    assert statuses == ["completed"]
    assert blocks == ["first", "middle", "last"]
