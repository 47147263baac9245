"""A cluster that ten tasks share, on a real Airflow: up once, and down at the end, whatever happens."""

from __future__ import annotations

import re

import pytest

from airflow_server import readable
from isolation import wait_until

WORK = [*(f"before_{number}" for number in range(5)), "middle", *(f"after_{number}" for number in range(4))]
LONG = 600


class Scene:
    """One DAG run and its cluster, which has the run's name."""

    def __init__(self, airflow, cloud, name, dag_id="shared_cluster", *, cluster_id=None, delay=None, **conf):
        self.airflow, self.cloud, self.dag_id = airflow, cloud, dag_id
        self.cluster_id = cluster_id or name
        if cluster_id is None:
            self.cluster = cloud.cluster(name, delay=delay)
        self.run_id = airflow.trigger_dag(dag_id, conf={"cluster_id": self.cluster_id, **conf}, run_id=name)

    def wait_task(self, task_id, *states):
        return self.airflow.wait_task(self.dag_id, self.run_id, task_id, *states, timeout=150)

    def end(self):
        """Wait for the end of the DAG run, and return its state and those of its tasks."""
        state = self.airflow.wait_dag_run(self.dag_id, self.run_id, timeout=240)
        return state, self.airflow.task_states(self.dag_id, self.run_id)

    def kill(self, task_id):
        """End a task as the kernel does when memory runs out."""
        wait_until(lambda: self._pid(task_id), what=f"process of {task_id}", timeout=60)
        self.airflow.task_processes(self.dag_id, self.run_id, task_id)[0].kill()

    def _pid(self, task_id):
        """Return the process that a task lives in; a task is ``running`` a moment before it has one."""
        rows = self.airflow.task_instances(self.dag_id, self.run_id)
        return next(row["pid"] for row in rows if row["task_id"] == task_id)

    def request(self, method, path, body):
        """Ask Airflow's REST API something about the DAG run."""
        return self.airflow.request(method, f"/dags/{self.dag_id}/dagRuns/{self.run_id}{path}", body)

    @property
    def puts(self):
        """The statuses that Mage Cloud was asked for."""
        requests = self.cloud.requests_of("PUT", f"/clusters/{re.escape(self.cluster_id)}$")
        return [request.json["cluster"]["status"] for request in requests]


@pytest.fixture(scope="module")
def scenes(airflow, cloud):
    """All scenes, side by side; each brings about what its test is named for."""
    cloud.cluster("outer"), cloud.cluster("inner")
    scenes = {
        "all green": Scene(airflow, cloud, "all_green"),
        "deferrable": Scene(airflow, cloud, "deferrable", "shared_cluster_deferrable"),
        "middle fails": Scene(airflow, cloud, "middle_fails", fails=True),
        "task killed": Scene(airflow, cloud, "task_killed", seconds=LONG),
        "run marked failed": Scene(airflow, cloud, "run_marked_failed", seconds=LONG),
        "run cleared": Scene(airflow, cloud, "run_cleared", seconds=6),
        "start killed": Scene(airflow, cloud, "start_killed", delay=25),
        "nested": Scene(airflow, cloud, "nested", "nested_clusters", cluster_id="outer"),
    }
    scenes["shares: first"] = Scene(airflow, cloud, "shares_first")
    scenes["start killed"].wait_task("start_cluster", "running")
    wait_until(lambda: scenes["start killed"].puts, what="start", timeout=60)
    scenes["start killed"].kill("start_cluster")
    scenes["shares: first"].wait_task("start_cluster", "success")
    scenes["shares: second"] = Scene(airflow, cloud, "shares_second", cluster_id="shares_first", seconds=8)
    for name in ("task killed", "run marked failed", "run cleared"):
        scenes[name].wait_task("middle", "running")
        if name == "task killed":
            scenes[name].kill("middle")
        elif name == "run marked failed":
            scenes[name].request("PATCH", "", {"state": "failed"})
        else:
            scenes[name].request("POST", "/clear", {"dry_run": False})
    return scenes


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
    assert set(tasks.values()) == {"success"}
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
    assert {tasks[task_id] for task_id in WORK} == {"success"}
    assert_up_once_and_down(scenes["run cleared"])


def test_start_is_killed_half_way(scenes):
    """Airflow's own rule for teardowns would leave the cluster up."""
    state, tasks = scenes["start killed"].end()

    assert state == "failed"
    assert (tasks["start_cluster"], tasks["middle"]) == ("failed", "upstream_failed")
    assert tasks["stop_cluster"] == "success"
    assert scenes["start killed"].cluster.history[-1] == "Stopped"


def test_two_runs_share_a_cluster(scenes):
    first, second = scenes["shares: first"], scenes["shares: second"]

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
    for scene in scenes.values():
        scene.end()

    keys = [row["key"] for row in airflow.request("GET", "/variables?limit=100")["variables"]]
    assert [key for key in keys if key.startswith("mage_cluster_leases")] == []
