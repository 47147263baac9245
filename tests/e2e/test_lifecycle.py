"""What becomes of the Mage run when its task is killed, cleared, marked or timed out, on a real Airflow."""

from __future__ import annotations

import time
from functools import partial

import pytest
from e2e.scenes import TASK, Scene

from airflow_server import AIRFLOW_3
from side_by_side import SideBySide

SCENES = {
    "worker killed": "plain_sync",
    "worker killed, run over before the retry": "plain_sync",
    "marked failed, sync": "plain_sync",
    "marked failed, deferred": "plain_deferred",
    "cleared, sync": "cleared_sync",
    "cleared, deferred": "cleared_deferred",
    "timed out, sync": "timeout_sync",
    "timed out, deferred": "timeout_deferred",
    "triggerer restarted": "plain_deferred",
}


class LifecycleScene(Scene):
    def clear(self):
        if AIRFLOW_3:
            self.airflow.clear_task(self.dag_id, self.run_id, TASK)
        else:  # which forgets over REST that a running task was cleared
            self.airflow.cli("tasks", "clear", self.dag_id, "--yes")


def begin(airflow, mage, releases, name):
    """Bring a scene to where its Mage run is running; where a worker is to be killed, it has been."""
    scene = LifecycleScene(airflow, mage, SCENES[name], name, releases)
    scene.start()
    scene.wait_for_mage_runs(1)
    if name == "worker killed":
        scene.worker().kill()
        scene.wait_for_log(2, "Reattached to run")
        scene.release()
    elif name == "worker killed, run over before the retry":
        worker = scene.worker()
        worker.suspend()  # so that it does not see the end
        scene.release()
        scene.wait_for_statuses("completed")
        worker.kill()
    return scene


@pytest.fixture(scope="module")
def scenes(airflow, mage, tmp_path_factory):
    """All scenes, begun side by side."""
    releases = tmp_path_factory.mktemp("releases")
    return SideBySide({name: partial(begin, airflow, mage, releases, name) for name in SCENES})


@pytest.fixture
def scene(scenes, request):
    """The scene that a test is about."""
    return scenes[request.param]


def about(name):
    return pytest.mark.parametrize("scene", [name], indirect=True)


@about("marked failed, sync")
def test_marking_a_running_task_failed_cancels_its_run(scene):
    scene.wait_for_task("running")
    scene.wait_until_it_waits()
    scene.mark("failed")
    scene.wait_for_statuses("cancelled")


@about("marked failed, deferred")
def test_marking_a_deferred_task_failed_cancels_its_run(scene):
    scene.wait_for_task("deferred")
    scene.wait_until_it_waits()
    scene.mark("failed")
    scene.wait_for_statuses("cancelled")


@about("cleared, sync")
def test_clearing_a_running_task_cancels_its_run_and_starts_another(scene):
    scene.wait_for_task("running")
    scene.wait_until_it_waits()
    scene.clear()
    scene.wait_for_statuses("cancelled", "running")


@about("cleared, deferred")
def test_clearing_a_deferred_task_cancels_its_run_and_starts_another(scene):
    scene.wait_for_task("deferred")
    scene.wait_until_it_waits()
    scene.clear()
    scene.wait_for_statuses("cancelled", "running")


@pytest.mark.parametrize("scene", ["timed out, sync", "timed out, deferred"], indirect=True)
def test_an_execution_timeout_cancels_the_run(scene):
    scene.wait_for_task("failed")
    scene.wait_for_statuses("cancelled")


@about("triggerer restarted")
def test_a_triggerer_that_restarts_or_dies_cancels_nothing(scene):
    scene.wait_for_task("deferred")
    for kill in (False, True):
        before = scene.wait_until(scene.triggerer, "triggerer")
        scene.airflow.restart_component("triggerer", kill=kill)
        scene.wait_until(lambda before=before: scene.triggerer() not in {None, before}, "next triggerer")
        time.sleep(3)
        assert scene.statuses == ["running"]
    scene.release()
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
    scene.wait_for_task("success")
    scene.release_file.unlink()
    scene.airflow.clear_task(scene.dag_id, scene.run_id, "sleep")
    scene.wait_for_statuses("completed", "running")
