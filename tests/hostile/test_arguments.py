"""
Authors' mistakes: every argument of every operator and sensor, times every kind of value.

Each combination either works, or is one sentence that names the argument before anything is sent, log-ins
included.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from importlib import import_module
from uuid import UUID

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from jinja2 import StrictUndefined, Undefined

from airflow_provider_mage.api import auth
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.provider_info import get_provider_info
from fakes.mage_cloud import FakeMageCloud
from fakes.mage_pro import FakeMagePro

LONGEST_MESSAGE = 600


class Color(Enum):
    RED = "red"


class Lazy(Sequence):
    """What Airflow makes of the output of mapped tasks."""

    def __getitem__(self, index):
        return [2, 4][index]

    def __len__(self):
        return 2


class Sulking:
    """Not even to be printed."""

    def __repr__(self):
        raise RuntimeError


def endless():
    value = []
    value.append(value)
    return value


# What can be somebody's name or number, so that only the server can tell.
PLAUSIBLE = {
    "zero": 0,
    "number": 5,
    "digits": "5",
    "word": "nightly",
    "accents": "caf\u00e9",
    "enum": Color.RED,
    "uuid": UUID(int=1),
    "slashes": "../x/y",
    "percent": "50%",
    "negative": -1,
    "huge": 10**30,
    "text of a dict": "{'a': 1}",
}
NONSENSE = {
    "none": None,
    "empty": "",
    "blank": " \n",
    "none as text": "None",
    "unwritable": 10**5000,
    "fraction": 1.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "true": True,
    "false": False,
    "list": [],
    "list of a list": [[1]],
    "dict": {},
    "dict of nan": {"a": float("nan")},
    "dict of numbers": {1: 2},
    "dict of an object": {"a": {"b": [object()]}},
    "endless": endless(),
    "object": object(),
    "sulking": Sulking(),
    "class": object,
    "bytes": b"x",
    "set": {"a"},
    "generator": (one for one in "ab"),
    "lazy": Lazy(),
    "decimal": Decimal("1.5"),
    "date": date(2026, 1, 31),
    "datetime": datetime(2026, 1, 31, tzinfo=timezone.utc),
    "timedelta": timedelta(seconds=5),
    "no time": timedelta(0),
    "undefined": Undefined(name="data_interval_start"),
    "strictly undefined": StrictUndefined(name="data_interval_start"),
    "half a character": "a\ud800",
    "nul": "a\0b",
    "lines": "a\nb",
    "long": "x" * 10_000_000,
    "dots": "..",
}


def tasks():
    """Return all operators and sensors but those that only ``mage_cluster`` makes, out of two others."""
    info = get_provider_info()
    modules = [
        name for kind in ("operators", "sensors") for one in info[kind] for name in one["python-modules"]
    ]
    modules.remove("airflow_provider_mage.operators.cluster_scope")
    for module in map(import_module, modules):
        for name, value in vars(module).items():
            if name.startswith("Mage") and inspect.isclass(value) and value.__module__ == module.__name__:
                yield value


def own_arguments(task):
    """Return the names of those that our own classes have, and not Airflow's."""
    ours = [one for one in task.__mro__ if one.__module__.startswith("airflow_provider_mage.")]
    signatures = [inspect.signature(one.__init__) for one in ours if "__init__" in vars(one)]
    names = dict.fromkeys(name for signature in signatures for name in signature.parameters)
    return [name for name in names if name not in ("self", "kwargs")]


class World:
    """A Mage Pro server, a Mage Cloud, and valid arguments for every task."""

    def __init__(self, mage, cloud):
        self.mage, self.cloud = mage, cloud
        schedule = mage.pipeline_schedule("daily_orders", "hostile")
        run = mage.pipeline_run(schedule)
        mage.finish(run.id)
        self.valid = {
            "mage_conn_id": "hostile_mage",
            "mage_cloud_conn_id": "hostile_cloud",
            "pipeline_uuid": "daily_orders",
            "pipeline_schedule_id": None,
            "pipeline_schedule_name": "hostile",
            "pipeline_run_id": run.id,
            "block_uuid": "load_orders",
            "cluster_id": "c1",
            "team_id": "team-1",
            "workspace_name": "dev",
            "action": "patch",
            "setting_name": "prod",
            "commit": "abc123",
            "branch": "main",
            "target_branch": "main",
            "environment": "production",
            "env_vars": {"A": "1"},
            "setup_task_id": "start",
            "poll_interval": 0.01,
            "timeout": 20,
        }

    def make(self, task, **arguments):
        own = own_arguments(task)
        valid = {name: value for name, value in self.valid.items() if name in own}
        if "status" in own:
            valid["status"] = "Active" if "cluster_id" in own else "active"
        if "Sensor" in task.__name__:
            valid.update(poke_interval=0.01, timeout=0.02)
        return task(task_id="t", **{**valid, **arguments})

    @property
    def requests(self):
        return len(self.mage.requests) + len(self.cloud.requests)


@pytest.fixture(scope="module")
def world():
    with (
        FakeMagePro(polls_to_finish=1) as mage,
        FakeMageCloud() as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        mage.example_pipelines()
        cloud.cluster("c1", status="Active")
        for conn_id, server, extra in (
            ("hostile_mage", mage, {}),
            ("hostile_cloud", cloud, {"team_id": "team-1"}),
        ):
            connection = {
                "conn_type": "mage" if server is mage else "mage_cloud",
                "host": server.url,
                "login": server.email,
                "password": server.password,
                "extra": {"share_login": False, **extra},
            }
            patch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        yield World(mage, cloud)
        auth._auth_of.cache_clear()


def complaint_about(world, task, name, value):
    """Give a task the value, as an author or a template does, and run it; return what it raises."""
    try:
        if name not in task.template_fields:
            world.make(task, **{name: value})
            return None
        operator = world.make(task)
        vars(operator)[name] = value  # Airflow itself gets lost in a value that contains itself
        operator.execute(new_context())
    except Exception as error:  # noqa: BLE001  the test is about what they are
        return error
    return None


class TaskInstance:
    dag_id, task_id, run_id, map_index, try_number, max_tries = "d", "t", "r", -1, 1, 0

    def xcom_push(self, key, value):
        pass


def new_context():
    return {"ti": TaskInstance(), "dag_run": None, "logical_date": None}


def check_sentence(error, name):
    text = str(error)
    assert "\n" not in text
    assert len(text) < LONGEST_MESSAGE
    assert f"`{name}`" in text or (name == "variables" and "ariable" in text), text


CASES = [
    pytest.param(task, name, id=f"{task.__name__}-{name}") for task in tasks() for name in own_arguments(task)
]


@pytest.mark.parametrize(("task", "name"), CASES)
def test_nonsense_works_or_is_told_in_a_sentence_before_anything_is_sent(world, task, name):
    for kind, value in NONSENSE.items():
        before = world.requests
        error = complaint_about(world, task, name, value)

        if error is not None:
            assert isinstance(error, ValueError), (kind, error)
            assert world.requests == before, (kind, error)
            check_sentence(error, name)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_what_may_be_a_name_works_or_is_told_in_a_sentence(world, task, name):
    for kind, value in PLAUSIBLE.items():
        before = world.requests
        error = complaint_about(world, task, name, value)

        assert error is None or isinstance(error, (ValueError, MageError, AirflowException)), (kind, error)
        if isinstance(error, ValueError) and world.requests == before:
            check_sentence(error, name)
