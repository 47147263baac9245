"""Variables are checked before anything is sent, and the error names the spot."""

import json
from collections import deque
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined

from airflow_provider_mage._runs.identity import RunIdentity
from airflow_provider_mage._runs.variables import check_block_variables, check_variables, run_variables

try:
    from airflow.sdk.definitions.param import Param, ParamsDict
except ImportError:
    from airflow.models.param import Param, ParamsDict

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
END = START + timedelta(days=1)
IDENTITY = RunIdentity("key", "nonce", 1)


# tests/contract/test_variables.py finds them on a real server.
OF_BLOCKS = [
    *("block_uuid", "configuration", "dynamic_block_index", "logger", "parent_block_uuid", "pipeline_run"),
    *("pipeline_uuid", "remote_blocks", "repo_path", "retry"),
]
OF_RUNS = [
    *("airflow", "ds", "env", "event", "execution_date", "execution_partition", "hr", "pipeline_run_id"),
    "trigger_name",
]


@pytest.mark.parametrize("name", [*OF_BLOCKS, *OF_RUNS])
def test_name_that_mage_overwrites_is_refused_with_advice(name):
    with pytest.raises(
        ValueError, match=f"variable name '{name}' is reserved, as Mage sets it itself: .+\\.$"
    ):
        check_variables({name: 1})


def test_single_block_may_be_given_what_belongs_to_a_run():
    assert check_block_variables(dict.fromkeys(OF_RUNS, 1)) == dict.fromkeys(OF_RUNS, 1)
    for name in OF_BLOCKS:
        with pytest.raises(ValueError, match=f"variable name '{name}' is reserved"):
            check_block_variables({name: 1})


@pytest.mark.parametrize("name", ["DS", "context", "index", "environment", "interval_seconds", "my_env", ""])
def test_other_names_are_free(name):
    assert check_variables({name: 1}) == {name: 1}


class Color(str, Enum):
    RED = "red"


class LazySequence(Sequence):
    """What Airflow makes of the output of mapped tasks: no list, and no tuple."""

    def __getitem__(self, index):
        return [2, 4, 6][index]

    def __len__(self):
        return 3


class Scalar:
    """A number of numpy's, by what it is known by."""

    shape = ()

    def __init__(self, value, kind):
        self._value, self.dtype = value, SimpleNamespace(kind=kind)

    def __repr__(self):
        return f"Scalar({self._value}, {self.dtype.kind})"

    def item(self):
        return self._value


