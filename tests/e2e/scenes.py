"""A DAG run with one task that waits for Mage, for tests of what becomes of its Mage run."""

from __future__ import annotations

from airflow_server import WAIT_SECONDS
from isolation import wait_until

TASK = "sleep"


class Scene:
    """
    One DAG run with one task, and the Mage runs that it has started, which end when they are released.

    The DAG is one of ``lifecycle_dags/sleepers.py``. `name` is this scene's alone, and so is the file that
    releases it. The DAG run is called by it too, unless another scene has a DAG run of the same id.
    """

    def __init__(self, airflow, mage, dag_id, name, releases, *, run_id=None, **conf):
        self.airflow, self.mage, self.dag_id = airflow, mage, dag_id
        name = name.replace(" ", "_").replace(",", "")
        self.run_id = run_id or name
        self.release_file = releases / name
        self.conf = {"release": str(self.release_file), **conf}

    def start(self):
        self.airflow.trigger_dag(self.dag_id, conf=self.conf, run_id=self.run_id)

    @property
    def mage_runs(self):
        """Its Mage runs, the oldest first."""
        release = str(self.release_file)
        mine = [run for run in self.mage.runs("sleeper") if run["variables"].get("release") == release]
        return sorted(mine, key=lambda run: run["id"])

    @property
    def statuses(self):
        return [run["status"] for run in self.mage_runs]

    def wait_for_mage_runs(self, count):
        self.wait_until(
            lambda: len(runs := self.mage_runs) == count and runs[-1]["status"] != "initial",
            f"Mage run {count} of {self.run_id}",
        )

    def wait_for_task(self, *states):
        return self.airflow.wait_task(self.dag_id, self.run_id, TASK, *states)

    def wait_until_it_waits(self):
        """Before, Airflow may lose what would cancel the run (docs/reliability.md)."""
        self.wait_for_log(1, "is running")

    def wait_for_statuses(self, *statuses):
        self.wait_until(
            lambda: self.statuses == list(statuses),
            f"{statuses} in {self.run_id}, which had {self.statuses} before",
        )

    def wait_for_log(self, try_number, text):
        self.wait_until(
            lambda: text in self.log(try_number), f"{text!r} in log {try_number} of {self.run_id}"
        )

    def wait_until(self, look, what):
        try:
            return wait_until(look, what=what, timeout=WAIT_SECONDS, interval=1.0)
        except TimeoutError as error:
            states = self.airflow.task_states(self.dag_id, self.run_id)
            log = self.log(1)[-3000:]
            raise TimeoutError(f"{error}; {states}, {self.statuses}. Its log ends so:\n{log}") from error

    def release(self, *, to="complete"):
        """Let the Mage runs end, these and those that follow: complete or fail."""
        written = self.release_file.with_suffix(".written")
        written.write_text(to)
        written.replace(self.release_file)

    def worker(self):
        """Return the process that the task runs in."""
        self.wait_for_task("running")
        return self.airflow.task_processes(self.dag_id, self.run_id, TASK)[0]

    def triggerer(self):
        return self.airflow.triggerer_of(self.dag_id, self.run_id, TASK)

    def mark(self, state):
        self.airflow.mark_task(self.dag_id, self.run_id, TASK, state)

    def log(self, try_number):
        return self.airflow.task_log(self.dag_id, self.run_id, TASK, try_number)
