"""What a finished run means."""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mage._runs.reasons import WRITTEN_WITHIN
from airflow_provider_mage._runs.report import KILLED_REASON, failure_of
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus, PipelineRun, PipelineRunStatus
from fakes import faults

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
        "Run 7 of pipeline p failed.",
        "Block b failed: ValueError: no rows",
        f"See {URL}",
    ]
    assert (failure.pipeline_run_id, failure.status, failure.failed_blocks) == (7, "failed", ("b",))


def test_every_failed_block_gives_its_own_reason():
    failure = failure_of(run_with("failed", block("a"), block("b", error="KeyError: 'x'", number=2)), URL)

    assert "Block a failed: ValueError: no rows\nBlock b failed: KeyError: 'x'" in str(failure)
    assert failure.failed_blocks == ("a", "b")


def test_reason_of_many_lines_is_kept_whole():
    failure = failure_of(run_with("failed", block("b", error="ValueError: 2 rows are bad:\n  1\n  2")), URL)

    assert "Block b failed: ValueError: 2 rows are bad:\n  1\n  2\nSee" in str(failure)


def test_block_without_a_reason_points_at_its_log():
    failure = failure_of(run_with("failed", block("b", error=None)), URL)

    assert "Block b failed, and gave no reason that could be read; its log in Mage may." in str(failure)


@pytest.mark.parametrize("blocks", [(), (block("b", "completed"),), (block("b", "upstream_failed"),)])
def test_failed_run_without_a_failed_block_points_at_its_log(blocks):
    assert "No block says why; the run's log in Mage may." in str(
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
        "Block c failed, and gave no reason that could be read; its log in Mage may.",
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


# With Mage's logs


@pytest.fixture
def failed_run(mage, client):
    """Return a run whose block `clean` has failed, as the client sees it."""

    def fail(**options):
        blocks = options.pop("blocks", ["load", "clean", "export"])
        mage.pipeline("p", blocks, fails_at=options.pop("fails_at", "clean"), **options)
        run = mage.pipeline_run(mage.pipeline_schedule("p"))
        mage.advance(run.id, 30)
        return client.get_pipeline_run(run.id)

    return fail


@pytest.mark.parametrize("fails_silently", [False, True])
def test_reason_has_the_line_of_the_authors_code(client, failed_run, fails_silently):
    """Of the children of dynamic blocks, and of runs in one process, only the log says why."""
    failure = failure_of(failed_run(fails_silently=fails_silently), URL, client)

    assert str(failure).splitlines()[1:] == [
        "Block clean failed: ValueError: no rows in clean",
        "  at line 10 of its code, in clean: raise ValueError(reason)",
        f"See {URL}",
    ]


def test_newest_error_is_told_after_a_repair(mage, client, failed_run):
    run = failed_run()
    mage.project.pipelines["p"].error = KeyError("amount")
    client.retry_pipeline_run(run.id)
    mage.advance(run.id, 30)
    run = client.get_pipeline_run(run.id)

    assert run.block_runs[1].error == "ValueError: no rows in clean"  # Mage's record of the first failure
    for old_errors in ((), (run.block_runs[1].id,), None):
        assert "Block clean failed: KeyError: 'amount'" in str(
            failure_of(run, URL, client, old_errors=old_errors)
        )


def test_error_of_an_earlier_attempt_is_not_told_as_this_ones(mage, client, failed_run):
    """A block that was begun once more, and was killed, has written no error."""
    run = failed_run(fails_silently=True)
    block = mage.pipeline_runs[run.id].block_runs[1]
    block.log += block.log.splitlines(keepends=True)[0]

    failure = str(failure_of(run, URL, client))

    assert "Block clean failed, and gave no reason that could be read" in failure


def test_callback_that_fails_behind_its_block_is_not_the_reason(mage, client, failed_run):
    run = failed_run()
    block = mage.pipeline_runs[run.id].block_runs[1]
    log = block.log.replace(
        "Failed to execute block clean", "Failed to execute on_failure callback block cb for"
    )
    block.log += "".join(log.replace("no rows", "callback").splitlines(keepends=True)[1:])

    assert "Block clean failed: ValueError: no rows in clean" in str(failure_of(run, URL, client))


def test_test_of_the_authors_is_told_with_its_assertion(client, failed_run):
    header = "Traceback (most recent call last):"
    printed = [
        "FAIL: t (block: clean)",
        header,
        '  File "<string>", line 10, in t',
        "AssertionError: not two",
        "0/1",
    ]
    error = Exception("Failed to pass tests for block clean")

    failure = failure_of(failed_run(prints={"clean": printed}, error=error), URL, client)

    told = "Block clean failed: Exception: Failed to pass tests for block clean (AssertionError: not two)"
    assert told in str(failure)


def test_last_lines_of_the_block_go_into_the_log(client, failed_run, caplog):
    lines = [f"line {number}" for number in range(30)]
    with caplog.at_level("INFO"):
        failure_of(failed_run(prints={"clean": lines, "load": ["not this one"]}), URL, client)

    told = [record.getMessage() for record in caplog.records if "airflow_provider_mage" in record.name]
    assert told == [
        "::group::Mage log of block clean, the last 20 of 30 lines",
        *(f"[clean] line {number}" for number in range(10, 30)),
        "::endgroup::",
    ]


def test_no_lines_no_request_for_the_log(mage, client, failed_run, caplog):
    with caplog.at_level("INFO"):
        failure = failure_of(failed_run(prints={"clean": ["a"]}), URL, client, last_lines=0)

    assert "ValueError: no rows in clean\n  at line 10" in str(failure)
    assert not mage.requests_of("GET", "/logs$")
    assert "[clean]" not in caplog.text


def test_log_that_cannot_be_read_changes_nothing(mage, client, failed_run, caplog):
    run = failed_run()
    mage.inject(faults.http_error(500), times=None, match=("GET", "/logs$"))

    failure = failure_of(run, URL, client)

    assert "Block clean failed: ValueError: no rows in clean" in str(failure)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"Cannot read why run {run.id} has failed in Mage's log.")


