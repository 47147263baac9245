"""
Many tasks wait in one real triggerer, which is killed half-way.

Their Mage runs cost nothing but their rows, so that the waiting is what is tested: the schedule's limit keeps
them ``initial``, and Mage's scheduler completes a run that is told to repeat its blocks before it has any.
"""

from __future__ import annotations

import logging
import time

import pytest
from e2e.conftest import WAITING_TASKS

from fakes.mage import FakeMage
from isolation import wait_until

DAG_ID = "many_waiting"
COUNT = WAITING_TASKS
"""Each costs a small machine two starts of a process, a second or so each (make e2e WAITING_TASKS=200)."""

PATIENCE = 300 + 12 * COUNT
ROUNDS = 10

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


@pytest.mark.timeout(4 * PATIENCE)
def test_a_round_costs_the_same_however_many_blocks_are_waited_for(airflow):
    """Here Mage is the simulated one: a real one of a small machine cannot run 200 blocks at once."""
    groups = 4
    names = [f"block_{number}" for number in range(COUNT // groups)]
    with FakeMage(polls_to_finish=None) as mage:
        for number in range(groups):
            mage.pipeline(f"wide_{number}", names, upstream=dict.fromkeys(names, ()))
        airflow.add_connection(
            "mage_of_many_blocks", "mage", host=mage.url, login=mage.email, password=mage.password
        )
        run_id = airflow.trigger_dag("many_blocks")

        def waiting():
            return airflow.count_states("many_blocks", run_id, "group_%.block_%")["deferred"]

        def feeds():
            return [number for number, request in enumerate(mage.requests) if is_feed(request)]

        wait_until(
            lambda: waiting() == len(names) * groups,
            what=f"{COUNT} blocks' tasks that wait",
            timeout=PATIENCE,
            interval=1.0,
        )
        for run in mage.pipeline_runs.values():
            mage.advance(run.id)  # to where its blocks are queued
        settled = len(feeds()) + 2
        wait_until(lambda: len(feeds()) > settled + ROUNDS, what="rounds", timeout=PATIENCE, interval=1.0)
        first, *_, last = feeds()[settled : settled + ROUNDS + 1]
        log.info("%.1f requests a round", (last - first) / ROUNDS)
        assert last - first <= 4 * ROUNDS, [str(request.query) for request in mage.requests[first:last]]

        for run in mage.pipeline_runs.values():
            mage.finish(run.id)
        assert airflow.wait_dag_run("many_blocks", run_id, timeout=PATIENCE) == "success"
        assert len(mage.pipeline_runs) == groups


def is_feed(request):
    """Whether it is the request that each round of the poller has: which runs have ended last?"""
    return request.path.endswith("/pipeline_runs") and "updated_at" in (request.first("order_by[]") or "")
