"""A cluster that ten tasks share, on a real Airflow: up once, and down at the end, whatever happens."""

from __future__ import annotations

import re
import time
from functools import partial

import psutil
import pytest

from airflow_server import WAIT_SECONDS, readable
from isolation import wait_until
from side_by_side import SideBySide

TEN = [*(f"before_{number}" for number in range(5)), "middle", *(f"after_{number}" for number in range(4))]
SHORT = ["before_0", "middle", "after_0"]
CLUSTER_TASKS = ["start_cluster", "stop_cluster"]
SHORT_DAG = "shared_cluster_short"


class Scene:
    """One DAG run and its cluster, which has the run's name."""

    def __init__(self, airflow, cloud, name, dag_id=SHORT_DAG, *, cluster_id=None, delay=None, **conf):
        self.airflow, self.cloud, self.dag_id, self.run_id = airflow, cloud, dag_id, name
        self.cluster_id = cluster_id or name
        if cluster_id is None:
            self.cluster = cloud.cluster(name, delay=delay)
        airflow.trigger_dag(dag_id, conf={"cluster_id": self.cluster_id, **conf}, run_id=name)

    def wait_task(self, task_id, *states):
        return self.airflow.wait_task(self.dag_id, self.run_id, task_id, *states)

    def end(self):
        """Wait for the end of the DAG run, and return its state and those of its tasks."""
        state = self.airflow.wait_dag_run(self.dag_id, self.run_id)
        return state, self.airflow.task_states(self.dag_id, self.run_id)

    def process(self, task_id):
        """Return the process that a task lives in."""
        return self.airflow.task_processes(self.dag_id, self.run_id, task_id)[0]

    def kill(self, task_id):
        """End a task as the kernel does when memory runs out."""
        self.process(task_id).kill()

    def request(self, method, path, body):
        """Ask Airflow's REST API something about the DAG run."""
        return self.airflow.request(method, f"/dags/{self.dag_id}/dagRuns/{self.run_id}{path}", body)

    @property
    def puts(self):
        """The statuses that Mage Cloud was asked for."""
        requests = self.cloud.requests_of("PUT", f"/clusters/{re.escape(self.cluster_id)}$")
        return [request.json["cluster"]["status"] for request in requests]


class Stage:
    """Brings about what the scenes are named for."""

    def __init__(self, airflow, cloud, releases):
        self.scene = partial(Scene, airflow, cloud)
        self.cloud = cloud
        self.releases = releases

    def all_green(self):
        return self.scene("all_green", "shared_cluster")

    def deferrable(self):
        return self.scene("deferrable", "shared_cluster_deferrable")

    def middle_fails(self):
        return self.scene("middle_fails", fails=True)

    def middle_waits(self, name):
        scene = self.scene(name, release=str(self.releases / name))
        scene.wait_task("middle", "running")
        # Until then Airflow 2.11 writes "running" over whatever the task is marked as meanwhile.
        scene.process("middle")
        return scene

    def task_killed(self):
        scene = self.middle_waits("task_killed")
        scene.kill("middle")
        return scene

    def run_marked_failed(self):
        scene = self.middle_waits("run_marked_failed")
        scene.request("PATCH", "", {"state": "failed"})
        return scene

    def run_cleared(self):
        scene = self.middle_waits("run_cleared")
        process = scene.process("middle")
        scene.request("POST", "/clear", {"dry_run": False})
        # Airflow ends the first attempt, or forgets to: either may be.
        psutil.wait_procs([process], timeout=15)
        (self.releases / scene.run_id).touch()
        return scene

    def start_killed(self):
        scene = self.scene("start_killed", delay=WAIT_SECONDS)
        scene.wait_task("start_cluster", "running")
        wait_until(lambda: scene.puts, what="start", timeout=WAIT_SECONDS, interval=0.5)
        scene.kill("start_cluster")
        # It comes up after all, while Airflow is about to stop it or later.
        scene.cluster.delay, scene.cluster.due = 2.0, time.time() + 15
        return scene

    def nested(self):
        self.cloud.cluster("outer"), self.cloud.cluster("inner")
        return self.scene("nested", "nested_clusters", cluster_id="outer")

    def shares_first(self):
        """It is at work until the second has come, and the second until the first has gone."""
        scene = self.scene("shares_first", release=str(self.releases / "shares_first"))
        scene.wait_task("start_cluster", "success")
        return scene

    def shares_second(self, first):
        release = self.releases / "shares_second"
        second = self.scene("shares_second", cluster_id=first.cluster_id, release=str(release))
        second.wait_task("start_cluster", "success")
        (self.releases / "shares_first").touch()
        first.end()
        release.touch()
        return second

    def shares(self):
        first = self.shares_first()
        return first, self.shares_second(first)


@pytest.fixture(scope="module")
def scenes(airflow, cloud, tmp_path_factory):
    """All scenes, side by side."""
    stage = Stage(airflow, cloud, tmp_path_factory.mktemp("releases"))
    begin = {
        "all green": stage.all_green,
        "deferrable": stage.deferrable,
        "middle fails": stage.middle_fails,
        "task killed": stage.task_killed,
        "run marked failed": stage.run_marked_failed,
        "run cleared": stage.run_cleared,
        "start killed": stage.start_killed,
        "nested": stage.nested,
        "shares": stage.shares,
    }
    return SideBySide(begin)


