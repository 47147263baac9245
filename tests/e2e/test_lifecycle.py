"""What becomes of the Mage run when its task is killed, cleared, marked or timed out, on a real Airflow."""

from __future__ import annotations

import time

import pytest

from isolation import wait_until

LONG = 600
"""Seconds that nobody waits for: such a run is to be cancelled."""

SCENES = {
    "worker killed": ("plain_sync", 50),
    "worker killed, run over before the retry": ("late_retry_sync", 8),
    "marked failed, sync": ("plain_sync", LONG),
    "marked failed, deferred": ("plain_deferred", LONG),
    "cleared, sync": ("cleared_sync", LONG),
    "cleared, deferred": ("cleared_deferred", LONG),
    "timed out, sync": ("timeout_sync", LONG),
    "timed out, deferred": ("timeout_deferred", LONG),
    "triggerer restarted": ("plain_deferred", 75),
}


class Scene:
    """One DAG run with one task, and the Mage runs that it has started."""

    def __init__(self, airflow, mage, name):
        self.airflow, self.mage = airflow, mage
        self.dag_id, self.seconds = SCENES[name]
        self.run_id = airflow.trigger_dag(
            self.dag_id, conf={"seconds": self.seconds}, run_id=name.replace(" ", "_").replace(",", "")
        )

    @property
    def mage_runs(self):
        """Its Mage runs, the oldest first."""
        mine = [
            run
            for run in self.mage.runs("sleeper")
            if run["variables"].get("airflow", {}).get("run_id") == self.run_id
        ]
        return sorted(mine, key=lambda run: run["id"])

    @property
    def statuses(self):
        return [run["status"] for run in self.mage_runs]

    def wait_for_mage_runs(self, count):
        wait_until(
            lambda: len(self.mage_runs) == count and self.statuses[-1] != "initial",
            what=f"Mage run {count} of {self.run_id}",
            timeout=90,
        )

    def wait_for_task(self, *states):
        return self.airflow.wait_task(self.dag_id, self.run_id, "sleep", *states, timeout=150)

    def wait_for_statuses(self, *statuses, timeout=30):
        wait_until(
            lambda: self.statuses == list(statuses),
            what=f"{statuses} in {self.run_id}, which has {self.statuses}",
            timeout=timeout,
        )

    def kill_worker(self):
        self.airflow.task_processes(self.dag_id, self.run_id, "sleep")[0].kill()

    def mark(self, state):
        self.airflow.mark_task(self.dag_id, self.run_id, "sleep", state)

    def clear(self):
        # Not over REST: Airflow 2.11 forgets there that a running task was cleared.
        self.airflow.cli("tasks", "clear", self.dag_id, "--yes")

    def log(self, try_number):
        return self.airflow.task_log(self.dag_id, self.run_id, "sleep", try_number)


@pytest.fixture(scope="module")
def scenes(airflow, mage):
    """All scenes, begun side by side; where a worker is to be killed, it has been."""
    scenes = {name: Scene(airflow, mage, name) for name in SCENES}
    for name, scene in scenes.items():
        if name.startswith("worker killed"):
            scene.wait_for_mage_runs(1)
            scene.wait_for_task("running")
            scene.kill_worker()
    return scenes


@pytest.fixture
def scene(scenes, request):
    """The scene that a test is about, with its Mage run running."""
    scene = scenes[request.param]
    scene.wait_for_mage_runs(1)
    return scene


def about(name):
    return pytest.mark.parametrize("scene", [name], indirect=True)


@about("marked failed, sync")
def test_marking_a_running_task_failed_cancels_its_run(scene):
    scene.wait_for_task("running")
    scene.mark("failed")
    scene.wait_for_statuses("cancelled")


@about("marked failed, deferred")
def test_marking_a_deferred_task_failed_cancels_its_run(scene):
    scene.wait_for_task("deferred")
    scene.mark("failed")
    scene.wait_for_statuses("cancelled")


@about("cleared, sync")
def test_clearing_a_running_task_cancels_its_run_and_starts_another(scene):
    scene.wait_for_task("running")
    scene.clear()
    scene.wait_for_statuses("cancelled", "running", timeout=60)


@about("cleared, deferred")
def test_clearing_a_deferred_task_cancels_its_run_and_starts_another(scene):
    scene.wait_for_task("deferred")
    scene.clear()
    scene.wait_for_statuses("cancelled", "running", timeout=60)


@pytest.mark.parametrize("scene", ["timed out, sync", "timed out, deferred"], indirect=True)
def test_an_execution_timeout_cancels_the_run(scene):
    scene.wait_for_task("failed")
    scene.wait_for_statuses("cancelled")


@about("triggerer restarted")
def test_a_triggerer_that_restarts_or_dies_cancels_nothing(scene):
    scene.wait_for_task("deferred")
    scene.airflow.restart_component("triggerer")
    time.sleep(3)
    assert scene.statuses == ["running"]
    scene.airflow.restart_component("triggerer", kill=True)
    scene.wait_for_task("success")
    assert scene.statuses == ["completed"]


@about("worker killed, run over before the retry")
def test_a_retry_takes_over_what_completed_meanwhile(scene):
    scene.wait_for_task("success")
    assert scene.statuses == ["completed"]
    assert "which an earlier attempt of this task started, has completed." in scene.log(2)


@about("worker killed")
def test_a_retry_reattaches_to_what_is_still_running(scene):
    scene.wait_for_task("success")
    assert scene.statuses == ["completed"]
    assert f"Reattached to run {scene.mage_runs[0]['id']}" in scene.log(2)


@about("worker killed")
def test_a_clear_of_the_green_task_runs_it_again(scene):
    scene.airflow.clear_task(scene.dag_id, scene.run_id, "sleep")
    scene.wait_for_statuses("completed", "running", timeout=60)