def test_run_without_a_failed_block_is_explained_by_the_schedulers_log(client, failed_run):
    """The block runs of an integration pipeline with a bad configuration cannot even be made."""
    run = failed_run(fails_silently=True)

    failure = failure_of(replace(run, block_runs=()), URL, client)

    assert "None of its blocks has failed; Mage's log says: ValueError: no rows in clean" in str(failure)


def test_reason_that_mage_writes_just_after_the_run_has_failed_is_found(
    mage, client, clock, failed_run, edited
):
    run = failed_run(fails_silently=True)

    def has_not_written(data):
        for name in ("block_run_logs", "pipeline_run_logs"):
            data["logs"][0][name] = []

    mage.inject(edited(has_not_written), match=("GET", "/logs$"))
    failure = failure_of(replace(run, block_runs=()), URL, client)

    assert "Mage's log says: ValueError: no rows in clean" in str(failure)
    assert clock.sleeps == [WRITTEN_WITHIN]


def test_of_many_failed_blocks_some_are_explained_and_the_others_named():
    blocks = [block(f"kid:{number}", error="E: 1\n2\n3\n4\n5\n6", number=number) for number in range(40)]

    lines = str(failure_of(run_with("failed", *blocks), URL)).splitlines()

    assert len(lines) <= 20
    assert lines[1:7] == [
        "Block kid:0 failed: E: 1",
        "2",
        "3",
        "4",
        "… (and more lines)",
        "Block kid:1 failed: E: 1",
    ]
    assert lines[-2].startswith("37 other blocks failed: kid:3, kid:4, ")
    assert lines[-2].endswith("kid:22 and 17 more.")
