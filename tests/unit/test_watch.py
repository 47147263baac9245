"""The wait for a run as a state machine: what it says to what is seen, at which time."""

import math
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from airflow_provider_mage._runs.identity import Claim, RunIdentity
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.stall import HandleStall
from airflow_provider_mage._runs.watch import HEARTBEAT, CheckForDuplicates, LookForStream, RunWatch
from airflow_provider_mage._waiting.watch import Over, Reachable, Unreachable, Wait
from airflow_provider_mage.api.errors import MageAnswerError, MageError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus

RUNNING, COMPLETED = PipelineRunStatus.RUNNING, PipelineRunStatus.COMPLETED
IDENTITY = RunIdentity("key", "nonce", 1)
OUT_OF_REACH = MageTransportError("no answer", temporary=True)
NONSENSE = MageAnswerError("what?")


def a_run(status=RUNNING, *block_statuses, is_orphan=False):
    blocks = tuple(BlockRun(number, "b", BlockRunStatus(one)) for number, one in enumerate(block_statuses))
    variables = {"airflow": IDENTITY.as_variable()}
    return PipelineRun(1, status, block_runs=blocks, variables=variables, is_orphan=is_orphan)


def watch(claim=None, **rules):
    return RunWatch(1, RunRules(**rules), claim)


def test_looks_become_rarer_and_never_miss_the_deadline():
    one, now, pauses = watch(poll_interval=60, deadline=100.0), 0.0, []
    while now <= 100.0:
        pauses.append(one.step(a_run(RUNNING, "running"), now).look_in)
        now += pauses[-1]
    with pytest.raises(TimeoutError, match=r"^Timed out: Run 1 is running"):
        one.step(a_run(RUNNING, "running"), now)

    assert pauses[:3] == [1.0, 1.5, 2.25]
    assert len(pauses) < 15
    assert now == pytest.approx(100.0, abs=0.1)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_wait_is_over_with_the_run(status):
    run = a_run(PipelineRunStatus(status))

    assert watch().step(run, 0.0) == Over(run)


def test_run_that_is_over_is_believed_even_after_the_deadline():
    assert watch(deadline=10.0).step(a_run(COMPLETED), 11.0) == Over(a_run(COMPLETED))


def test_nothing_new_is_nothing_to_do():
    one = watch()
    one.step(a_run(), 0.0)

    assert one.step(None, 5.0) == Wait(1.0, pytest.approx(HEARTBEAT - 5.0, abs=0.1))


@pytest.mark.parametrize(
    ("run", "is_stalled"),
    [
        (a_run(PipelineRunStatus.INITIAL), True),
        (a_run(RUNNING, "queued", "initial"), True),
        (a_run(RUNNING, "running", "queued"), False),
        (a_run(RUNNING, is_orphan=True), True),
    ],
)
def test_run_that_stands_still_is_stalled_unless_something_may_be_running(run, is_stalled):
    one = watch(stall_timeout=300, on_stall="warn")

    assert isinstance(one.step(run, 0.0), Wait)
    assert isinstance(one.step(run, 299.0), Wait)
    step = one.step(run, 600.0)
    assert step == HandleStall(run, one.rules, 600.0) if is_stalled else isinstance(step, Wait)
    assert isinstance(one.step(None, 600.0), Wait)


def test_run_did_not_stand_still_while_nobody_looked():
    one = watch(stall_timeout=300, max_unreachable=1000)
    one.step(a_run(RUNNING, "queued"), 0.0)
    one.step(OUT_OF_REACH, 10.0)

    assert isinstance(one.step(a_run(RUNNING, "queued"), 400.0), Wait)


def test_outage_is_over_when_mage_answers_again():
    one, now = watch(max_unreachable=600), 0.0
    for _ in range(3):
        one.step(OUT_OF_REACH, now)
        one.step(OUT_OF_REACH, now + 290)
        one.step(Reachable(), now + 291)
        now += 1200

    one.step(Reachable(), now - 10)
    one.step(OUT_OF_REACH, now)
    with pytest.raises(MageTransportError, match="Cannot reach Mage since 1970-01-01 00:59:50 UTC") as caught:
        one.step(None, now + 590)
    assert caught.value.__cause__ is OUT_OF_REACH


