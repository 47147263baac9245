"""A task in a container that gives it a random user: none of the user database, without a home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from contract.targets import RUN_SECONDS

UID = 12345
SETPRIV = shutil.which("setpriv")
# It may read what root may, as Python itself can be in root's home; it may write nothing that is not its own.
READS = "-all,+dac_read_search"
AS_NOBODY = [
    SETPRIV or "setpriv",
    *(f"--reuid={UID}", f"--regid={UID}", "--clear-groups", f"--inh-caps={READS}", f"--ambient-caps={READS}"),
]

RUN_A_PIPELINE = """
import os
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

class TaskInstance:
    dag_id, task_id, run_id, map_index, try_number, max_tries = "dag", "task", "manual__1", -1, 1, 0

    def xcom_push(self, key, value):
        pass

operator = MageTriggerPipelineOperator(task_id="task", pipeline_uuid="daily_orders", poll_interval=0.25)
run_id = operator.execute({"ti": TaskInstance(), "dag_run": None, "logical_date": None})
print("RUN", os.getuid(), os.environ.get("HOME"), run_id)
"""


@pytest.fixture
def run_as_nobody(tmp_path):
    """Run Python code as a user who owns an Airflow's home, the folder they are in, and nothing else."""
    if SETPRIV is None or os.geteuid() != 0:
        pytest.skip("only root can become another user, and it takes setpriv (of util-linux)")
    if subprocess.run([*AS_NOBODY, sys.executable, "-c", ""], capture_output=True, check=False).returncode:  # noqa: S603
        pytest.skip("this container does not let another user read where Python is")
    folders = tmp_path / "airflow", tmp_path / "here"
    for folder in folders:
        folder.mkdir()
        os.chown(folder, UID, UID)

    def run(code, **env):
        done = subprocess.run(  # noqa: S603
            [*AS_NOBODY, sys.executable, "-c", code],
            env={"AIRFLOW_HOME": str(folders[0]), **env},
            cwd=folders[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert list(folders[1].iterdir()) == []  # such as a folder named `~`
        return done.stdout

    return run


def test_task_runs_a_pipeline_and_warns_once(mage, run_as_nobody):
    connection = {"conn_type": "mage", "host": mage.url, **mage.credentials()}

    said = run_as_nobody(RUN_A_PIPELINE, AIRFLOW_CONN_MAGE_DEFAULT=json.dumps(connection))

    last = said.splitlines()[-1].split()
    run_id = int(last.pop())
    assert last == ["RUN", str(UID), "None"]
    assert mage.owner.show(run_id)["status"] == "completed"
    warnings = [line for line in said.splitlines() if "warning" in line.lower()]
    # Airflow's own, as this is not its task runner
    [warning] = [line for line in warnings if "outside of the Task Runner" not in line]
    assert "may each make a log-in of their own" in warning
    assert "home" in warning
