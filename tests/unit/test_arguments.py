from collections import deque
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined, Undefined

from airflow_provider_mage._arguments import (
    read_choice,
    read_datetime,
    read_id,
    read_mapping,
    read_name,
    read_names,
    read_seconds,
    read_switch,
    read_text,
    require_id,
    shown,
)


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), ("7", 7), (" 7\n", 7), ("007", 7), (0, 0), (None, None)]
)
def test_id_is_a_number_or_its_text(value, number):
    assert read_id(value, "pipeline_run_id") == number


@pytest.mark.parametrize("value", ["", "None", "seven", "7.0", 7.0, "-7", -7, "²", "٣", True, [7], {}, "7 8"])
def test_id_that_is_none_names_the_argument_and_the_value(value):
    with pytest.raises(ValueError, match="`pipeline_run_id` must be a number, not ") as caught:
        read_id(value, "pipeline_run_id")

    assert repr(value) in str(caught.value)
    assert "check the template or the task it comes from." in str(caught.value)


@pytest.mark.parametrize("value", [2**63, str(2**63), "9" * 5000])
def test_id_that_is_larger_than_mage_can_store_is_told(value):
    with pytest.raises(ValueError, match=r"`x` must be a number below 2\*\*63, not ") as caught:
        read_id(value, "x")

    assert len(str(caught.value)) < 200


def test_missing_id_that_must_be_there_is_told():
    with pytest.raises(ValueError, match="`pipeline_run_id` is None: check the template or the task"):
        require_id(None, "pipeline_run_id")
    assert require_id("7", "pipeline_run_id") == 7


MIDNIGHT = datetime(2026, 1, 31)  # noqa: DTZ001  as is a date


class Color(Enum):
    RED = "red"


UUID_4711 = UUID(int=4711)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("c1", "c1"),
        (" c1\n", "c1"),
        (7, "7"),
        (0, "0"),
        (2024, "2024"),
        (Color.RED, "red"),
        (UUID_4711, str(UUID_4711)),
        ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
        ("x" * 255, "x" * 255),
    ],
)
def test_name_is_a_text_or_a_number(value, name):
    assert read_name(value, "cluster_id", instead="other") == name


@pytest.mark.parametrize("value", [None, "", " ", "None"])
def test_name_that_is_missing_has_a_substitute_or_is_told(value):
    assert read_name(value, "team_id", instead="other") == "other"
    with pytest.raises(ValueError, match="`team_id` is missing: give it to the task, or check the template"):
        read_name(value, "team_id")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2024.0, r"`pipeline_uuid` must be a text, not float \(2024.0\): write it in quotes"),
        (True, r"must be a text, not bool \(True\)"),
        (date(2026, 1, 31), r"must be a text, not date \(datetime.date"),
        (["a"], r"must be a text, not list \(\['a'\]\)"),
        ({"a": 1}, "must be a text, not dict"),
        (b"a", "must be a text, not bytes"),
        (object(), "must be a text, not object"),
        ("a\0b", r"`pipeline_uuid` cannot be 'a\\x00b': nothing in Mage has such a name"),
        ("a\nb", "nothing in Mage has such a name"),
        ("a\ud800", "nothing in Mage has such a name"),
        ("..", "nothing in Mage has such a name"),
        ("x" * 256, "`pipeline_uuid` has 256 characters, and may have 255: 'xxx"),
        (10**5000, "must be a text, not int"),
        (
            Undefined(name="data_interval_start"),
            "`pipeline_uuid` is a template that is undefined in this run, as there is no 'data_interval_st",
        ),
        (
            StrictUndefined(name="x"),
            "undefined in this run, as there is no 'x': check it, or write a default",
        ),
        (StrictUndefined(), "undefined in this run: check it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_name_that_is_none_is_told_with_its_type_or_what_is_wrong_with_it(value, says):
    with pytest.raises(ValueError, match=says) as caught:
        read_name(value, "pipeline_uuid")

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("reader", [read_id, read_name, read_names, read_datetime, read_mapping])
def test_undefined_template_is_told_by_every_reader(reader):
    with pytest.raises(
        ValueError, match="`x` is a template that is undefined in this run, as there is no 'y'"
    ):
        reader(StrictUndefined(name="y"), "x")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        (["b", "a"], ["b", "a"]),
        (("a",), ["a"]),
        ({"b", "a"}, ["a", "b"]),
        (deque(["a"]), ["a"]),
        (iter(["a", 1]), ["a", "1"]),
    ],
)
def test_names_are_a_list_or_anything_like_it(value, names):
    assert read_names(value, "remove") == names


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("A", "`remove` must be a list of names, not one text: .*`render_template_as_native_obj=True`"),
        (b"A", "`remove` must be a list of names, not bytes"),
        ({"A": 1}, "`remove` must be a list of names, not dict"),
        (7, "`remove` must be a list of names, not int"),
        ([None], "`remove` is missing: .* It is None"),
        ([["a"]], "`remove` must be a text, not list"),
    ],
)
def test_names_that_are_none_are_told(value, says):
    with pytest.raises(ValueError, match=says):
        read_names(value, "remove")