def test_mage_is_out_of_reach_since_its_last_answer_to_anybody():
    """In a triggerer, this run's own last look may be long ago."""
    one = watch(max_unreachable=600)
    one.step(a_run(RUNNING, "running"), 0.0)

    assert isinstance(one.step(Unreachable(OUT_OF_REACH, 1000.0), 1010.0), Wait)
    assert isinstance(one.step(Unreachable(OUT_OF_REACH, 1000.0), 1599.0), Wait)
    with pytest.raises(MageTransportError, match="since 1970-01-01 00:16:40 UTC"):
        one.step(None, 1600.0)


def test_one_look_that_fails_is_not_an_outage_however_rare_looks_are():
    one = watch(max_unreachable=60)
    one.step(a_run(RUNNING, "running"), 0.0)

    assert one.step(OUT_OF_REACH, 1000.0).wake_in == pytest.approx(30.0, abs=0.1)
    with pytest.raises(MageTransportError, match="Cannot reach Mage"):
        one.step(OUT_OF_REACH, 1030.0)


def test_job_that_may_be_lost_is_looked_into_before_the_run_counts_as_stalled():
    run = a_run(RUNNING, "completed", "queued")
    one = watch()
    one.step(run, 0.0)

    assert isinstance(one.step(run, 59.0), Wait)
    assert one.step(run, 60.0) == HandleStall(run, one.rules, 60.0)
    assert isinstance(one.step(None, 60.0), Wait)
    assert one.step(run, 120.0) == HandleStall(run, one.rules, 120.0)
    for on_stall in ("warn", "fail"):
        other = watch(on_stall=on_stall)
        other.step(run, 0.0)
        assert isinstance(other.step(run, 299.0), Wait)
        assert other.step(run, 300.0) == HandleStall(run, other.rules, 300.0)


def turns(*statuses, metrics=False):
    """A block, look by look; Mage changes its row whenever it changes its status."""
    for second, status in enumerate(statuses):
        block = BlockRun(
            1,
            "b",
            BlockRunStatus(status),
            updated_at=datetime.fromtimestamp(second, timezone.utc),
            has_metrics=metrics,
        )
        yield PipelineRun(1, RUNNING, block_runs=(block,))


@pytest.mark.parametrize(
    "statuses",
    [
        ("queued", "running", "queued", "running", "queued", "running", "initial"),
        ("running", "running", "running", "running"),  # each time, the queue was between two looks
    ],
)
def test_block_whose_process_ends_again_and_again_is_no_progress(statuses):
    one = watch()
    steps = [one.step(run, float(second)) for second, run in enumerate(turns(*statuses))]

    assert all(isinstance(step, Wait) for step in steps[:-1])
    assert steps[-1].fallen == "b"
    # Mage was away: that its processes have ended is not the block's fault.
    for second, run in enumerate(turns(*statuses), 100):
        assert isinstance(one.step(run, float(second)), Wait)
        one.step(OUT_OF_REACH, second + 0.1)


@pytest.mark.parametrize(
    "runs",
    [
        turns("queued", "running", "completed", "queued"),
        turns(*["running"] * 9, metrics=True),  # Mage notes something in them meanwhile
        [a_run(RUNNING, "running")] * 9,
    ],
)
def test_block_that_goes_on_has_not_fallen(runs):
    one = watch()

    assert all(isinstance(one.step(run, float(n)), Wait) for n, run in enumerate(runs))


def test_run_without_blocks_is_looked_into_once_as_it_may_be_a_stream():
    one = watch()

    assert isinstance(one.step(a_run(RUNNING), 0.0), Wait)  # a repair is answered without blocks, too
    assert one.step(a_run(RUNNING), 1.0) == LookForStream(a_run(RUNNING))
    assert all(isinstance(one.step(a_run(RUNNING), float(second)), Wait) for second in range(2, 1000))


def test_block_that_only_looks_for_the_items_of_a_dynamic_one_is_not_working():
    """Mage gives up after two minutes; with several dynamic blocks before it, later."""
    spawner = BlockRun(1, "kid", BlockRunStatus("running"), spawns_children=True)
    child = BlockRun(2, "kid:0", BlockRunStatus("running"))
    for blocks, is_stalled in (((spawner,), True), ((spawner, child), False)):
        run = PipelineRun(1, RUNNING, block_runs=blocks)
        one = watch()
        one.step(run, 0.0)
        assert isinstance(one.step(run, 300.0), HandleStall) == is_stalled


