"""Triggers share a process with those of others: what goes wrong with one server concerns nobody else."""

import asyncio
import json
import logging
import sys
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_mage import _compat
from airflow_provider_mage._runs.identity import Claim, RunIdentity
from airflow_provider_mage.triggers import threads
from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger
from fakes import faults
from fakes.mage import FakeMage
from fakes.scheduler import first_event

HUNG = 12
A_TASK = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, task=None)
A_LONG_TIME = 600


def waiting_run(mage):
    mage.example_pipelines()
    return mage.pipeline_run(mage.pipeline_schedule("daily_orders"))


def test_servers_that_accept_and_never_answer_hold_up_nobody_else(mage, connect):
    """Neither the end of another server's run, nor a look-up of a name, for which the loop needs a thread."""
    with ExitStack() as stack:
        hung = [stack.enter_context(FakeMage(polls_to_finish=None)) for _ in range(HUNG)]
        triggers = []
        for server in hung:
            run = waiting_run(server)
            server.inject(faults.late_answer(A_LONG_TIME), times=None)
            conn_id = connect(
                host=server.url, login=server.email, password=server.password, extra='{"timeout": 600}'
            )
            triggers.append(MagePipelineRunTrigger(conn_id, run.id, 1.0))
        run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
        healthy = MagePipelineRunTrigger(connect(), run.id, 1.0)

        async def scenario():
            waits = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
            end = asyncio.create_task(first_event(healthy))
            while not all(server.count() for server in hung):  # noqa: ASYNC110  they are other threads
                await asyncio.sleep(0.01)
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            mage.finish(run.id)
            event = await end
            are_still_hung = not any(wait.done() for wait in waits)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            stack.close()  # lets the threads end
            return event, are_still_hung

        event, are_still_hung = asyncio.run(scenario())
    assert (event["pipeline_run_id"], event["status"]) == (run.id, "completed")
    assert are_still_hung
    assert not threads._in_use


