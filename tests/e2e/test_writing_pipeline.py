"""
What fifty blocks write is in the log of the task, although the triggerer is killed half-way.

Each line once, those of a block in their order, and for six requests a minute.
"""

from __future__ import annotations

import json
import re
import time

import pytest

from airflow_server import readable
from fakes.faulty_proxy import FaultyProxy
from isolation import wait_until

DAG_ID, TASK = "writing_pipeline", "run"
BLOCKS, LINES = 50, 200
SECONDS = 1800
# Half before the block's pause, and half after.
BLOCK = f"""import time

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def write(*args, **kwargs):
    for number in range({LINES}):
        if number == {LINES // 2}:
            time.sleep(20)
        print(f"line {{number}}")
"""


class CountingProxy(FaultyProxy):
    """Notes when the logs were asked for."""

    def __init__(self, upstream):
        super().__init__(upstream)
        self.log_requests = []

    def _handle(self, request):
        if request.path.endswith("/logs"):
            self.log_requests.append(time.monotonic())
        return super()._handle(request)


@pytest.fixture(scope="module")
def proxy(airflow, mage):
    names = [f"block_{number:02}" for number in range(BLOCKS)]
    blocks = [
        {"uuid": name, "name": name, "type": "custom", "upstream_blocks": [], "downstream_blocks": []}
        | {"language": "python", "executor_type": "local_python", "configuration": {}}
        for name in names
    ]
    pipeline = {
        "name": "writes_much",
        "uuid": "writes_much",
        "type": "python",
        "widgets": [],
        "blocks": blocks,
    }
    folder = mage.project_dir / "pipelines" / "writes_much"
    folder.mkdir()
    for name in names:
        (mage.project_dir / "custom" / f"{name}.py").write_text(BLOCK)
    (folder / "metadata.yaml").write_text(json.dumps(pipeline))
    with CountingProxy(mage.url) as server:
        airflow.add_connection(
            "mage_by_proxy", "mage", host=server.root, login=mage.email, password=mage.password
        )
        yield server


def told(airflow, run_id):
    """Return the lines of the blocks, as they are in the log."""
    lines = readable(airflow.task_log(DAG_ID, run_id, TASK))
    return [found.groups() for line in lines if (found := re.search(r"\[(block_\d\d)\] line (\d+)$", line))]


def stored(airflow, run_id):
    """Return how many lines the triggerer has stored that it has told."""
    cursor = airflow.xcoms(DAG_ID, run_id, TASK).get("mage_log_cursor") or {}
    return cursor.get("told", 0)


def is_between_portions(airflow, run_id):
    """
    Stop the triggerer, and say whether it has stored all that it has told; if not, let it go on.

    It tells a portion every two seconds, and stores half a second later that it has. In between, a kill costs
    a repetition, as ``tests/unit/test_log_stream.py`` shows.
    """
    processes = airflow.component_processes("triggerer")
    for process in processes:
        process.suspend()
    if BLOCKS * LINES // 4 <= stored(airflow, run_id) == len(told(airflow, run_id)):
        return True
    for process in processes:
        process.resume()
    return False


def written(mage, run_id):
    """Return what each block has printed: Mage 0.9.80 may execute one twice (docs/lost-jobs.md)."""
    printed = {}
    for block in mage.run(run_id)["block_runs"]:
        query = f"pipeline_run_id[]={run_id}&block_run_id[]={block['id']}"
        [found] = mage.request("GET", f"/pipelines/writes_much/logs?{query}")["logs"]
        content = found["block_run_logs"][0]["content"]
        printed[block["block_uuid"]] = re.findall(r'"message": "line (\d+)"', content)
    return printed


@pytest.mark.timeout(2 * SECONDS)
def test_each_line_is_told_once_although_the_triggerer_is_killed(airflow, mage, proxy):
    run_id = airflow.trigger_dag(DAG_ID)
    airflow.wait_task(DAG_ID, run_id, TASK, "deferred")
    wait_until(
        lambda: is_between_portions(airflow, run_id), what="half of the lines", timeout=SECONDS, interval=0.3
    )
    airflow.restart_component("triggerer", kill=True)
    before = len(told(airflow, run_id))

    airflow.wait_task(DAG_ID, run_id, TASK, "success")

    lines = told(airflow, run_id)
    assert BLOCKS * LINES // 4 <= before < BLOCKS * LINES <= len(lines)
    blocks = written(mage, airflow.xcoms(DAG_ID, run_id, TASK)["pipeline_run_id"])
    assert len(blocks) == BLOCKS
    for name, printed in blocks.items():
        assert [line for block, line in lines if block == name] == printed, name


def test_logs_were_asked_for_six_times_a_minute_at_most(proxy):
    moments = proxy.log_requests

    assert moments
    assert max(sum(first <= one < first + 60 for one in moments) for first in moments) <= 6
