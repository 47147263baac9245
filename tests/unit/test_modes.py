"""Every way to wait for a run means the same: results, errors, XComs, log lines, skips, cancelling."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
)

from airflow_provider_mage._runs import watch
from airflow_provider_mage.api.errors import (
    MageError,
    MageNotFoundError,
    MagePipelineRunFailed,
    MageTransportError,
    StalledError,
)
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes import faults
from fakes.faulty_proxy import FaultyProxy
from fakes.mage import FakeMage
from fakes.scheduler import TaskInstance

SOON = 0.05
LOOKS_FOR_DUPLICATES = ("GET", r"/pipeline_schedules/\d+/pipeline_runs$")
OPERATOR_MODES = {"sync": {"deferrable": False}, "deferred": {"deferrable": True}}
SENSOR_MODES = {
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}


@pytest.fixture(autouse=True)
def time_passes_when_somebody_sleeps(monkeypatch):
    """Whoever sleeps in a thread finds his time gone at once; what waits in an event loop does wait."""
    slept = 0.0

    def sleep(seconds):
        nonlocal slept
        slept += seconds

    def later(clock):
        return lambda: clock() + slept

    monkeypatch.setattr(time, "sleep", sleep)
    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, later(getattr(time, name)))


@pytest.fixture
def mage():
    """A Mage server whose runs are over at the third look."""
    with FakeMage(polls_to_finish=3) as server:
        server.example_pipelines()
        yield server


@pytest.fixture(params=OPERATOR_MODES)
def operate(request, connect):
    """Make a task of the operator, in each mode."""
    conn_id = connect(extra='{"timeout": 2}')

    def make(**arguments):
        arguments = {"mage_conn_id": conn_id, "poll_interval": SOON, **arguments}
        arguments = {"pipeline_uuid": "daily_orders", **OPERATOR_MODES[request.param], **arguments}
        return TaskInstance(lambda: MageTriggerPipelineOperator(task_id="run", **arguments))

    return make


@pytest.fixture(params=SENSOR_MODES)
def sense(request, connect, monkeypatch):
    """Make a task of the sensor, in each mode."""
    conn_id = connect(extra='{"timeout": 2}')

    def make(pipeline_run_id, **arguments):
        arguments = {"poke_interval": SOON, "timeout": 20, **arguments}
        task = TaskInstance(
            lambda: MagePipelineRunSensor(
                pipeline_run_id=pipeline_run_id,
                task_id="wait",
                **SENSOR_MODES[request.param],
                **{"mage_conn_id": conn_id, **arguments},
            )
        )
        # Airflow 2 asks its database where Airflow 3 asks the task instance.
        monkeypatch.setattr(
            f"{BaseSensorOperator.__module__}._orig_start_date",
            lambda **_: task.first_reschedule_date,
            raising=False,
        )
        return task

    return make


def the_run(mage):
    (run,) = mage.pipeline_runs.values()
    return run


# The operator


def test_an_odd_neighbour_of_the_run_changes_nothing(mage, operate, edited):
    """It is on the list that is searched after a start whose answer was lost, and again before a retry."""
    odd = edited(lambda answer: answer["pipeline_runs"].append({"id": None, "status": "running"}))
    mage.inject(odd, times=None, match=LOOKS_FOR_DUPLICATES)
    mage.inject(faults.CLOSE_AFTER, match=("POST", r"/pipeline_runs$"))

    assert operate().run() == the_run(mage).id


def test_a_look_for_duplicates_that_goes_wrong_does_not_cost_the_run(mage, operate):
    fault = faults.crash()
    mage.inject(fault, match=LOOKS_FOR_DUPLICATES)
    task = operate()

    run_id = task.run()

    assert [(run.id, run.status) for run in mage.pipeline_runs.values()] == [(run_id, "completed")]
    assert not task.errors
    assert fault.name in [request.fault for request in mage.requests]


@pytest.mark.parametrize("is_processed", [False, True])
@pytest.mark.parametrize("trouble", [faults.database_locked, faults.database_away])
def test_a_start_that_the_database_interrupts_makes_one_run(mage, operate, trouble, is_processed):
    mage.inject(trouble(is_processed=is_processed), match=("POST", "/pipeline_runs$"))
    task = operate()

    run_id = task.run()

    assert [(run.id, run.status) for run in mage.pipeline_runs.values()] == [(run_id, "completed")]
    assert not task.errors
    assert mage.count("POST", "/pipeline_runs$") == (1 if is_processed else 2)


def test_a_completed_run_is_green(mage, operate, caplog, capfd):
    caplog.set_level(logging.INFO)
    task = operate()
    run_id = task.run()
    assert run_id == the_run(mage).id
    assert task.xcoms == {
        "pipeline_run_id": run_id,
        "pipeline_run_url": f"{mage.url}/pipelines/daily_orders/runs/{run_id}",
        "mage_pipeline_url": f"{mage.url}/pipelines/daily_orders/triggers",
    }
    # What a task logs itself is captured on Airflow 2 and printed on Airflow 3.
    assert "Run 1 of pipeline daily_orders completed after " in caplog.text + capfd.readouterr().out
    for number, block in enumerate(("load_orders", "clean_orders", "export_totals"), 1):
        [line] = [message for message in caplog.messages if message.startswith(f"{block} completed in ")]
        assert line.endswith(f" s ({number} of 3 blocks)")


def test_a_failed_run_is_red_and_names_the_block_and_its_error(mage, operate):
    with pytest.raises(MagePipelineRunFailed) as caught:
        operate(pipeline_uuid="broken_orders").run()
    assert re.sub(r" after [\d.]+ s\.", "", str(caught.value)).splitlines() == [
        "Run 1 of pipeline broken_orders failed",
        "Block check_orders failed: ValueError: 4 of 40 orders have a negative amount",
        "  at line 10 of its code, in check_orders: raise ValueError(reason)",
        f"See {mage.url}/pipelines/broken_orders/runs/1",
    ]


def test_a_run_that_somebody_cancels_is_red(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.inject(
        edited(lambda data: mage.finish(data["pipeline_run"]["id"], "cancelled")),
        match=("GET", r"/pipeline_runs/\d+$"),
    )
    with pytest.raises(MagePipelineRunFailed, match="cancelled") as caught:
        operate().run()
    assert caught.value.status == "cancelled"


def delete_schedule(mage, run_id):
    mage.finish(run_id)
    mage.project.delete_pipeline_schedule(
        mage.pipeline_schedules[mage.pipeline_runs[run_id].pipeline_schedule_id]
    )


def test_a_run_that_completes_without_its_schedule_is_green(mage, operate, edited):
    """Mage answers with code 500 from then on, unless it is asked for the status alone (observed)."""
    mage.inject(
        edited(lambda data: delete_schedule(mage, data["pipeline_run"]["id"])),
        match=("GET", r"/pipeline_runs/\d+$"),
    )
    assert operate(max_unreachable=0.5).run() == the_run(mage).id


def test_a_deleted_run_is_red(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.inject(
        edited(lambda data: mage.pipeline_runs.pop(data["pipeline_run"]["id"])),
        match=("GET", r"/pipeline_runs/\d+$"),
    )
    with pytest.raises(MageNotFoundError):
        operate().run()


@pytest.mark.parametrize("timeout", [0.3, timedelta(seconds=0.3)])
def test_a_run_that_takes_too_long_is_cancelled(mage, operate, timeout):
    mage.pipeline("daily_orders", polls_to_finish=None)
    with pytest.raises(TimeoutError) as caught:
        operate(timeout=timeout).run()
    assert str(caught.value) == (
        "0.3 s are over; run 1 was cancelled. Last seen: Run 1 of pipeline daily_orders is queued."
    )
    assert the_run(mage).status == "cancelled"


@pytest.mark.parametrize(
    ("options", "fate"),
    [
        ({"cancel_on_kill": False}, "run 1 was left alone, as `cancel_on_kill` says"),
        ({}, "run 1 could not be cancelled, and may still be going on: see the log"),
    ],
)
def test_a_run_that_takes_too_long_and_goes_on_is_not_said_to_be_over(mage, operate, options, fate):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.inject(faults.http_error(403), times=None, match=("PUT", "/pipeline_runs/1$"))
    with pytest.raises(TimeoutError, match=re.escape(f"0.3 s are over; {fate}. Last seen: ")):
        operate(timeout=0.3, **options).run()
    assert the_run(mage).status == "initial"


def test_a_run_that_ends_as_the_time_is_over_is_not_said_to_be_cancelled(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.inject(
        edited(lambda data: data["pipeline_run"].update(status="completed")),
        match=("PUT", "/pipeline_runs/1$"),
    )
    with pytest.raises(TimeoutError, match=r"^0\.3 s are over; run 1 had completed by then"):
        operate(timeout=0.3).run()


def test_a_mage_that_is_down_at_the_start_is_waited_for(mage, connect, operate, caplog):
    caplog.set_level(logging.INFO)
    with FaultyProxy(mage.root) as proxy:
        conn_id = connect(host=proxy.root, extra='{"timeout": 2}')
        proxy.inject(faults.CLOSE_BEFORE, times=9)
        assert operate(mage_conn_id=conn_id, max_unreachable=300).run() == the_run(mage).id
    assert len([message for message in caplog.messages if "Trying again" in message]) == 1


@pytest.mark.parametrize("max_unreachable", [120, 300])
def test_a_mage_that_stays_down_at_the_start_is_given_up_in_time(mage, connect, operate, max_unreachable):
    with FaultyProxy(mage.root) as proxy:
        conn_id = connect(host=proxy.root, extra='{"timeout": 2}')
        proxy.inject(faults.CLOSE_BEFORE, times=None)
        began = time.monotonic()
        with pytest.raises(MageTransportError):
            operate(mage_conn_id=conn_id, max_unreachable=max_unreachable).run()
    assert 0.7 * max_unreachable <= time.monotonic() - began <= 1.1 * max_unreachable
    assert not mage.pipeline_runs


def test_a_stalled_run_is_cancelled_if_so_wished(mage, operate):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.stop_scheduler()
    with pytest.raises(StalledError, match="scheduler is") as caught:
        operate(stall_timeout=0.3, on_stall="fail").run()
    assert "is queued" in str(caught.value)
    assert the_run(mage).status == "cancelled"


def test_a_run_that_mage_cannot_go_on_with_is_red_and_cancelled(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)

    def delete_schedule(data):
        mage.advance(data["pipeline_run"]["id"])
        mage.project.delete_pipeline_schedule(mage.pipeline_schedules[1])

    mage.inject(edited(delete_schedule), match=("GET", r"/pipeline_runs/\d+$"))
    with pytest.raises(StalledError, match="Its pipeline schedule was deleted"):
        operate(stall_timeout=0.3).run()
    assert the_run(mage).status == "cancelled"


def test_a_stalled_run_is_waited_for_with_a_warning(mage, operate, caplog):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.stop_scheduler()
    with pytest.raises(TimeoutError):
        operate(stall_timeout=0.3, timeout=5).run()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(message.startswith("Nothing has changed for 0.3 s: Run 1 ") for message in warnings)


@pytest.fixture
def quick(monkeypatch):
    """A job counts as lost at once."""
    monkeypatch.setattr(watch, "LOST_AFTER", 0.1)


def test_a_job_that_mage_has_lost_is_found_by_default(mage, operate, caplog, quick):
    mage.pipeline("daily_orders", ["load", "export"], loses_job_of="export", polls_to_finish=4)
    run_id = operate().run()
    assert mage.executions(run_id) == {"load": 1, "export": 1}
    assert any("Mage has lost a job" in message for message in caplog.messages)
    # Nothing is left of what was made: no schedule, and in no list a run.
    assert [schedule.name for schedule in mage.pipeline_schedules.values()] == ["airflow"]
    assert {run.id for run in mage.pipeline_runs.values() if run.pipeline_schedule_id} == {run_id}
    assert [run.status for run in mage.pipeline_runs.values()] == ["completed", "cancelled"]


@pytest.mark.parametrize("is_one_job", [True, False])
def test_the_one_job_of_all_blocks_may_be_lost_as_well(mage, operate, caplog, quick, edited, is_one_job):
    """Otherwise a block that is not queued is none that Mage has lost: its scheduler may look rarely."""
    mage.pipeline("daily_orders", polls_to_finish=None)
    change = edited(lambda data: data["pipeline"].update(run_pipeline_in_one_process=is_one_job))
    mage.inject(change, times=None, match=("GET", "/pipelines/daily_orders$"))
    mage.inject(
        edited(lambda data: mage.advance(data["pipeline_run"]["id"])), match=("GET", r"/pipeline_runs/\d+$")
    )
    with pytest.raises(TimeoutError):
        operate(timeout=3).run()
    assert any("Mage has lost a job" in message for message in caplog.messages) == is_one_job
    assert mage.count("POST", "/pipeline_runs$") == 1 + is_one_job


@pytest.mark.parametrize("on_stall", ["warn", "fail"])
def test_a_job_that_mage_has_lost_is_left_alone_if_so_wished(mage, operate, caplog, quick, on_stall):
    mage.pipeline("daily_orders", ["load"], loses_job_of="load", polls_to_finish=3)
    with pytest.raises(StalledError if on_stall == "fail" else TimeoutError) as caught:
        operate(on_stall=on_stall, stall_timeout=0.3, timeout=3).run()
    assert any("Mage has lost a job" in text for text in (*caplog.messages, str(caught.value)))
    assert mage.count("POST", "/pipeline_runs$") == 1


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("instance_type", "k8s", r"not tried on a server of this kind \(k8s\)"),
        ("project_type", "main", r"not tried on a server of this kind \(main\)"),
        ("version", "0.9.79", r"not tried on Mage 0\.9\.79"),
        ("version", "1.0.0", r"not tried on Mage 1\.0\.0"),
        ("version", None, r"not tried on Mage of an unknown version"),
    ],
)
def test_a_server_on_which_that_was_not_shown_to_be_harmless_is_left_alone(
    mage, operate, caplog, quick, edited, field, value, why
):
    mage.pipeline("daily_orders", ["load"], loses_job_of="load", polls_to_finish=3)
    for name in ("statuses", "projects"):
        change = edited(lambda data, name=name: data[name][0].update({field: value}))
        mage.inject(change, times=None, match=("GET", f"/api/{name.replace('statuses', 'status')}$"))
    with pytest.raises(TimeoutError):
        operate(timeout=3).run()
    assert any(re.search(why, message) for message in caplog.messages)
    assert mage.count("POST", "/pipeline_runs$") == 1


def test_a_queued_block_is_not_lost_while_others_run(mage, operate, caplog, quick):
    """The pool is there, then, and has its reasons."""
    mage.pipeline("daily_orders", ["load"], stalls_at="load", polls_to_finish=9)
    mage.pipeline("another", ["load"], polls_to_finish=None)
    other = mage.pipeline_run(mage.pipeline_schedule("another"))
    mage.advance(other.id, 3)
    with pytest.raises(TimeoutError):
        operate(timeout=3, stall_timeout=0.5).run()
    assert any("No cause is known" in message for message in caplog.messages)
    assert not any("lost" in message for message in caplog.messages)
    assert mage.count("POST", "/pipeline_runs$") == 1


@pytest.mark.parametrize("on_stall", ["repair", "fail", "warn"])
def test_a_block_that_kills_its_process_again_and_again_is_red(mage, operate, caplog, on_stall):
    mage.pipeline("daily_orders", ["load", "export"], dies_at="load", polls_to_finish=1000)
    says = "The process of block load has ended 3 times without a result"
    with pytest.raises(TimeoutError if on_stall == "warn" else StalledError) as caught:
        operate(on_stall=on_stall, timeout=4).run()
    assert the_run(mage).status == "cancelled"
    if on_stall == "warn":
        assert any(says in message for message in caplog.messages)
    else:
        assert says in str(caught.value)
        assert str(caught.value).endswith("Run 1 was cancelled.")


def test_a_run_whose_pipeline_was_deleted_is_red_and_cancelled(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)

    def delete_pipeline(data):
        mage.advance(data["pipeline_run"]["id"])
        del mage.project.pipelines["daily_orders"]

    mage.inject(edited(delete_pipeline), match=("GET", r"/pipeline_runs/\d+$"))
    with pytest.raises(StalledError, match="Pipeline daily_orders was deleted in Mage"):
        operate(stall_timeout=0.3, on_stall="warn").run()
    assert the_run(mage).status == "cancelled"


def test_a_stream_is_said_to_be_one_at_the_start(mage, operate, caplog):
    mage.pipeline("daily_orders", type="streaming", polls_to_finish=1)
    with pytest.raises(TimeoutError):
        operate(timeout=4).run()
    said = [message for message in caplog.messages if "is a stream: its runs never end" in message]
    assert len(said) == 1


@pytest.mark.parametrize("of_pipeline", [True, False])
def test_a_limit_is_named_only_where_it_is_reached(mage, operate, caplog, of_pipeline):
    limit = {"pipeline_run_limit_all_triggers": 1} if of_pipeline else {}
    mage.pipeline("daily_orders", polls_to_finish=None, concurrency_config=limit)
    schedule = mage.pipeline_schedule("daily_orders")
    schedule.settings = None if of_pipeline else {"pipeline_run_limit": "1"}
    mage.advance(mage.pipeline_run(schedule).id)
    with pytest.raises(TimeoutError):
        operate(stall_timeout=0.3, timeout=1).run()
    owner = "pipeline daily_orders" if of_pipeline else "pipeline schedule 1 ('airflow')"
    says = f"A limit holds it back: 1 at once for {owner}, and 1 are running."
    assert any(says in message for message in caplog.messages)

    caplog.clear()
    mage.finish(1)
    mage.project.is_scheduler_running = True
    with pytest.raises(TimeoutError):
        operate(stall_timeout=0.3, timeout=1).run()
    assert not any("A limit" in message for message in caplog.messages)
    assert any("No cause is known" in message for message in caplog.messages)


def test_mage_out_of_reach_for_long_is_no_failed_run_and_cancels_nothing(mage, operate):
    mage.pipeline("daily_orders", polls_to_finish=None)
    mage.inject(faults.http_error(502), times=None, match=("GET", r"/api/pipeline_runs"))
    with pytest.raises(MageTransportError, match=r"Cannot reach Mage since .* run 1 may still be going on"):
        operate(max_unreachable=0.5).run()
    assert the_run(mage).status in ("initial", "running")
    assert mage.count("PUT", "/pipeline_runs/") == 0


def test_mage_out_of_reach_for_a_moment_is_waited_out(mage, operate, caplog):
    mage.inject(faults.RESET_BEFORE, match=("GET", r"/pipeline_runs/\d+$"))
    assert operate().run() == the_run(mage).id
    assert any("the state of run 1 is unknown" in message for message in caplog.messages)


@pytest.fixture
def duplicate_on_its_way(mage, edited):
    """The answer to the start is lost, and a second delivery of it arrives while the run is waited for."""

    def arrive(_):
        [run] = mage.pipeline_runs.values()
        mage.pipeline_run(mage.pipeline_schedules[run.pipeline_schedule_id], **run.variables)

    mage.inject(faults.RESET_AFTER, match=("POST", "/pipeline_runs$"))
    mage.inject(edited(arrive), match=("GET", r"/pipeline_runs/\d+$"))


def test_a_duplicate_that_comes_late_is_cancelled(mage, operate, duplicate_on_its_way):
    assert operate().run() == 1
    assert {run.id: run.status for run in mage.pipeline_runs.values()} == {1: "completed", 2: "cancelled"}


def test_a_task_that_runs_out_of_time_leaves_no_duplicate(mage, operate, duplicate_on_its_way):
    mage.pipeline("daily_orders", polls_to_finish=None)
    with pytest.raises(TimeoutError):
        operate(timeout=2).run()
    assert [run.status for run in mage.pipeline_runs.values()] == ["cancelled", "cancelled"]


def test_a_start_that_was_answered_is_looked_at_no_more_than_once(mage, operate):
    operate().run()
    assert mage.count(*LOOKS_FOR_DUPLICATES) == 1


def test_an_earlier_attempt_that_completed_is_the_result(mage, operate):
    task = operate(retries=1)
    first = task.attempt()
    before = mage.count("POST", "/pipeline_runs")
    assert task.attempt() == first
    assert mage.count("POST", "/pipeline_runs") == before


def test_a_clear_starts_a_new_run(mage, operate):
    task = operate()
    first = task.run()
    task.clear()
    assert task.run() != first


def test_a_failed_run_is_repaired_if_so_wished(mage, operate):
    mage.pipeline("flaky", ["load", "check", "export"], fails_at="check", fails_times=1)
    task = operate(pipeline_uuid="flaky", retries=1, retry_from_failure=True)
    assert task.run() == the_run(mage).id
    assert len(task.errors) == 1
    assert mage.executions(1) == {"load": 1, "check": 2, "export": 1}


@pytest.mark.parametrize("log_is_away", [False, True])
def test_an_error_of_before_a_repair_is_not_quoted_as_todays(mage, operate, log_is_away):
    """Mage keeps the first error of a block run, and all of them in its log."""
    mage.pipeline("flaky", ["load", "check"], fails_at="check", error=ValueError("of the first attempt"))
    task = operate(pipeline_uuid="flaky", retries=1, retry_from_failure=True)
    with pytest.raises(MagePipelineRunFailed, match="ValueError: of the first attempt"):
        task.attempt()
    mage.project.pipelines["flaky"].error = KeyError("of the second")
    if log_is_away:
        mage.inject(faults.http_error(500), times=None, match=("GET", "/logs$"))
    with pytest.raises(MagePipelineRunFailed) as caught:
        task.attempt()
    assert "of the first attempt" not in str(caught.value)
    says = (
        "failed again: Mage keeps a block's first error only"
        if log_is_away
        else "failed: KeyError: 'of the second'"
    )
    assert f"Block check {says}" in str(caught.value)


def test_a_run_that_is_too_old_for_its_schedule_is_replaced_rather_than_repaired(mage, operate, caplog):
    caplog.set_level(logging.INFO)
    mage.pipeline("flaky", ["load"], fails_at="load", fails_times=1, polls_to_finish=3)
    schedule = mage.pipeline_schedule("flaky")
    schedule.settings = {"timeout": 60}
    task = operate(pipeline_uuid="flaky", retries=2, retry_from_failure=True)
    with pytest.raises(MagePipelineRunFailed):
        task.attempt()
    mage.pipeline_runs[1].started_at -= timedelta(seconds=61)
    mage.pipeline("flaky", ["load"], polls_to_finish=3)
    assert task.attempt() == 2
    says = (
        "Run 1 is older than its pipeline schedule's timeout of 60 s, so Mage would end it at once: starting"
    )
    assert any(message.startswith(says) for message in caplog.messages)


@pytest.mark.parametrize("timeout_status", [None, "cancelled"])
def test_the_time_out_of_the_pipeline_schedule_is_named(mage, operate, edited, timeout_status):
    mage.pipeline("slow", ["load"], polls_to_finish=4)
    schedule = mage.pipeline_schedule("slow")
    schedule.settings = {"timeout": 60, **({"timeout_status": timeout_status} if timeout_status else {})}

    def let_time_pass(_):
        run = mage.pipeline_runs[1]
        if run.started_at:
            run.started_at -= timedelta(seconds=61)

    mage.inject(edited(let_time_pass), times=2, match=("GET", r"/pipeline_runs/\d+$"))
    with pytest.raises(MagePipelineRunFailed) as caught:
        operate(pipeline_uuid="slow").run()
    assert caught.value.status == (timeout_status or "failed")
    says = "Mage ended it: the timeout of its pipeline schedule 1 ('airflow'), 60 s, was over."
    assert says in str(caught.value)


def test_a_failed_run_is_replaced_otherwise(mage, operate):
    mage.pipeline("broken", ["load"], fails_at="load")
    task = operate(pipeline_uuid="broken", retries=1)
    with pytest.raises(MagePipelineRunFailed):
        task.run()
    assert len(mage.pipeline_runs) == 2


def test_without_durability_each_attempt_has_a_run_of_its_own(mage, operate):
    task = operate(durable=False, retries=1)
    assert task.attempt() != task.attempt()


# Whose run it is


@pytest.mark.parametrize("old_status", ["completed", "failed", None])
def test_a_dag_run_that_is_made_again_under_its_id_has_a_run_of_its_own(mage, operate, old_status):
    mage.pipeline("daily_orders", polls_to_finish=None)
    with pytest.raises(TimeoutError):
        operate(timeout=1, cancel_on_kill=False).run()
    if old_status:
        mage.finish(1, old_status)
    mage.pipeline("daily_orders", polls_to_finish=1)
    again = operate(retries=1, retry_from_failure=True)
    again.try_number = 1  # on Airflow 3.2 and later, its first attempt that is executed may be the second

    assert again.run() == 2
    assert mage.pipeline_runs[2].status == "completed"
    assert mage.pipeline_runs[1].status != "cancelled"


def test_two_airflows_with_the_same_names_leave_each_others_runs_alone(mage, operate):
    mage.pipeline("daily_orders", polls_to_finish=None)
    for timeout in (0.2, 0.3, 0.4):
        task = operate(timeout=timeout, retries=1, cancel_on_kill=timeout < 0.4)
        with pytest.raises(TimeoutError):
            task.run()
    statuses = [run.status for run in mage.pipeline_runs.values()]
    assert statuses[:4] == ["cancelled"] * 4
    assert statuses[4] in ("initial", "running")
    assert len(statuses) == 5  # the retry of the last reattaches to its own


def test_a_run_of_another_task_under_the_same_id_is_not_taken_for_ours(mage, operate, edited):
    mage.pipeline("daily_orders", polls_to_finish=None)

    def give_the_id_away(data):
        mage.pipeline_runs[1].variables = {"airflow": {"run_key": "another", "nonce": "another"}}
        mage.finish(1)

    mage.inject(edited(give_the_id_away), match=("GET", r"/pipeline_runs/\d+$"))
    with pytest.raises(MageNotFoundError, match="Run 1 belongs to another task now"):
        operate().run()


# The connection


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_host_that_is_corrected_in_mid_wait_is_used(
    mage, connect, operate, edited, monkeypatch, seen_first
):
    """Mage has moved: whoever waits finds nobody under the old address."""
    mage.pipeline("daily_orders", polls_to_finish=None)
    with FaultyProxy(mage.root) as proxy:
        conn_id = connect(host=proxy.root, extra='{"timeout": 2}')

        def move(_):
            mage.finish(1)
            proxy.inject(faults.CLOSE_BEFORE, times=None)
            new = json.loads(os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"]) | {"host": mage.url}
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(new))

        mage.inject(edited(move), match=("GET", r"/pipeline_runs/\d+$"), skip=int(seen_first))
        assert operate(mage_conn_id=conn_id, max_unreachable=5).run() == 1
    assert len(mage.pipeline_runs) == 1


def test_a_password_that_is_changed_in_mid_wait_is_used(mage, connect, operate, edited, monkeypatch):
    mage.pipeline("daily_orders", polls_to_finish=None)
    conn_id = connect(extra='{"timeout": 2}')

    def change(_):
        mage.finish(1)
        mage.password = "another"
        mage.revoke_all_tokens()
        new = json.loads(os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"]) | {"password": "another"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(new))

    mage.inject(edited(change), match=("GET", r"/pipeline_runs/\d+$"))
    assert operate(mage_conn_id=conn_id).run() == 1
    assert len(mage.pipeline_runs) == 1


# The sensor


@pytest.fixture
def run(mage):
    return mage.pipeline_run(mage.pipeline_schedule("daily_orders"))


def test_the_sensor_sees_a_completed_run(mage, run, sense):
    task = sense(run.id)
    task.run()
    assert task.xcoms["pipeline_run_url"] == f"{mage.url}/pipelines/daily_orders/runs/{run.id}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, MagePipelineRunFailed),
        ({"soft_fail": True}, MagePipelineRunFailed),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_the_sensor_sees_a_failed_run(mage, sense, arguments, expected):
    run = mage.pipeline_run(mage.pipeline_schedule("broken_orders"))
    with pytest.raises(expected):
        sense(run.id, **arguments).run()


@pytest.mark.parametrize(
    ("arguments", "expected"), [({}, AirflowSensorTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
def test_the_sensor_runs_out_of_time(mage, sense, arguments, expected):
    mage.pipeline("daily_orders", polls_to_finish=None)
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    with pytest.raises(expected):
        sense(run.id, timeout=0.3, **arguments).run()
    assert the_run(mage).status in ("initial", "running")


def test_the_sensor_that_never_fails_is_skipped_when_it_runs_out_of_time(mage, sense):
    mage.pipeline("daily_orders", polls_to_finish=None)
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    with pytest.raises(AirflowSkipException):
        sense(run.id, timeout=0.3, never_fail=True).run()


def test_a_wait_that_breaks_down_is_red_and_says_what_may_go_on(mage, connect, edited, monkeypatch):
    """The worker has obtained the run, and the triggerer finds no connection any more."""
    conn_id = connect()
    delete = edited(lambda _: monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id.upper()}"))
    mage.inject(delete, match=LOOKS_FOR_DUPLICATES)
    arguments = {"task_id": "run", "mage_conn_id": conn_id, "pipeline_uuid": "daily_orders"}

    with pytest.raises(MageError, match="which may still be going on"):
        TaskInstance(lambda: MageTriggerPipelineOperator(deferrable=True, **arguments)).run()


SENSOR_ARGUMENTS = [{}, {"soft_fail": True}]


@pytest.mark.parametrize("arguments", SENSOR_ARGUMENTS, ids=str)
def test_the_sensor_without_a_connection_is_red(sense, run, arguments):
    with pytest.raises(AirflowException) as caught:
        sense(run.id, mage_conn_id="no_such", **arguments).run()
    assert not isinstance(caught.value, AirflowSkipException)


@pytest.mark.parametrize("arguments", SENSOR_ARGUMENTS, ids=str)
def test_the_sensor_whose_connection_is_deleted_while_it_waits_is_red(
    mage, sense, connect, edited, monkeypatch, request, arguments
):
    if "poke" in request.node.name:
        pytest.skip("A worker that waits goes on with the connection that it has read.")
    mage.pipeline("daily_orders", polls_to_finish=None)
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    conn_id = connect()
    mage.inject(
        edited(lambda _: monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id.upper()}")),
        match=("GET", r"/pipeline_runs/\d+$"),
    )
    with pytest.raises((AirflowException, MageError)) as caught:
        sense(run.id, mage_conn_id=conn_id, **arguments).run()
    assert not isinstance(caught.value, (AirflowSkipException, AirflowSensorTimeout))


@pytest.mark.parametrize("arguments", SENSOR_ARGUMENTS, ids=str)
def test_the_sensor_whose_connection_is_spoilt_while_it_waits_is_red(
    mage, sense, connect, edited, monkeypatch, request, arguments
):
    if "poke" in request.node.name:
        pytest.skip("A worker that waits goes on with the connection that it has read.")
    mage.pipeline("daily_orders", polls_to_finish=None)
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    conn_id = connect()
    name = f"AIRFLOW_CONN_{conn_id.upper()}"
    spoilt = json.dumps(json.loads(os.environ[name]) | {"extra": '{"timeout": "soon"}'})
    mage.inject(
        edited(lambda _: monkeypatch.setenv(name, spoilt)),
        match=("GET", r"/pipeline_runs/\d+$"),
    )
    with pytest.raises((ValueError, MageError)) as caught:
        sense(run.id, mage_conn_id=conn_id, **arguments).run()
    assert not isinstance(caught.value, (AirflowSkipException, AirflowSensorTimeout))


def test_the_sensor_that_fails_in_silence_is_refused_if_it_is_to_be_deferred(connect):
    arguments = {"task_id": "wait", "pipeline_run_id": 1, "silent_fail": True}
    MagePipelineRunSensor(**arguments, deferrable=False)
    with pytest.raises(ValueError, match="`silent_fail` looks again after an error, which a deferred"):
        MagePipelineRunSensor(**arguments, deferrable=True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, AirflowSensorTimeout),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_a_deferral_that_takes_too_long_is_the_sensors_time_out(run, connect, arguments, expected):
    sensor = MagePipelineRunSensor(
        task_id="wait", pipeline_run_id=run.id, mage_conn_id=connect(), **arguments
    )
    with pytest.raises(expected):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


@pytest.mark.parametrize("fault", [faults.http_error(502), faults.crash()], ids=lambda fault: fault.name)
def test_the_sensor_does_not_fail_because_mage_is_not_well(mage, run, sense, fault):
    mage.inject(fault, match=("GET", "/pipeline_runs/"))
    sense(run.id).run()


def test_the_sensor_knows_no_such_run(mage, sense):
    with pytest.raises(MageNotFoundError):
        sense(4711).run()


def test_a_run_that_is_over_is_not_deferred_for(mage, connect):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    mage.finish(run.id)
    conn_id = connect()
    task = TaskInstance(
        lambda: MagePipelineRunSensor(
            task_id="wait", pipeline_run_id=run.id, mage_conn_id=conn_id, deferrable=True
        )
    )
    task.operator.execute(task.context)


# Mage's logs


def lines_told(caplog):
    return [message for message in caplog.messages if message.startswith("[")]


def test_logs_of_the_blocks_are_told_in_each_mode(mage, operate, caplog):
    caplog.set_level(logging.INFO)
    mage.pipeline(
        "chatty", ["load", "clean"], prints={"load": ["40 orders"], "clean": ["36 are left", "done"]}
    )
    operate(pipeline_uuid="chatty", stream_logs=True).run()

    assert lines_told(caplog) == ["[load] 40 orders", "[clean] 36 are left", "[clean] done"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, [f"[load] {number}" for number in range(10, 30)]),
        ({"max_log_lines": 2}, ["[load] 28", "[load] 29"]),
        ({"stream_logs": False}, []),
        (
            {"stream_logs": True},
            [
                *(f"[load] {number}" for number in range(30)),
                "[load] ValueError: no rows in load",
                "[load]   at line 10",
            ],
        ),
    ],
)
def test_what_is_told_of_a_block_that_fails(mage, operate, caplog, arguments, told):
    caplog.set_level(logging.INFO)
    mage.pipeline("chatty", ["load"], fails_at="load", prints={"load": list(map(str, range(30)))})
    with pytest.raises(MagePipelineRunFailed, match="ValueError: no rows in load"):
        operate(pipeline_uuid="chatty", **arguments).run()

    assert [line.partition(" of its code")[0] for line in lines_told(caplog)] == told


def test_log_endpoint_that_is_broken_leaves_the_task_green(mage, operate, caplog):
    mage.inject(faults.http_error(500), times=None, match=("GET", "/logs$"))

    assert operate(stream_logs=True).run() == the_run(mage).id

    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "airflow_provider_mage._runs" in record.name
    ]
    assert len(warnings) == 1
    assert warnings[0].startswith("Cannot read the log of run 1 in Mage; the task goes on without.")