def test_threads_of_a_connection_are_few_and_go_with_the_last_who_needs_them():
    names, started = set(), threading.Barrier(threads.THREADS + 1)

    def note():
        names.add(threading.current_thread().name)
        started.wait(60)

    async def scenario():
        with threads.threads_of("some_conn") as call, threads.threads_of("some_conn") as same:
            calls = [asyncio.create_task(one(note)) for one in (call, same) * (threads.THREADS // 2)]
            await asyncio.to_thread(started.wait, 60)
            await asyncio.gather(*calls)

    asyncio.run(scenario())
    assert len(names) == threads.THREADS
    assert all(name.startswith("mage some_conn") for name in names)
    assert not threads._in_use


@pytest.fixture
def state(monkeypatch):
    """What Airflow says of the task: whether it is deferred."""
    state = SimpleNamespace(is_deferred=True, asked=[])

    def answer(task_instance, xcom):
        state.asked.append(xcom)
        if isinstance(state.is_deferred, Exception):
            raise state.is_deferred
        return state.is_deferred

    monkeypatch.setattr(_compat, "_is_deferred", answer)
    return state


@pytest.mark.parametrize(
    ("is_deferred", "status"), [(False, "cancelled"), (True, "initial"), (OSError("no answer"), "initial")]
)
def test_run_is_cancelled_only_if_its_task_is_no_longer_deferred(
    mage, connect, state, caplog, capfd, is_deferred, status
):
    """A triggerer that was late and has lost its triggers to another one is told to kill them, too."""
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    trigger = MagePipelineRunTrigger(connect(), run.id)
    trigger.task_instance = A_TASK
    state.is_deferred = is_deferred
    caplog.set_level(logging.INFO)

    asyncio.run(trigger.on_kill())

    assert mage.pipeline_runs[run.id].status == status
    says = f"This task was killed; run {run.id} was cancelled."
    # Airflow 3 logs with structlog, which prints here.
    assert (says in caplog.text + capfd.readouterr().out) == (status == "cancelled")
    assert state.asked == [{"pipeline_run_id": run.id}]


def test_run_that_was_cancelled_as_somebody_acted_on_its_task_is_said_to_be(mage, connect, state):
    """Airflow 3.3 tells a trigger so first, and then ends it: in between, it may see the end of its run."""
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    trigger = MagePipelineRunTrigger(connect(), run.id, 0.1)
    trigger.task_instance, state.is_deferred = A_TASK, False

    async def scenario():
        await trigger.on_kill()
        return [event.payload async for event in trigger.run()]

    [event] = asyncio.run(scenario())
    assert "This task was killed, so its run was cancelled." in event["message"]


def test_nobody_waits_in_a_dag_run_that_was_deleted(monkeypatch):
    runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")
    monkeypatch.setattr(runner.RuntimeTaskInstance, "get_task_states", staticmethod(lambda **_: {}))

    assert not _compat._is_deferred(A_TASK, {})


def test_run_of_another_task_under_the_same_id_is_not_cancelled(mage, connect, state):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"), airflow={"run_key": "another"})
    claim = Claim(RunIdentity("key", "nonce", 1)).to_dict()
    trigger = MagePipelineRunTrigger(connect(), run.id, claim=claim)
    trigger.task_instance = A_TASK
    state.is_deferred = False

    asyncio.run(trigger.on_kill())

    assert mage.pipeline_runs[run.id].status == "initial"


def test_trigger_that_another_version_has_stored_waits_on(mage, connect):
    """Version 0.1.0 had other options; a later one may have more."""
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    mage.finish(run.id)
    trigger = MagePipelineRunTrigger(connect(), run.id, 5.0, of_another=1, stall_timeout=7.0)

    assert trigger.rules.stall_timeout == 7.0
    event = asyncio.run(first_event(trigger))
    assert (event["pipeline_run_id"], event["status"]) == (run.id, "completed")


@pytest.fixture
def xcoms(monkeypatch):
    """What a triggerer reads and stores for the waiting task."""
    stored = {}

    class XCom:
        @staticmethod
        def get_one(*, key, **where):
            assert where == {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
            return stored.get(key)

        @staticmethod
        def set(*, key, value, **where):
            assert where["task_id"] == "t"
            stored[key] = json.loads(json.dumps(value))

    monkeypatch.setattr(_compat, "_xcom_class", lambda: XCom)
    return stored


def test_triggerer_that_is_started_again_tells_no_line_twice(mage, connect, xcoms, caplog):
    caplog.set_level(logging.INFO)
    mage.pipeline("chatty", ["load"])
    run = mage.pipeline_run(mage.pipeline_schedule("chatty"))
    mage.advance(run.id, 3)
    mage.project.print(run.block_runs[0], *map(str, range(300)))
    conn_id = connect()

    def trigger():
        one = MagePipelineRunTrigger(conn_id, run.id, 0.1, stream_logs=True)
        one.task_instance = A_TASK
        return one

    first = trigger()

    async def die():
        events = first.run()
        wait = asyncio.create_task(anext_of(events))
        while xcoms.get("mage_log_cursor", {}).get("told") != 300:
            await asyncio.sleep(0.01)
            assert not wait.done(), wait
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)

    asyncio.run(die())
    mage.project.print(run.block_runs[0], "the last")
    mage.finish(run.id)
    xcoms["mage_log_cursor"]["asked_at"] = []  # a minute later

    async def live():
        return await anext_of(trigger().run())

    assert asyncio.run(live()).payload["status"] == "completed"
    told = [message for message in caplog.messages if message.startswith("[load]")]
    assert told == [*(f"[load] {number}" for number in range(300)), "[load] the last"]


async def anext_of(events):
    async for event in events:
        return event
    raise AssertionError("no event")


def test_triggerer_that_reaches_no_xcom_streams_all_the_same(mage, connect, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    mage.pipeline("chatty", ["load"], prints={"load": ["a"]})
    run = mage.pipeline_run(mage.pipeline_schedule("chatty"))
    mage.finish(run.id)
    trigger = MagePipelineRunTrigger(connect(), run.id, 0.1, stream_logs=True)
    trigger.task_instance = A_TASK
    monkeypatch.setattr(_compat, "_xcom_class", lambda: None)

    assert asyncio.run(anext_of(trigger.run())).payload["status"] == "completed"
    assert "[load] a" in caplog.messages


def test_threads_may_ask_airflow_where_it_answers_in_the_loop_only(monkeypatch):
    """As on Airflow 3.1, whose whole triggerer ends when two event loops wait for its lock."""

    class Decoder:
        def __init__(self):
            self.lock = asyncio.Lock()

        async def asend(self):
            async with self.lock:
                await asyncio.sleep(0.002)
                return threading.get_ident()

        def send(self):
            return async_to_sync(self.asend)()

    monkeypatch.setitem(
        sys.modules, "airflow.jobs.triggerer_job_runner", SimpleNamespace(TriggerCommsDecoder=Decoder)
    )

    async def scenario():
        decoder = Decoder()
        with threads.threads_of("airflow") as call:
            asked = [call(decoder.send) for _ in range(20)] + [decoder.asend() for _ in range(20)]
            return await asyncio.gather(*asked)

    assert set(asyncio.run(scenario())) == {threading.get_ident()}
