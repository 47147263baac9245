"""
No run is missed by those who wait for it, whatever the list of ended runs leaves out or makes up.

The random histories of tests/unit/test_poller.py, in real time. Between the triggers and Mage stands a proxy
that makes the feed lie, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger
from fakes.faults import Answer, Fault
from fakes.faulty_proxy import FaultyProxy
from fakes.scheduler import add_connection

OVER = ("completed", "failed", "cancelled")
STEPS = ("completed", "failed", "cancelled", "repaired", "deleted", "schedule deleted")
RUNS = 12
POLL_INTERVAL = 0.3
TOLD_WITHIN = 200.0
QUIET_FOR = 20 * POLL_INTERVAL


class Run:
    """A run, what happens to it, and which events are right for whoever waits for it meanwhile."""

    def __init__(self, wire, *, fails):
        self.wire = wire
        self.fails = fails
        self.schedule_id = wire.schedule("broken_orders" if fails else "daily_orders", status="inactive")
        self.id = wire.run(self.schedule_id)
        self.right = set()

    @property
    def status(self):
        answer = self.wire.get(f"/pipeline_runs/{self.id}?_format=with_basic_details").json()
        return answer["pipeline_run"]["status"] if "pipeline_run" in answer else "deleted"

    def live_through(self, history):
        for step in history:
            status = self.status
            if status == "deleted":
                return
            if step == "deleted":
                self.wire.send("DELETE", f"/pipeline_runs/{self.id}")
                self.right.add("error")
            elif step == "schedule deleted":
                self.wire.send("DELETE", f"/pipeline_schedules/{self.schedule_id}")
            elif step == "cancelled" and status not in OVER:
                self._change({"status": "cancelled"})
            elif (step == "completed" and status not in OVER) or (
                step == "repaired" and status in ("failed", "cancelled")
            ):
                # Without blocks a run completes at once; with them, it does again what it did before.
                self._change({"pipeline_run_action": "retry_blocks"})
            elif step == "failed" and self.fails and status not in OVER:
                self.wire.put(
                    f"/pipeline_schedules/{self.schedule_id}", {"pipeline_schedule": {"status": "active"}}
                )
                self._end()

    def _change(self, change):
        self.wire.put(f"/pipeline_runs/{self.id}", {"pipeline_run": change})
        self._end()

    def _end(self):
        self.wire.wait_for(self.id, *OVER)
        self.right.add("over")


def lying(left_out, made_up):
    """Make the feed leave some runs out and call others completed; every other answer stays as it is."""

    def lie(request, answer):
        if "completed" not in (request.first("status[]") or ""):
            return answer
        data = json.loads(answer.body)
        rows = [row for row in data["pipeline_runs"] if row["id"] not in left_out]
        rows += [{"id": run_id, "status": "completed", "execution_date": None} for run_id in made_up]
        return Answer.of({**data, "pipeline_runs": rows})

    return Fault("lie", is_processed=True, change=lie)


async def events_of(conn_id, run):
    trigger = MagePipelineRunTrigger(conn_id, run.id, POLL_INTERVAL)
    return [event.payload async for event in trigger.run()]


async def wait_for_all(conn_id, histories):
    """Let every run live through its history while a trigger waits for it, and return what each was told."""
    waiting = {run: asyncio.create_task(events_of(conn_id, run)) for run in histories}
    await asyncio.sleep(5 * POLL_INTERVAL)
    with ThreadPoolExecutor(4) as hands:
        loop = asyncio.get_running_loop()
        lives = [loop.run_in_executor(hands, run.live_through, history) for run, history in histories.items()]
        await asyncio.gather(*lives)
    await asyncio.wait([waiting[run] for run in histories if run.right], timeout=TOLD_WITHIN)
    await asyncio.sleep(QUIET_FOR)
    told = {run: task.result() for run, task in waiting.items() if task.done()}
    for task in waiting.values():
        task.cancel()
    await asyncio.gather(*waiting.values(), return_exceptions=True)
    return told


@pytest.mark.parametrize("seed", [1, 2])
def test_each_trigger_sends_its_one_right_event_although_the_feed_lies(mage, wire, seed):
    dice = random.Random(seed)  # noqa: S311  chance, not a secret
    # The last one's id would be given to the next run, were it deleted.
    runs = [Run(wire, fails=number % 4 == 0) for number in range(RUNS + 1)][:RUNS]
    histories = {
        run: ["failed"] * run.fails + dice.choices(STEPS, k=dice.choice([0, 1, 2, 3, 4])) for run in runs
    }
    left_out, made_up = ({run.id for run in runs if dice.random() < 1 / 3} for _ in range(2))

    with FaultyProxy(mage.url) as proxy:
        proxy.inject(lying(left_out, made_up), times=None, match=("GET", r"/pipeline_runs$"))
        conn_id = add_connection(
            f"mage_{seed}", mage.server, proxy.root, oauth_token=wire.headers["OAUTH-TOKEN"]
        )
        told = asyncio.run(wait_for_all(conn_id, histories))

    assert {run.id for run in told} == {run.id for run in runs if run.right}
    for run, events in told.items():
        [event] = events
        error = event.get("error")
        assert ("error" if error == "MageNotFoundError" else "over") in run.right, (histories[run], event)
        assert error in (None, "MageNotFoundError", "MagePipelineRunFailed")
