"""The names that Mage gives to blocks itself, and what becomes of an author's variables of these names."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from contract.conftest import RealMage
from contract.tested import VERSION

from airflow_provider_mage._runs.variables import _OF_RUNS

PROJECT = Path(__file__).parent / "block_kinds"
RUN_SECONDS = 240
OVER = ("completed", "failed", "cancelled")
KINDS = {"data_loader", "dynamic_1", "dynamic_2", "custom", "condition", "callback"}

# Which are not reserved: an author's value of this one arrives as it is.
FREE = {"context"}
# Which are reserved, although Mage does not give them to a block of this project.
OURS = {"airflow"}
CRASHES = {"remote_blocks", "event"}
# Mage 0.9.70 does not yet give these two.
NEW = set() if VERSION.number != "0.9.70" else {"pipeline_run_id", "trigger_name"}


@pytest.fixture(scope="module")
def run_kinds(new_database, tmp_path_factory):
    """Run blocks of all kinds with some variables; return the run's status, and what each block was given."""
    with RealMage(new_database("variables"), overlays=[PROJECT]) as server:

        def run_kinds(**variables):
            echo_to = tmp_path_factory.mktemp("echo")
            run_id = server.start_run("block_kinds", {**variables, "echo_to": str(echo_to)})
            give_up = time.monotonic() + RUN_SECONDS
            while (run := server.run(run_id))["status"] not in OVER:
                assert time.monotonic() < give_up, run
                time.sleep(0.25)
            return run["status"], {path.name: json.loads(path.read_text()) for path in echo_to.iterdir()}

        yield run_kinds


def test_names_that_mage_gives_to_blocks_are_the_reserved_ones(run_kinds):
    status, given = run_kinds()

    assert (status, set(given)) == ("completed", KINDS)
    names = {name for variables in given.values() for name in variables} - {"echo_to"}
    assert names - FREE == set(_OF_RUNS) - OURS - (CRASHES - {"event"}) - NEW


def test_author_who_uses_a_reserved_name_would_not_find_the_value_again(run_kinds):
    names = set(_OF_RUNS) - OURS - CRASHES - NEW

    status, given = run_kinds(**dict.fromkeys(names, "the author's"))

    assert (status, set(given)) == ("completed", KINDS)
    survivors = {name for name in names if all(one[name] == "the author's" for one in given.values())}
    assert survivors == set()


@pytest.mark.parametrize("name", sorted(CRASHES))
def test_text_of_these_names_breaks_the_run(run_kinds, name):
    status, _ = run_kinds(**{name: "the author's"})

    assert status == "failed"


def test_other_names_arrive_as_they_are(run_kinds):
    status, given = run_kinds(context={"a": 1}, interval_seconds=7, orders=[2, 4, 6])

    assert status == "completed"
    for variables in given.values():
        assert (variables["context"], variables["interval_seconds"]) == ({"a": 1}, 7)
        assert variables["orders"] == [2, 4, 6]


def test_interval_that_is_not_given_is_not_there(run_kinds):
    """A block that asks for it by name fails, rather than to load nothing."""
    _, given = run_kinds()

    assert not [name for variables in given.values() for name in variables if name.startswith("interval_")]