def test_error_that_a_block_has_before_it_fails_is_not_of_that_failure():
    def failing(status, number=1):
        return BlockRun(number, "b", BlockRunStatus(status), has_error=True)

    one = watch(Claim(IDENTITY, old_errors=(3,)))
    one.step(replace(a_run(), block_runs=(failing("queued"), failing("failed", 2))), 0.0)

    assert one.old_errors == {1, 3}


def test_answer_that_makes_no_sense_is_waited_out_if_there_was_a_better_one(caplog):
    one = watch(max_unreachable=100)
    one.step(a_run(RUNNING, "running"), 0.0)

    for now in range(0, 90, 10):
        one.step(NONSENSE, now)
    with pytest.raises(MageTransportError, match="No usable answer from Mage since 1970-01-01 00:00:00 UTC"):
        one.step(NONSENSE, 200.0)

    assert (
        caplog.text.count("No usable answer from Mage; the state of run 1 is unknown. Retrying. what?") == 1
    )


def test_answer_that_never_made_sense_ends_the_wait():
    with pytest.raises(MageAnswerError, match=r"what\?"):
        watch().step(NONSENSE, 0.0)


def test_error_that_will_not_pass_ends_the_wait():
    with pytest.raises(MageNotFoundError):
        watch().step(MageNotFoundError("none"), 0.0)


@pytest.mark.parametrize("limits", [{"deadline": 20.0}, {"max_unreachable": 20.0}])
def test_pause_that_a_server_asks_for_outlasts_no_limit(limits):
    error = MageTransportError("later", temporary=True, retry_after=60.0)

    assert watch(poll_interval=1.0).step(error, 0.0).look_in == 60.0
    step = watch(poll_interval=1.0, **limits).step(error, 0.0)
    assert step.look_in == step.wake_in == pytest.approx(20.0, abs=0.1)


CLAIM = Claim(IDENTITY, 3, 1, (10.0, 30.0, 70.0))
CHECK = CheckForDuplicates(1, CLAIM)


def test_duplicates_are_looked_for_in_time_and_each_time_once():
    one = watch(CLAIM)
    assert one.step(a_run(), 0.0).wake_in == pytest.approx(10.0, abs=0.1)
    for at in CLAIM.checks_at:
        assert one.step(None, at) == CHECK
        assert isinstance(one.step(None, at), Wait)
    assert one.step(None, 100.0).wake_in > 100.0  # nothing but a heartbeat


def test_triggerer_that_comes_late_looks_once_for_all_that_was_missed():
    one = watch(CLAIM)

    assert one.step(None, 1000.0) == CHECK
    assert isinstance(one.step(None, 1000.0), Wait)


def test_duplicates_are_looked_for_when_the_run_is_over_as_nobody_will_later():
    one = watch(CLAIM)

    assert one.step(a_run(COMPLETED), 5.0) == CHECK
    assert one.step(None, 5.0) == Over(a_run(COMPLETED))


@pytest.mark.parametrize("claim", [None, Claim(IDENTITY), CLAIM])
def test_duplicates_are_not_looked_for_where_there_can_be_none(claim):
    """The last of these was cancelled: another attempt of the task may have kept another run."""
    run = a_run(PipelineRunStatus.CANCELLED)

    assert watch(claim).step(run, 5.0) == Over(run)


def test_run_of_another_task_under_the_same_id_is_not_believed():
    run = PipelineRun(1, COMPLETED, variables={"airflow": {"run_key": "another", "nonce": "x"}})

    with pytest.raises(MageError, match="Run 1 belongs to another task now"):
        watch(Claim(IDENTITY)).step(run, math.inf)


def test_rules_are_the_same_after_their_journey_and_outlive_other_versions():
    stored = {"poll_interval": 5.0, "deadline": 9.0, "max_unreachable": 8.0, "stall_timeout": 7.0}

    assert RunRules.from_dict({**stored, "on_stall": "fail", "of another version": 1}) == RunRules(
        **stored, on_stall="fail"
    )
    with pytest.raises(ValueError, match="`on_stall` must be one of repair, warn, fail"):
        RunRules(on_stall="panic")
