from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage.api.models import (
    BlockRun,
    BlockRunStatus,
    PipelineRun,
    PipelineRunStatus,
    PipelineSchedule,
)
from airflow_provider_mage.api.records import parse_datetime
from fakes.project import block_error

UTC = timezone.utc


def block_with(error):
    return BlockRun.from_api(
        {"id": 1, "block_uuid": "b", "status": "failed", "metrics": {"error": error} if error else None}
    )


class OwnError(Exception):
    """A block's own class."""


def raised(error):
    return block_with(block_error(error, "b")).error


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("no rows"), "ValueError: no rows"),
        (
            ValueError("first line\n  second: line\n\nthird"),
            "ValueError: first line\n  second: line\n\nthird",
        ),
        (KeyError("name"), "KeyError: 'name'"),
        (OwnError("mine"), "OwnError: mine"),
        (ValueError("0"), "ValueError: 0"),
        (ValueError("line 10, in b"), "ValueError: line 10, in b"),
        (ValueError("(a+b)*[c]"), "ValueError: (a+b)*[c]"),
        (ValueError("ünïcode ✓"), "ValueError: ünïcode ✓"),
    ],
)
def test_error_of_a_block_has_its_type_and_its_whole_text(error, shown):
    assert raised(error) == shown


def test_error_without_a_text_is_the_last_line_of_its_traceback():
    message = 'Traceback (most recent call last):\n  File "<string>", line 3, in b\nAssertionError\n'

    assert block_with({"error": "", "message": message}).error == "AssertionError"


def test_type_is_found_above_a_note():
    message = "Traceback (most recent call last):\n  ...\nmy.pkg.MyError: it broke\nwhile it broke twice\n"

    assert block_with({"error": "it broke", "message": message}).error == "my.pkg.MyError: it broke"


def test_type_is_that_of_the_error_and_not_of_its_cause():
    message = "KeyError: 'x'\n\nThe above exception was the direct cause ...\n\nValueError: 'x'\n"

    assert block_with({"error": "'x'", "message": message}).error == "ValueError: 'x'"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (None, None),
        ({}, None),
        ({"error": "", "message": ""}, None),
        ({"error": None, "message": None}, None),
        ({"error": "alone"}, "alone"),
        ({"error": "alone", "message": "something else"}, "alone"),
        ({"error": "  padded \n", "message": "ValueError:   padded \n"}, "ValueError: padded"),
        ("plain text ", "plain text"),
        (["a", "list"], "['a', 'list']"),
    ],
)
def test_unusual_errors_of_a_block(error, shown):
    assert block_with(error).error == shown


@given(
    text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(
        lambda text: text == text.strip()
    )
)
def test_text_of_a_blocks_error_is_whole(text):
    assert raised(ValueError(text)).endswith(text)


@pytest.mark.parametrize("text", ["x" * 10**6, "a line\n" * 100_000])
def test_text_of_a_blocks_error_that_is_very_long_is_cut_behind_its_type(text):
    shown = raised(ValueError(text))

    assert shown.startswith(f"ValueError: {text[:100]}")
    assert shown.endswith(f"… ({len(text.strip())} characters)")
    assert len(shown) < 5000


def test_text_of_a_blocks_error_moves_no_cursor_and_can_be_stored():
    assert block_with({"error": "a\x1b[2Jb\0c\nd"}).error == "a [2Jb c\nd"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22 16:12:48", datetime(2026, 11, 22, 16, 12, 48, tzinfo=UTC)),
        ("2026-11-22 16:12:48.123456", datetime(2026, 11, 22, 16, 12, 48, 123456, tzinfo=UTC)),
        ("2026-11-22 16:12:48.123456+00:00", datetime(2026, 11, 22, 16, 12, 48, 123456, tzinfo=UTC)),
        ("2026-11-22T16:12:48Z", datetime(2026, 11, 22, 16, 12, 48, tzinfo=UTC)),
        ("2026-11-22 16:12:48+02:00", datetime(2026, 11, 22, 14, 12, 48, tzinfo=UTC)),
        (None, None),
        ("", None),
    ],
)
def test_dates_are_read_as_utc(text, moment):
    read = parse_datetime(text)

    assert read == moment
    assert read is None or read.utcoffset() == timedelta(0)


@pytest.mark.parametrize("status", list(PipelineRunStatus))
def test_a_run_is_over_if_mage_will_not_touch_it_again(status):
    assert status.is_terminal is (status.value in ("completed", "failed", "cancelled"))


@pytest.mark.parametrize("value", ["", "paused", "Completed"])
def test_unknown_statuses_are_known_as_such(value):
    assert PipelineRunStatus(value) is PipelineRunStatus.UNKNOWN
    assert BlockRunStatus(value) is BlockRunStatus.UNKNOWN


@pytest.mark.parametrize("value", [None, 7, [], {}, True])
def test_what_is_no_text_is_no_status(value):
    with pytest.raises(ValueError, match="status"):
        PipelineRun.from_api({"id": 7, "status": value})


def test_short_form_of_a_run_is_enough():
    run = PipelineRun.from_api({"id": 7, "status": "running", "execution_date": "2026-11-22 16:12:48"})

    assert (run.id, run.pipeline_uuid, run.pipeline_schedule_id, run.block_runs) == (7, "", None, ())


def test_blocks_are_in_the_order_of_their_ids():
    rows = [{"id": number, "block_uuid": f"b{number}", "status": "initial"} for number in (3, 1, 2)]

    run = PipelineRun.from_api({"id": 1, "status": "running", "block_runs": rows})

    assert [block.id for block in run.block_runs] == [1, 2, 3]


def test_null_is_as_good_as_missing():
    row = dict.fromkeys(("pipeline_uuid", "variables", "block_runs", "created_at", "execution_date"))

    run = PipelineRun.from_api({"id": 1, "status": "failed", **row})

    assert (run.pipeline_uuid, dict(run.variables), run.block_runs) == ("", {}, ())


def test_repr_of_a_run_does_not_show_its_variables():
    run = PipelineRun.from_api({"id": 1, "status": "failed", "variables": {"key": "s3cret"}})

    assert "s3cret" not in repr(run)


@pytest.mark.parametrize(("status", "is_active"), [("active", True), ("inactive", False), (None, False)])
def test_only_an_active_schedule_is_active(status, is_active):
    schedule = PipelineSchedule.from_api({"id": 1, "status": status, "token": "s3cret"})

    assert schedule.is_active is is_active
    assert "s3cret" not in repr(schedule)
