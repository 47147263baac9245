"""Whoever reads the last twenty lines of a failed task's log knows block, exception, line and page."""

from __future__ import annotations

import re

import pytest
from failing_pipelines import PIPELINES

DAG_ID = "failing_pipelines"
MODES = ("sync", "deferred")
LINES = 20


@pytest.fixture(scope="module")
def run_id(airflow):
    run_id = airflow.trigger_dag(DAG_ID)
    airflow.wait_dag_run(DAG_ID, run_id)
    return run_id


def test_every_pipeline_is_run(airflow, run_id):
    states = airflow.task_states(DAG_ID, run_id)

    assert states == {f"{name}_{mode}": "failed" for name in PIPELINES for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PIPELINES)
def test_last_lines_of_the_log_say_why(airflow, mage, run_id, name, mode):
    expected, task_id = PIPELINES[name], f"{name}_{mode}"
    tail = "\n".join(airflow.shown_log(DAG_ID, run_id, task_id)[-LINES:])
    run = airflow.xcoms(DAG_ID, run_id, task_id)["pipeline_run_id"]
    block = name if expected.block is None else expected.block

    assert (f"Block {block} failed: " if block else "None of its blocks has failed") in tail
    assert expected.reason in tail
    assert expected.line in tail
    assert f"{mage.url}/pipelines/{name}/runs/{run}" in tail


SNAPSHOT = """[raises] 40 orders
[raises] 4 are negative
Run N failed: MAGE/pipelines/raises/runs/N
Log of block raises: MAGE/pipelines/raises/logs?block_run_id%5B%5D=N
MagePipelineRunFailed: Run N of pipeline raises failed after N s.
Block raises failed: ValueError: 4 of 40 orders are negative
  at line 9 of its code, in run: raise ValueError("4 of 40 orders are negative")
See MAGE/pipelines/raises/runs/N""".splitlines()


@pytest.mark.parametrize("mode", MODES)
def test_lines_are_these(airflow, mage, run_id, mode):
    """In this order, among what Airflow says: the same in both modes, and on both of its lines."""
    log = airflow.shown_log(DAG_ID, run_id, f"raises_{mode}")
    shown = [_without_numbers(line.replace(mage.url, "MAGE")) for line in log]

    position = 0
    for expected in SNAPSHOT:
        found = [
            number for number, line in enumerate(shown) if number >= position and line.endswith(expected)
        ]
        assert found, (expected, log)
        position = found[0] + 1


def _without_numbers(line):
    line = re.sub(r"(?i)(\brun |/runs/|%5B%5D=)\d+", r"\1N", line)
    return re.sub(r"after [\d.]+ s", "after N s", line)
