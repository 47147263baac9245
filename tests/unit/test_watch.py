"""The books on a run that is being waited for: when to look, and when it counts as stalled."""

import pytest

from airflow_provider_mage._runs.watch import RunWatch, WaitRules
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus

RUNNING = PipelineRunStatus.RUNNING


def a_run(status=RUNNING, *block_statuses, is_orphan=False):
    blocks = tuple(BlockRun(number, "b", BlockRunStatus(one)) for number, one in enumerate(block_statuses))
    return PipelineRun(1, status, block_runs=blocks, is_orphan=is_orphan)


def test_looks_become_rarer_and_never_miss_the_deadline(clock):
    watch = RunWatch(1, WaitRules(poll_interval=60, deadline=clock.time() + 100), clock=clock)

    looks = 0
    while clock.time() < watch.rules.deadline:
        watch.check_deadline()
        clock.sleep(watch.next_pause())
        looks += 1

    assert clock.sleeps[:3] == [1.0, 1.5, 2.25]
    assert looks < 15
    assert clock.time() == pytest.approx(watch.rules.deadline, abs=0.1)
    with pytest.raises(TimeoutError):
        watch.check_deadline()


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
def test_run_that_stands_still_is_stalled_unless_something_may_be_running(clock, run, is_stalled):
    watch = RunWatch(1, WaitRules(stall_timeout=300), clock=clock)

    assert watch.saw(run) is False
    clock.sleep(299)
    assert watch.saw(run) is False
    clock.sleep(301)
    assert watch.saw(run) is is_stalled
