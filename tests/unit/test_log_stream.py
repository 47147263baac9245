"""Mage's logs in the log of the task, while the blocks run."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_mage._runs import watch
from airflow_provider_mage._runs.log_stream import LogStream
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.stall import StallMemory
from airflow_provider_mage._runs.watch import RunWatch, act
from airflow_provider_mage._waiting.drive import wait
from airflow_provider_mage.api import secrets
from fakes import faults
from fakes.faults import Fault
from fakes.messages import Answer

LOGS = ("GET", "/logs$")


class Story:
    """
    A run that goes on while somebody waits for it.

    :param steps: What happens when so many seconds have passed.
    """

    def __init__(self, mage, client, clock, steps=()):
        self.mage, self.client, self.clock = mage, client, clock
        self.began, self.steps = clock.now, sorted(steps, key=lambda step: step[0])
        self.asked_at = []
        clock.sleep = self._sleep

    def _sleep(self, seconds):
        self.clock.now += seconds
        self.happen()

    def happen(self):
        while self.steps and self.clock.now - self.began >= self.steps[0][0]:
            self.steps.pop(0)[1]()
        asked = len(self.mage.requests_of(*LOGS))
        self.asked_at += [self.clock.now - self.began] * (asked - len(self.asked_at))

    def wait(self, run, logs, **rules):
        memory = StallMemory()

        def look():
            seen = self.client.get_pipeline_run(run.id)
            self.happen()
            return seen

        def do(step):
            seen = act(self.client, step, memory)
            self.happen()
            return seen

        one = RunWatch(run.id, RunRules(**{"poll_interval": 5.0, **rules}), None, logs)
        return wait(one, look, do, self.clock)


@pytest.fixture
def begin(mage, client, clock):
    def make(blocks=("load", "clean"), **options):
        mage.pipeline("p", blocks, **options)
        run = mage.pipeline_run(mage.pipeline_schedule("p"))
        return run, Story(mage, client, clock)

    return make


@pytest.fixture
def told(caplog):
    """Return the lines that were told of blocks."""
    caplog.set_level(logging.INFO)
    return lambda: [line for line in caplog.messages if line.startswith("[")]


def running(story, run, block=0):
    """Let a block of the run be running."""
    while not run.block_runs or run.block_runs[block].status != "running":
        story.mage.advance(run.id)
    return run.block_runs[block]


def test_each_line_is_told_once_and_in_order_while_the_block_runs(begin, told):
    run, story = begin(["load"])
    block = running(story, run)
    printed = iter(range(1000))

    def print_some():
        story.mage.project.print(block, *(f"line {next(printed)}" for _ in range(10)))

    story.steps = [(second, print_some) for second in range(0, 100, 7)]
    story.steps.append((100, lambda: story.mage.finish(run.id)))

    story.wait(run, LogStream(1000))

    assert told() == [f"[load] line {number}" for number in range(150)]
    assert len(story.asked_at) == 5  # at once, every half a minute, and at the end


def test_a_run_is_asked_for_six_times_a_minute_at_most(begin, told):
    """Although forty blocks end, one every two seconds."""
    names = [f"block_{number:02}" for number in range(40)]
    run, story = begin(names, prints={name: [f"of {name}"] for name in names})
    running(story, run)
    story.steps = [(2 * number, lambda: story.mage.advance(run.id, 3)) for number in range(60)]

    story.wait(run, LogStream(1000))

    assert told() == [f"[{name}] of {name}" for name in names]
    for moment in story.asked_at:
        assert len([one for one in story.asked_at if moment <= one < moment + 60]) <= 6


def test_what_a_short_run_has_written_is_told_at_its_end(begin, told):
    """Fifty blocks take three requests, which the first minute allows."""
    names = [f"block_{number:02}" for number in range(50)]
    run, story = begin(names, prints={name: [f"of {name}"] * 200 for name in names})
    story.mage.finish(run.id)

    story.wait(run, LogStream(20_000))

    assert len(told()) == 10_000
    assert told()[::200] == [f"[{name}] of {name}" for name in names]
    assert len(story.asked_at) == 3
    assert story.clock.now == story.began


def test_blocks_are_told_in_groups_with_their_levels_and_errors(begin, caplog):
    caplog.set_level(logging.INFO)
    run, story = begin(
        ["load", "clean"], prints={"load": ["a\nb"], "clean": ["::endgroup::"]}, fails_at="clean"
    )
    story.mage.advance(run.id, 30)

    story.wait(run, LogStream(100))

    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines[-9:] == [
        ("INFO", "::group::Mage log of block load"),
        ("INFO", "[load] a"),
        ("INFO", "[load] b"),
        ("INFO", "::endgroup::"),
        ("INFO", "::group::Mage log of block clean"),
        ("INFO", "[clean] ::endgroup::"),
        ("ERROR", "[clean] ValueError: no rows in clean"),
        ("ERROR", "[clean]   at line 10 of its code, in clean"),
        ("INFO", "::endgroup::"),
    ]


def test_lines_beyond_the_limit_are_counted(begin, told, caplog):
    run, story = begin(["load"], prints={"load": [str(number) for number in range(500)]})
    story.mage.finish(run.id)
    logs = LogStream(100)

    story.wait(run, logs)
    logs.close("http://mage/logs")

    assert told() == [f"[load] {number}" for number in range(100)]
    assert (
        "400 more lines were written than the 100 that `max_log_lines` allows: http://mage/logs"
        in caplog.messages
    )


def test_another_triggerer_goes_on_where_the_first_has_died(begin, told):
    run, story = begin(["load", "clean"])
    block = running(story, run)
    cursors = []
    story.mage.project.print(block, *(f"line {number}" for number in range(450)))
    story.steps = [(20, lambda: story.mage.project.print(block, "the last")), (40, lambda: 1 / 0)]
    with pytest.raises(ZeroDivisionError):  # it dies
        story.wait(run, LogStream(1000, None, lambda cursor: cursors.append(json.dumps(cursor))))
    story.steps = [(50, lambda: story.mage.finish(run.id))]

    story.wait(run, LogStream(1000, json.loads(cursors[-1])))

    assert told() == [*(f"[load] line {number}" for number in range(450)), "[load] the last"]
    assert len(cursors[-1]) < 500


def test_what_was_not_stored_is_told_again_and_nothing_is_left_out(begin, told):
    run, story = begin(["load"], prints={"load": [f"line {number}" for number in range(1200)]})
    story.mage.finish(run.id)
    cursors = []

    def save(cursor):
        if len(cursors) == 1:
            raise SystemExit
        cursors.append(cursor)

    with pytest.raises(SystemExit):
        story.wait(run, LogStream(2000, None, save))
    first = told()
    story.wait(run, LogStream(2000, cursors[0]))

    # The first record of all is told in no line.
    assert first == [f"[load] line {number}" for number in range(999)]
    assert told()[len(first) :] == [f"[load] line {number}" for number in range(499, 1200)]


def test_requests_of_before_a_restart_count(begin):
    run, story = begin([f"block_{number}" for number in range(50)])
    story.mage.finish(run.id)
    moments = [story.clock.now - second for second in (50, 40, 30, 20, 10, 0)]

    story.wait(run, LogStream(1000, {"asked_at": moments}))

    assert len(story.asked_at) == 3
    assert story.asked_at[0] >= 10


def refusal(code):
    answer = Answer.of({"error": {"code": code, "message": "no"}})
    return Fault(f"refused with {code}", is_processed=True, change=lambda *_: answer)


@pytest.mark.parametrize(
    "fault",
    [
        faults.http_error(500),
        faults.WEB_PAGE,
        faults.crash(),
        Fault("odd", is_processed=True, change=lambda *_: Answer.of({"logs": 7})),
        Fault(
            "role", is_processed=True, change=lambda *_: Answer.of({"error": {"code": 403, "message": "no"}})
        ),
        Fault(
            "key", is_processed=True, change=lambda *_: Answer.of({"error": {"code": 401, "message": "no"}})
        ),
        Fault(
            "none", is_processed=True, change=lambda *_: Answer.of({"error": {"code": 404, "message": "no"}})
        ),
    ],
    ids=lambda fault: fault.name,
)
def test_log_that_cannot_be_had_costs_one_warning(begin, told, caplog, fault):
    run, story = begin(["load"], prints={"load": ["a"]})
    running(story, run)
    story.mage.inject(fault, times=None, match=LOGS)
    story.steps = [(200, lambda: story.mage.finish(run.id))]

    assert story.wait(run, LogStream(1000)).status.value == "completed"

    assert told() == []
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"Cannot read the log of run {run.id} in Mage; the task goes on without.")
    assert story.clock.now - story.began < 210


def test_log_that_can_be_had_again_is_told_whole(begin, told):
    run, story = begin(["load"], prints={"load": ["a", "b"]})
    running(story, run)
    story.mage.inject(faults.http_error(503), times=2, match=LOGS)
    story.steps = [(100, lambda: story.mage.finish(run.id))]

    story.wait(run, LogStream(1000))

    assert told() == ["[load] a", "[load] b"]


def test_logs_that_are_too_large_at_once_are_asked_for_in_smaller_parts(begin, told, monkeypatch):
    from airflow_provider_mage.api import wire

    monkeypatch.setattr(wire, "LARGEST_ANSWER", 20_000)
    names = [f"block_{number:02}" for number in range(20)]
    run, story = begin(names, prints={name: ["x" * 1000] for name in names})
    story.mage.finish(run.id)

    story.wait(run, LogStream(1000))

    assert len(told()) == 20


def test_children_whose_names_differ_in_signs_share_a_file(begin, told):
    """Mage names the files of `kid:a-b` and `kid:a/b` alike."""
    run, story = begin(["kid:a-b", "kid:a/b"])
    first = running(story, run)
    story.mage.project.print(first, "of the first")
    story.mage.advance(run.id)
    second = running(story, run, 1)
    story.mage.project.print(second, "of the second")
    first.log = second.log = first.log + second.log

    story.steps = [(40, lambda: story.mage.finish(run.id))]
    story.wait(run, LogStream(1000))

    assert told() == ["[kid:a-b] of the first", "[kid:a/b] of the second"]


def test_secrets_are_starred(begin, told):
    secrets.learn("sesame-4711")
    run, story = begin(["load"], prints={"load": ["the password is sesame-4711"]})
    story.mage.finish(run.id)

    story.wait(run, LogStream(1000))

    assert told() == ["[load] the password is ***"]


def test_block_that_begins_again_is_told_from_where_it_was(begin, told):
    """After a repair, Mage adds to the file."""
    run, story = begin(["load"], prints={"load": ["a"]}, fails_at="load", fails_times=1)
    story.mage.advance(run.id, 30)
    logs = LogStream(1000)
    story.wait(run, logs)
    story.client.retry_pipeline_run(run.id)
    story.steps = [(20, lambda: story.mage.advance(run.id, 30))]

    story.wait(run, logs)

    assert told().count("[load] a") == 2  # each time that it has printed it


def test_lines_that_are_to_be_remembered_are_told_at_a_pace(begin, told):
    """What a triggerer logs goes through buffers, and is lost with them when it is killed."""
    run, story = begin(["load"], prints={"load": [str(number) for number in range(2000)]})
    story.mage.finish(run.id)
    at = []

    def save(cursor):
        at.append((cursor["told"], len(told()), story.clock.now - story.began))

    story.wait(run, LogStream(5000, None, save))

    assert [count for count, _, _ in at] == [499, 999, 1499, 1999, 2000]
    assert all(stored == there for stored, there, _ in at)
    assert [int(moment) for _, _, moment in at] == [0, 2, 4, 6, 8]


def test_a_run_is_not_held_up_for_long_by_what_it_has_written(begin, told, monkeypatch):
    monkeypatch.setattr(watch, "LONGEST_TAIL", 3.0)
    run, story = begin(["load"], prints={"load": ["x"] * 3000})
    story.mage.finish(run.id)
    logs = LogStream(3000, None, lambda _: None)

    story.wait(run, logs)
    logs.close("http://mage/logs")

    assert story.clock.now - story.began < 5
    assert len(told()) == 3000


def test_lines_left_out_are_counted_across_restarts(begin, told, caplog):
    run, story = begin(["load"], prints={"load": [str(number) for number in range(3000)]})
    story.mage.finish(run.id)
    cursors = []
    story.wait(run, LogStream(100, None, cursors.append))
    logs = LogStream(100, cursors[-1])
    story.wait(run, logs)
    logs.close("http://mage/logs")

    assert told() == [f"[load] {number}" for number in range(100)]
    assert caplog.messages[-1].startswith("2900 more lines were written than the 100 ")