def logs(scene, *task_ids):
    """Return what the tasks have logged, for a test that fails."""
    texts = [scene.airflow.task_log(scene.dag_id, scene.run_id, task_id) for task_id in task_ids]
    return "\n".join(line for text in texts for line in readable(text)[-30:])


def assert_up_once_and_down(scene, *sharing):
    said = "\n".join(logs(one, "start_cluster", "stop_cluster") for one in (scene, *sharing))
    assert scene.cluster.history == ["Starting", "Active", "Stopping", "Stopped"], said
    # Two runs that are done at the same moment may both say so.
    assert scene.puts[:2] == ["Active", "Stopped"], said
    assert set(scene.puts[2:]) <= ({"Stopped"} if sharing else set()), said


@pytest.mark.parametrize("name", ["all green", "deferrable"])
def test_ten_green_tasks(scenes, name):
    state, tasks = scenes[name].end()

    assert state == "success", logs(scenes[name], "start_cluster", "middle", "stop_cluster")
    assert tasks == dict.fromkeys([*TEN, *CLUSTER_TASKS], "success")
    assert_up_once_and_down(scenes[name])


def test_middle_task_fails(scenes):
    state, tasks = scenes["middle fails"].end()

    assert state == "failed"
    assert (tasks["middle"], tasks["after_0"], tasks["stop_cluster"]) == (
        "failed",
        "upstream_failed",
        "success",
    )
    assert_up_once_and_down(scenes["middle fails"])


def test_middle_task_is_killed(scenes):
    state, tasks = scenes["task killed"].end()

    assert state == "failed"
    assert (tasks["middle"], tasks["stop_cluster"]) == ("failed", "success")
    assert_up_once_and_down(scenes["task killed"])


def test_run_is_marked_failed(scenes):
    """What it ends as is Airflow's affair: its last tasks are skipped, so it is a success (observed)."""
    _, tasks = scenes["run marked failed"].end()

    assert (tasks["middle"], tasks["after_0"], tasks["stop_cluster"]) == ("failed", "skipped", "success")
    assert_up_once_and_down(scenes["run marked failed"])


def test_run_is_cleared_half_way(scenes):
    state, tasks = scenes["run cleared"].end()

    assert state == "success", logs(scenes["run cleared"], "start_cluster", "middle", "stop_cluster")
    assert {tasks[task_id] for task_id in SHORT} == {"success"}
    assert_up_once_and_down(scenes["run cleared"])


def test_start_is_killed_half_way(scenes):
    """Airflow's own rule for teardowns would leave the cluster up."""
    state, tasks = scenes["start killed"].end()

    assert state == "failed"
    assert (tasks["start_cluster"], tasks["middle"]) == ("failed", "upstream_failed")
    assert tasks["stop_cluster"] == "success"
    assert scenes["start killed"].cluster.history[-1] == "Stopped"


def test_two_runs_share_a_cluster(scenes):
    first, second = scenes["shares"]

    assert first.end()[0] == second.end()[0] == "success", logs(
        second, "start_cluster", "middle", "stop_cluster"
    )
    assert_up_once_and_down(first, second)


def test_nested_clusters_and_mapped_tasks(scenes, cloud):
    state, tasks = scenes["nested"].end()

    assert state == "success", tasks
    assert {tasks[f"outer.mapped[{number}]"] for number in range(3)} == {"success"}
    clusters = cloud.cloud.teams["team-1"]
    assert (
        clusters["inner"].history
        == clusters["outer"].history
        == ["Starting", "Active", "Stopping", "Stopped"]
    )


def test_task_cleared_afterwards_brings_the_cluster_up_again(scenes, airflow):
    scene = scenes["all green"]
    scene.end()
    # As the UI asks for it: with what comes after. Airflow adds the setup and the teardown.
    body = {"dag_run_id": scene.run_id, "task_ids": ["after_3"], "include_downstream": True}
    options = {"dry_run": False, "only_failed": False, "reset_dag_runs": True}
    airflow.request("POST", f"/dags/{scene.dag_id}/clearTaskInstances", {**body, **options})

    state, tasks = scene.end()

    assert state == "success", logs(scene, "start_cluster", "after_3", "stop_cluster")
    assert set(tasks.values()) == {"success"}
    assert scene.puts == ["Active", "Stopped"] * 2
    assert scene.cluster.status == "Stopped"


def test_no_lease_is_left(scenes, airflow):
    scenes.wait()
    for dag_id in ("shared_cluster", "shared_cluster_deferrable", SHORT_DAG, "nested_clusters"):
        for run in airflow.request("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]:
            airflow.wait_dag_run(dag_id, run["dag_run_id"])

    keys = [row["key"] for row in airflow.request("GET", "/variables?limit=100")["variables"]]
    assert [key for key in keys if key.startswith("mage_cluster_leases")] == []
