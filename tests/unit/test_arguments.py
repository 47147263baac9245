from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage._arguments import read_datetime, read_id, read_name, read_seconds, require_id


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), ("7", 7), (" 7\n", 7), ("007", 7), (0, 0), (None, None)]
)
def test_id_is_a_number_or_its_text(value, number):
    assert read_id(value, "pipeline_run_id") == number


@pytest.mark.parametrize("value", ["", "None", "seven", "7.0", 7.0, "-7", "²", "٣", True, [7], {}, "7 8"])
def test_id_that_is_none_names_the_argument_and_the_value(value):
    with pytest.raises(ValueError, match="`pipeline_run_id` must be a number, not ") as caught:
        read_id(value, "pipeline_run_id")

    assert repr(value) in str(caught.value)
    assert "check the template or the task it comes from." in str(caught.value)


def test_missing_id_that_must_be_there_is_told():
    with pytest.raises(ValueError, match="`pipeline_run_id` is None: check the template or the task"):
        require_id(None, "pipeline_run_id")
    assert require_id("7", "pipeline_run_id") == 7


@pytest.mark.parametrize(("value", "name"), [("c1", "c1"), (" c1\n", "c1"), (7, "7"), (0, "0")])
def test_name_is_a_text_or_a_number(value, name):
    assert read_name(value, "cluster_id", instead="other") == name


@pytest.mark.parametrize("value", [None, "", " ", "None"])
def test_name_that_is_missing_has_a_substitute_or_is_told(value):
    assert read_name(value, "team_id", instead="other") == "other"
    with pytest.raises(ValueError, match="`team_id` is missing: give it to the task, or check the template"):
        read_name(value, "team_id")


@given(text=st.text())
def test_any_text_is_an_id_or_an_error(text):
    try:
        number = read_id(text, "x")
    except ValueError as error:
        number = len(str(error))
    assert number >= 0


@pytest.mark.parametrize(
    ("value", "seconds"), [(7, 7.0), (0.05, 0.05), (timedelta(minutes=2), 120.0), (10**9, 1e9)]
)
def test_time_span_is_seconds_or_a_timedelta(value, seconds):
    assert read_seconds(value, "timeout") == seconds


@pytest.mark.parametrize(
    "value", [0, -1, timedelta(0), timedelta(days=-1), float("nan"), float("inf"), "10", None, True, [10]]
)
def test_time_span_that_is_none_names_the_argument_and_the_value(value):
    with pytest.raises(ValueError, match="`timeout` must be a positive number of seconds or a ") as caught:
        read_seconds(value, "timeout")

    assert repr(value) in str(caught.value)


def test_time_span_may_be_nothing_where_that_makes_sense():
    assert read_seconds(0, "max_unreachable", least=0.0) == 0.0


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (None, None),
        (datetime(2026, 1, 31, tzinfo=timezone.utc), datetime(2026, 1, 31, tzinfo=timezone.utc)),
        ("2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=timezone.utc)),
        ("2026-01-31T06:00:00+09:00", datetime(2026, 1, 31, 6, tzinfo=timezone(timedelta(hours=9)))),
        (" 2026-01-31 06:00:00.123456+00:00 ", datetime(2026, 1, 31, 6, 0, 0, 123456, timezone.utc)),
    ],
)
def test_date_is_a_datetime_or_its_iso_form(value, moment):
    assert read_datetime(value, "execution_date") == moment


def test_date_without_a_zone_stays_so():
    assert read_datetime("2026-01-31", "execution_date").tzinfo is None


@pytest.mark.parametrize("value", ["", "None", "yesterday", "31.01.2026", 20260131.5, "2026-13-01", []])
def test_date_that_is_none_names_the_argument_and_an_example(value):
    with pytest.raises(
        ValueError, match="`execution_date` must be a date in ISO form, such as 2026-"
    ) as caught:
        read_datetime(value, "execution_date")

    assert repr(value) in str(caught.value)
