"""What is told of a run that goes on: a line for each change, and none otherwise."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mage._runs.changes import Changes, describe, describe_end, duration
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.watch import HEARTBEAT, RunWatch
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
NAME = "Run 7 of pipeline p"


def a_run(status="running", **blocks):
    runs = tuple(
        BlockRun(number, name, BlockRunStatus(one)) for number, (name, one) in enumerate(blocks.items())
    )
    return PipelineRun(7, PipelineRunStatus(status), pipeline_uuid="p", block_runs=runs)


def lines(*seen, every=1.0):
    changes = Changes()
    return [changes.see(run, every * number) for number, run in enumerate(seen)]


def test_each_change_has_a_line_and_nothing_else_has():
    assert lines(
        a_run("initial"),
        a_run("initial"),
        a_run(load="initial", clean="initial"),
        a_run(load="queued", clean="initial"),
        a_run(load="running", clean="initial"),
        a_run(load="running", clean="initial"),
        a_run(load="completed", clean="running"),
        a_run("completed", load="completed", clean="completed"),
    ) == [
        [],
        [],
        [f"{NAME} is running."],
        [],
        ["load is running"],
        [],
        ["load completed (1 of 2 blocks)", "clean is running"],
        ["clean completed (2 of 2 blocks)"],
    ]


def test_first_look_at_a_run_that_goes_on_says_where_it_stands():
    run = a_run(load="completed", clean="running", export="initial")

    assert lines(run, run) == [[f"{NAME} is running; 1 of 3 blocks are done, clean is running."], []]


def test_first_look_at_a_run_that_is_over_tells_its_blocks():
    assert lines(a_run("failed", load="completed", clean="failed", export="upstream_failed")) == [
        ["load completed (1 of 3 blocks)", "clean failed", "export was left out, as a block before it failed"]
    ]


def test_time_of_a_block_is_by_mages_dates():
    dates = {"started_at": BEGAN, "completed_at": BEGAN + timedelta(seconds=3.21)}
    run = a_run(load="completed", clean="running")
    run = replace(run, block_runs=(replace(run.block_runs[0], **dates), run.block_runs[1]))

    assert (
        lines(a_run(load="running", clean="initial"), run)[1][0] == "load completed in 3.2 s (1 of 2 blocks)"
    )


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        ({}, "load failed"),
        ({"started_at": BEGAN}, "load failed"),
        ({"started_at": BEGAN, "updated_at": BEGAN + timedelta(seconds=90)}, "load failed after 90 s"),
        # SQLite keeps the second only.
        ({"started_at": BEGAN + timedelta(seconds=0.6), "updated_at": BEGAN}, "load failed after 0.0 s"),
        ({"started_at": BEGAN + timedelta(days=1), "updated_at": BEGAN}, "load failed"),
    ],
)
def test_odd_dates_of_a_block_are_not_told(dates, says):
    run = a_run(load="failed")
    run = replace(run, block_runs=(replace(run.block_runs[0], **dates),))

    assert lines(a_run(load="running"), run)[1] == [says]


def test_time_in_the_queue_is_told_if_it_was_long():
    assert lines(a_run("initial"), a_run(), every=40)[1] == [f"{NAME} is running, after 40 s in the queue."]


def test_block_whose_process_has_died_is_queued_again():
    assert lines(a_run(load="running"), a_run(load="queued"))[1] == ["load is queued again"]


def test_repaired_run_is_running_again():
    assert lines(a_run("failed", load="failed"), a_run(load="initial"))[1] == [f"{NAME} is running."]


def test_many_changes_at_once_are_summed_up():
    names = [f"kid:{number}" for number in range(60)]
    before = a_run(**dict.fromkeys(names, "running"))
    after = a_run(**{name: "completed" if number < 40 else "failed" for number, name in enumerate(names)})

    assert lines(before, after)[1] == [
        "40 blocks completed, kid:39 the last (40 of 60 blocks)",
        "20 blocks failed",
    ]
    assert len(describe(before)) < 300
    assert describe(before).endswith("kid:4 is running, and 55 more")


@pytest.mark.parametrize(
    ("status", "says"), [("completed", "completed"), ("failed", "failed"), ("cancelled", "was cancelled")]
)
def test_end_is_told_with_the_time_that_it_took(status, says):
    run = replace(a_run(status), started_at=BEGAN, updated_at=BEGAN + timedelta(seconds=12.3))

    assert describe_end(run) == f"{NAME} {says} after 12 s"
    assert describe_end(a_run(status)) == f"{NAME} {says}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (720, "12 min"), (9000, "2.5 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


# Heartbeats


def heartbeats(seen, until, step=100.0):
    """Wait in silence, and return what is told and when."""
    watch, now = RunWatch(7, RunRules(on_stall="warn", stall_timeout=10**9)), 0.0
    watch.step(seen, now)
    while now < until:
        wait = watch.step(None, now)
        now += min(step, wait.wake_in)
        watch.step(None, now)


def test_long_wait_says_now_and_then_that_it_goes_on(caplog):
    caplog.set_level(logging.INFO)

    heartbeats(a_run(load="completed", slow="running"), 900)

    assert caplog.messages[1:] == [
        f"{NAME} is still running after {minutes} min: slow (1 of 2 blocks are done)."
        for minutes in (5, 10, 15)
    ]


def test_long_wait_in_the_queue_says_so(caplog):
    caplog.set_level(logging.INFO)

    heartbeats(a_run("initial"), 600)

    assert caplog.messages == [f"{NAME} has been queued for {minutes} min." for minutes in (5, 10)]


def test_heartbeat_wakes_the_wait_and_costs_no_look(caplog):
    watch = RunWatch(7, RunRules(poll_interval=10_000))
    watch.step(a_run(slow="running"), 0.0)

    assert watch.step(None, 0.0).wake_in == pytest.approx(HEARTBEAT, abs=0.1)


def test_line_puts_the_heartbeat_off(caplog):
    caplog.set_level(logging.INFO)
    watch = RunWatch(7, RunRules())
    watch.step(a_run(load="running", slow="initial"), 0.0)
    watch.step(a_run(load="completed", slow="running"), 299.0)
    watch.step(None, 301.0)

    assert "still running" not in caplog.text
