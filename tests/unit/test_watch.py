"""The wait for a run as a state machine: what it says to what is seen, at which time."""

import math

import pytest

from airflow_provider_mage._runs.identity import Claim, RunIdentity
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.watch import CheckForDuplicates, HandleStall, RunWatch
from airflow_provider_mage._waiting.watch import Over, Reachable, Wait
from airflow_provider_mage.api.errors import MageError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus

RUNNING, COMPLETED = PipelineRunStatus.RUNNING, PipelineRunStatus.COMPLETED
IDENTITY = RunIdentity("key", "nonce", 1)
OUT_OF_REACH = MageTransportError("no answer", temporary=True)


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

    assert one.step(None, 5.0) == Wait(1.0, None)


@pytest.mark.parametrize(
    ("run", "is_stalled"),
    [
        (a_run(PipelineRunStatus.INITIAL), True),
        (a_run(RUNNING, "queued", "initial"), True),
        (a_run(RUNNING, "running", "queued"), False),
        (a_run(RUNNING), False),  # a stream
        (a_run(RUNNING, is_orphan=True), True),
    ],
)
def test_run_that_stands_still_is_stalled_unless_something_may_be_running(run, is_stalled):
    one = watch(stall_timeout=300, on_stall="repair")

    assert isinstance(one.step(run, 0.0), Wait)
    assert isinstance(one.step(run, 299.0), Wait)
    step = one.step(run, 600.0)
    assert step == HandleStall(run, one.rules) if is_stalled else isinstance(step, Wait)
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
        one.step(OUT_OF_REACH, now + 590)
        one.step(Reachable(), now + 591)
        now += 1200

    one.step(OUT_OF_REACH, now)
    with pytest.raises(MageTransportError, match="Cannot reach Mage since 1970-01-01 01:00:00 UTC") as caught:
        one.step(None, now + 600)
    assert caught.value.__cause__ is OUT_OF_REACH


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
    assert one.step(None, 100.0).wake_in is None


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
    with pytest.raises(ValueError, match="`on_stall` must be one of warn, fail, repair"):
        RunRules(on_stall="panic")
