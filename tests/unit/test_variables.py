"""Variables are checked before anything is sent, and the error names the spot."""

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage._runs.identity import RunIdentity
from airflow_provider_mage._runs.variables import check_variables, run_variables

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
END = START + timedelta(days=1)
IDENTITY = RunIdentity("key", "nonce", 1)


@pytest.mark.parametrize(
    "name",
    [
        "airflow",
        "env",
        "ds",
        "hr",
        "event",
        "execution_date",
        "execution_partition",
        "pipeline_run_id",
        "trigger_name",
    ],
)
def test_name_that_mage_overwrites_is_refused_with_advice(name):
    with pytest.raises(
        ValueError, match=f"variable name '{name}' is reserved, as Mage sets it itself: .+\\.$"
    ):
        check_variables({name: 1})


@pytest.mark.parametrize("name", ["DS", "environment", "interval_seconds", "my_env", ""])
def test_other_names_are_free(name):
    assert check_variables({name: 1}) == {name: 1}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"rate": float("nan")}, "Variable rate is nan, which JSON cannot hold: use None or a string"),
        ({"rate": float("-inf")}, "Variable rate is -inf"),
        ({"day": date(2026, 3, 1)}, "Variable day is of type date, .* convert it first, .* .isoformat"),
        ({"now": START}, "Variable now is of type datetime"),
        ({"sum": Decimal(1)}, "Variable sum is of type Decimal"),
        ({"names": {"a"}}, "Variable names is of type set"),
        ({"raw": b"bytes"}, "Variable raw is of type bytes"),
        ({"it": object}, "Variable it is of type type"),
        ({"a": {"b": [1, {"c": START}]}}, r"Variable a\['b'\]\[1\]\['c'\] is of type datetime"),
        ({"a": {"b": (1, float("nan"))}}, r"Variable a\['b'\]\[1\] is nan"),
        ({"a": {7: "x"}}, "Variable a has the key 7, but JSON's keys are strings: use '7'"),
        ({"a": {"b": {None: "x"}}}, r"Variable a\['b'\] has the key None"),
        ({7: "x"}, "Variable names must be strings; 7 is int"),
        ([("a", 1)], "`variables` must be a dictionary of names and values, not list"),
        ('{"a": 1}', "`variables` must be a dictionary of names and values, not str"),
    ],
    ids=str,
)
def test_value_that_json_cannot_hold_is_named_with_its_path(variables, says):
    with pytest.raises(ValueError, match=says):
        check_variables(variables)


@pytest.mark.parametrize("variables", [None, {}])
def test_no_variables_are_fine(variables):
    assert check_variables(variables) == {}


@given(
    st.dictionaries(
        st.text().map(lambda name: f"v_{name}"),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        ),
    )
)
def test_whatever_json_can_hold_is_accepted_as_it_is(variables):
    assert json.loads(json.dumps(check_variables(variables), allow_nan=False)) == variables


def test_authors_own_dictionary_is_left_alone():
    author = {"a": 1}

    assert "airflow" in run_variables(author, IDENTITY)
    assert author == {"a": 1}


def test_every_run_says_which_task_it_stands_for():
    identity = RunIdentity("the key", "the nonce", 2, task={"dag_id": "my_dag", "map_index": 3})

    assert run_variables(None, identity) == {
        "airflow": {
            "dag_id": "my_dag",
            "map_index": 3,
            "try_number": 2,
            "run_key": "the key",
            "nonce": "the nonce",
        }
    }


def test_data_interval_goes_along():
    variables = run_variables({}, IDENTITY, interval_start=START, interval_end=END)

    assert variables["interval_start_datetime"] == "2026-03-01T00:00:00+00:00"
    assert variables["interval_end_datetime"] == "2026-03-02T00:00:00+00:00"


def test_data_interval_of_the_author_comes_first():
    author = {"interval_start_datetime": "2020-01-01"}

    variables = run_variables(author, IDENTITY, interval_start=START, interval_end=END)

    assert variables["interval_start_datetime"] == "2020-01-01"
    assert variables["interval_end_datetime"] == "2026-03-02T00:00:00+00:00"
