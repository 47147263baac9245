"""What a finished run means."""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mage._runs.report import KILLED_REASON, failure_of
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus

URL = "http://mage/pipelines/p/runs/7"


def run_with(status, *blocks):
    return PipelineRun(7, PipelineRunStatus(status), pipeline_uuid="p", block_runs=tuple(blocks))


def block(name, status="failed", error="ValueError: no rows", number=1):
    return BlockRun(number, name, BlockRunStatus(status), error)


def test_completed_is_the_only_success():
    assert failure_of(run_with("completed"), URL) is None
    for status in set(PipelineRunStatus) - {PipelineRunStatus.COMPLETED}:
        assert failure_of(run_with(status), URL) is not None


def test_completed_run_with_a_failed_block_is_what_mage_says():
    """As with `allow_blocks_to_fail` repaired, or a block that completed on its second attempt."""
    assert failure_of(run_with("completed", block("b")), URL) is None


def test_failure_names_run_block_reason_and_link():
    failure = failure_of(
        run_with("failed", block("a", "completed"), block("b"), block("c", "cancelled")), URL
    )

    assert str(failure).splitlines() == [
        "Run 7 of pipeline p is failed.",
        "Block b failed: ValueError: no rows",
        f"See {URL}",
    ]
    assert (failure.pipeline_run_id, failure.status, failure.failed_blocks) == (7, "failed", ("b",))


def test_every_failed_block_gives_its_own_reason():
    failure = failure_of(run_with("failed", block("a"), block("b", error="KeyError: 'x'")), URL)

    assert "Block a failed: ValueError: no rows\nBlock b failed: KeyError: 'x'" in str(failure)
    assert failure.failed_blocks == ("a", "b")


def test_reason_of_many_lines_is_kept_whole():
    failure = failure_of(run_with("failed", block("b", error="ValueError: 2 rows are bad:\n  1\n  2")), URL)

    assert "Block b failed: ValueError: 2 rows are bad:\n  1\n  2\nSee" in str(failure)


def test_block_without_a_reason_points_at_its_log():
    failure = failure_of(run_with("failed", block("b", error=None)), URL)

    assert "Block b failed: it gave no reason; its log in Mage may." in str(failure)


@pytest.mark.parametrize("blocks", [(), (block("b", "completed"),), (block("b", "upstream_failed"),)])
def test_failed_run_without_a_failed_block_points_at_its_log(blocks):
    assert "No block says why; the run's log in Mage does." in str(
        failure_of(run_with("failed", *blocks), URL)
    )


def test_cancelled_run_is_a_failure_of_its_own_kind():
    failure = failure_of(run_with("cancelled", block("b", "cancelled")), URL)

    assert failure.status == "cancelled"
    assert "It was cancelled in Mage" in str(failure)


def test_cancelled_run_with_a_failed_block_names_it():
    assert "Block b failed" in str(failure_of(run_with("cancelled", block("b")), URL))


def test_failure_survives_the_way_to_another_process():
    failure = failure_of(run_with("failed", block("b")), URL)

    arrived = pickle.loads(pickle.dumps(failure))  # noqa: S301  our own

    assert (str(arrived), vars(arrived)) == (str(failure), vars(failure))


def test_error_is_quoted_as_this_failures_only_where_it_is():
    run = run_with("failed", block("a"), block("b", number=2), block("c", error=None, number=3))

    assert str(failure_of(run, URL, old_errors={2, 3})).splitlines()[1:-1] == [
        "Block a failed: ValueError: no rows",
        "Block b failed again: Mage keeps a block's first error only; its log in Mage has this one.",
        "Block c failed: it gave no reason; its log in Mage may.",
    ]
    assert str(failure_of(run, URL, old_errors=None)).splitlines()[1:3] == [
        "Block a failed; its first error in this run: ValueError: no rows",
        "Block b failed; its first error in this run: ValueError: no rows",
    ]


def test_known_reason_of_a_cancelled_run_is_given():
    assert "This task was killed" in str(failure_of(run_with("cancelled"), URL, reason=KILLED_REASON))


@pytest.mark.parametrize(
    ("status", "seconds", "settings", "is_named"),
    [
        ("failed", 60, {"timeout": 60}, True),
        ("failed", 60, {"timeout": "60"}, True),
        ("cancelled", 70, {"timeout": 60, "timeout_status": "cancelled"}, True),
        ("failed", 50, {"timeout": 60}, False),
        ("cancelled", 70, {"timeout": 60}, False),
        ("failed", 70, {}, False),
        ("failed", 70, None, False),
    ],
)
def test_time_out_of_the_schedule_is_named_only_if_all_agrees(
    mage, client, status, seconds, settings, is_named
):
    schedule = mage.pipeline_schedule("daily_orders")
    schedule.settings = settings
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    dates = {"started_at": began, "updated_at": began + timedelta(seconds=seconds)}
    run = replace(run_with(status, block("b", "cancelled")), pipeline_schedule_id=schedule.id, **dates)

    assert ("the timeout of its pipeline schedule 1" in str(failure_of(run, URL, client))) == is_named
    with mage.down():  # then it is not known, and the failure is told all the same
        assert failure_of(run, URL, client).status == status
