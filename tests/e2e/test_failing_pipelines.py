"""Whoever reads the last twenty lines of a failed task's log knows block, exception, line and page."""

from __future__ import annotations

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
