"""
Many tasks wait in one real triggerer, which is killed half-way.

Their Mage runs cost nothing but their rows, so that the waiting is what is tested: the schedule's limit keeps
them ``initial``, and Mage's scheduler completes a run that is told to repeat its blocks before it has any.
"""

from __future__ import annotations

import logging
import os
import time

import pytest

from isolation import wait_until

DAG_ID = "many_waiting"
COUNT = int(os.environ.get("WAITING_TASKS", "20"))
"""Each costs a small machine two starts of a process, a second or so each (make e2e WAITING_TASKS=200)."""

PATIENCE = 300 + 12 * COUNT

log = logging.getLogger(__name__)


def complete(mage, runs):
    for run in runs:
        mage.request(
            "PUT", f"/pipeline_runs/{run['id']}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}}
        )


def wait_for(airflow, run_id, state, count):
    """Wait until so many of the tasks are in a state, and return the seconds that it took."""
    began = time.monotonic()

    def is_so():
        states = airflow.count_states(DAG_ID, run_id, "wait")
        assert not states["failed"], states
        return states[state] >= count

    wait_until(is_so, what=f"{count} tasks that are {state}", timeout=PATIENCE, interval=1.0)
    return time.monotonic() - began


@pytest.mark.timeout(4 * PATIENCE)
def test_every_task_is_green_with_one_run_although_the_triggerer_was_killed(airflow, mage):
    schedule = {
        "name": "held back",
        "schedule_type": "api",
        "status": "active",
        "settings": {"pipeline_run_limit": 0},
    }
    answer = mage.request("POST", "/pipelines/sleeper/pipeline_schedules", {"pipeline_schedule": schedule})
    schedule_id = answer["pipeline_schedule"]["id"]

    def runs():
        return [run for run in mage.runs("sleeper") if run["pipeline_schedule_id"] == schedule_id]

    run_id = airflow.trigger_dag(DAG_ID, conf={"count": COUNT})
    log.info("%s tasks: all wait after %.0f s", COUNT, wait_for(airflow, run_id, "deferred", COUNT))
    started = sorted(runs(), key=lambda run: run["id"])
    assert [run["status"] for run in started] == ["initial"] * COUNT

    complete(mage, started[: COUNT // 2])
    log.info("a quarter is green after %.0f s", wait_for(airflow, run_id, "success", COUNT // 4))
    airflow.restart_component("triggerer", kill=True)
    log.info("killed at %s", dict(airflow.count_states(DAG_ID, run_id, "wait")))
    complete(mage, started[COUNT // 2 :])
    log.info("all are green after %.0f s", wait_for(airflow, run_id, "success", COUNT))

    ended = runs()
    assert [run["status"] for run in ended] == ["completed"] * COUNT
    assert sorted(run["variables"]["number"] for run in ended) == list(range(COUNT))
    assert len({run["variables"]["airflow"]["run_key"] for run in ended}) == COUNT
    assert {run["variables"]["airflow"]["try_number"] for run in ended} == {1}