def test_mapping_is_anything_like_a_dictionary():
    assert read_mapping(MappingProxyType({"a": 1}), "variables") == {"a": 1}


def test_mapping_as_text_says_how_to_get_one():
    with pytest.raises(ValueError, match="not a text: a template gives text unless the DAG has `render_"):
        read_mapping("{'a': 1}", "variables")


@pytest.mark.parametrize("value", ["false", None, 0, 1, "", []])
def test_switch_is_on_or_off(value):
    """A text would count as true, whatever it says."""
    with pytest.raises(ValueError, match="`durable` must be True or False, not "):
        read_switch(value, "durable")


@pytest.mark.parametrize("value", ["restart", None, "", 7, ["warn"], "WARN"])
def test_choice_is_one_of_some_words(value):
    with pytest.raises(ValueError, match="`on_stall` must be one of warn, fail, not ") as caught:
        read_choice(value, "on_stall", ("warn", "fail"))

    assert repr(value) in str(caught.value)


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
    "value",
    [0, -1, timedelta(0), timedelta(days=-1), float("nan"), float("inf"), "10", None, True, [10]],
)
def test_time_span_that_is_none_names_the_argument_and_the_value(value):
    with pytest.raises(ValueError, match="`timeout` must be a positive number of seconds or a ") as caught:
        read_seconds(value, "timeout")

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [1e10, 10**400, 10**5000], ids=shown)
def test_time_span_that_no_clock_can_wait_for_is_told(value):
    with pytest.raises(ValueError, match="`timeout` must be at most 1000000000 seconds, not "):
        read_seconds(value, "timeout")


def test_time_span_may_be_nothing_where_that_makes_sense():
    assert read_seconds(0, "max_unreachable", least=0.0) == 0.0


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (None, None),
        (datetime(2026, 1, 31, tzinfo=timezone.utc), datetime(2026, 1, 31, tzinfo=timezone.utc)),
        ("2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=timezone.utc)),
        ("2026-01-31T06:00:00+09:00", datetime(2026, 1, 31, 6, tzinfo=timezone(timedelta(hours=9)))),
        ("20260131", MIDNIGHT),
        (20260131, MIDNIGHT),
        (date(2026, 1, 31), MIDNIGHT),
        (" 2026-01-31 06:00:00.123456+00:00 ", datetime(2026, 1, 31, 6, 0, 0, 123456, timezone.utc)),
    ],
)
def test_date_is_a_datetime_or_its_iso_form(value, moment):
    assert read_datetime(value, "execution_date") == moment


def test_date_without_a_zone_stays_so():
    assert read_datetime("2026-01-31", "execution_date").tzinfo is None


@pytest.mark.parametrize(
    "value", ["", "None", "yesterday", "31.01.2026", 20260131.5, "2026-13-01", [], 7, 20261301, True, time(6)]
)
def test_date_that_is_none_names_the_argument_and_an_example(value):
    with pytest.raises(
        ValueError, match="`execution_date` must be a date in ISO form, such as 2026-"
    ) as caught:
        read_datetime(value, "execution_date")

    assert repr(value) in str(caught.value)


def test_date_at_the_end_of_the_calendar_is_none_in_utc():
    with pytest.raises(ValueError, match="`execution_date` must be a date"):
        read_datetime(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "execution_date")


def test_text_keeps_its_lines():
    assert read_text("  a:\n  - b\n", "message", longest=20) == "  a:\n  - b\n"


@pytest.mark.parametrize("value", ["", " ", "None", None, ["a"], "a\0", "\ud800", "x" * 21])
def test_text_that_is_none_is_told(value):
    with pytest.raises(ValueError, match="`message`"):
        read_text(value, "message", longest=20)