class NotATime(datetime):
    """What pandas says instead of None."""

    __hash__ = datetime.__hash__

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (LazySequence(), [2, 4, 6]),
        (Point(1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (START, "2026-03-01T00:00:00+00:00"),
        (START.replace(tzinfo=None), "2026-03-01T00:00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(6, 30), "06:30:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Color.RED, "red"),
        (IntEnum("Number", {"ONE": 1}).ONE, 1),
        (Scalar(7, "i"), 7),
        (Scalar(0.5, "f"), 0.5),
        (Scalar(True, "b"), True),
        (2**100, 2**100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_arrives_as_its_counterpart_in_json(value, arrives):
    """At any depth."""
    checked = check_variables({"a": value, "b": {"c": [value]}})

    assert json.loads(json.dumps(checked)) == {"a": arrives, "b": {"c": [arrives]}}
    assert type(checked["a"]) is type(arrives)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"rate": float("nan")}, "Variable rate is nan, which JSON cannot hold: use None or a string"),
        ({"rate": float("-inf")}, "Variable rate is -inf"),
        ({"rate": Scalar(float("nan"), "f")}, "Variable rate is nan"),
        ({"sum": Decimal(1)}, r"Variable sum is of type Decimal, .*: use str\(\), which keeps its digits"),
        ({"names": {"a"}}, r"Variable names is of type set, .*: it has no order: use sorted\(\)"),
        ({"names": frozenset("a")}, "Variable names is of type frozenset"),
        ({"raw": b"bytes"}, r"Variable raw is of type bytes, .*: use \.decode\(\)"),
        ({"span": timedelta(1)}, r"Variable span is of type timedelta, .*: use \.total_seconds\(\)"),
        ({"keys": {"a": 1}.keys()}, r"Variable keys is of type dict_keys, .*: use list\(\)"),
        ({"values": iter([1])}, r"Variable values is of type list_iterator, .*: use list\(\)"),
        ({"day": Scalar(7, "M")}, r"Variable day is of type Scalar, .* for instance with str\(\)"),
        ({"it": object}, "Variable it is of type type"),
        ({"never": NotATime(2026, 1, 1)}, "Variable never is .*, which JSON cannot hold: use None"),
        ({"a": {"b": [1, {"c": {1}}]}}, r"Variable a\['b'\]\[1\]\['c'\] is of type set"),
        ({"a": {"b": (1, float("nan"))}}, r"Variable a\['b'\]\[1\] is nan"),
        ({"a": {7: "x"}}, "Variable a has the key 7, but JSON's keys are strings: use '7'"),
        ({"a": {"b": {None: "x"}}}, r"Variable a\['b'\] has the key None"),
        ({"a": "x\0"}, "Variable a holds a NUL character"),
        ({"a": ["x\ud800"]}, r"Variable a\[0\] holds half a character \('\\ud800'\)"),
        ({"a": {"\0": 1}}, "The key .* of Variable a holds a NUL character"),
        ({"\ud800": 1}, "The variable name .* holds half a character"),
        ({7: "x"}, "Variable names must be strings; 7 is int"),
        ({"a": 10**5000}, "Variable a has more than 4,000 digits"),
        ({"a": "x" * 10_000_000}, r"`variables` are 10.0 MB as JSON, and may be 10 MB: put the data where"),
        (
            {"a": StrictUndefined(name="data_interval_start")},
            "Variable a is a template that is undefined in this run, as there is no 'data_interval_start'",
        ),
        (StrictUndefined(name="x"), "`variables` is a template that is undefined in this run"),
        ([("a", 1)], "`variables` must be a dictionary of names and values, not list"),
        (
            '{"a": 1}',
            "`variables` must be a dictionary .*, not a text: .* `render_template_as_native_obj=True`",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_that_json_cannot_hold_is_named_with_its_path(variables, says):
    with pytest.raises(ValueError, match=says) as caught:
        check_variables(variables)

    assert len(str(caught.value)) < 300


def test_value_that_contains_itself_is_told():
    value = []
    value.append(value)

    with pytest.raises(ValueError, match="`variables` contain themselves, or are nested too deeply"):
        check_variables({"a": value})


def test_airflows_lazy_sequences_are_sequences():
    try:
        from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence as Lazy
    except ImportError:
        from airflow.models.xcom import LazyXComSelectSequence as Lazy

    assert issubclass(Lazy, Sequence)


def test_params_are_read_as_their_values():
    """Airflow 2's ``params`` resolve what they hold only when they are asked for it by name."""
    assert check_variables({"all": ParamsDict({"n": 7})}) == {"all": {"n": 7}}
    assert check_variables(ParamsDict({"n": Param(7, type="integer")})) == {"n": 7}


@pytest.mark.parametrize("variables", [None, {}])
def test_no_variables_are_fine(variables):
    assert check_variables(variables) == {}


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(
    st.dictionaries(
        TEXT.map(lambda name: f"v_{name}"),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | TEXT,
            lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
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


def test_data_interval_without_a_length_is_left_out_and_the_log_says_so(caplog):
    """What Airflow 3 makes of ``@daily``: blocks would ask for nothing, get nothing, and be green."""
    with caplog.at_level("INFO"):
        variables = run_variables({}, IDENTITY, interval_start=START, interval_end=START)

    assert list(variables) == ["airflow"]
    [message] = caplog.messages
    assert message == (
        "The DAG run's data interval has no length (2026-03-01T00:00:00+00:00): blocks would load nothing, "
        "so they get no interval_start_datetime and no interval_end_datetime."
    )


def test_data_interval_of_the_author_stands_in_for_one_without_a_length(caplog):
    author = {"interval_start_datetime": "2026-02-28", "interval_end_datetime": "2026-03-01"}

    with caplog.at_level("INFO"):
        variables = run_variables(author, IDENTITY, interval_start=START, interval_end=START)

    assert {name: variables[name] for name in author} == author
    assert caplog.messages == []
