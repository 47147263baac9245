"""A pipeline as a task group, on a real Airflow and a real Mage: colours, repair, cancel."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from threading import Semaphore

import pytest
from group_pipelines import BLOCKS

from airflow_server import AIRFLOW_3, WAIT_SECONDS, readable
from isolation import wait_until
from side_by_side import SideBySide

REPAIRS = r"Repairing run \d+: block (\w+), and what is after it"
LOG_LINES = 20
OWN = ("launch", "repair_cleared", "verdict", "cancel_unfinished")


class Stage:
    """
    One DAG run of a DAG of ``group_dags/groups.py``, and the directory that its Mage run looks into.

    :param directory: Says what the blocks do, by ``hold_NAME``, ``fail_NAME`` and ``fail_once_NAME``; they
        write ``executions``.
    """

    def __init__(self, airflow, mage, directory, dag_id, name, **conf):
        self.airflow, self.mage, self.dag_id, self.run_id = airflow, mage, dag_id, name
        self.directory = directory / name
        self.directory.mkdir()
        self.directory.chmod(0o777)
        self.conf = {"stage": str(self.directory), **conf}

    def __str__(self):
        """Return all that is known of it, for whoever asks why a test has failed."""
        known = [self.states, self.executions, self.repairs, self.statuses]
        lines = [f"{self.run_id} of {self.dag_id}: " + "; ".join(map(str, known))]
        for path in sorted(self.log_directory.rglob("attempt=*.log*")):
            name = path.parent.name.removeprefix("task_id=").removeprefix("group.")
            if self.states.get(name) == "failed":
                log = readable(path.read_text())[-LOG_LINES:]
                lines += [f"{name}, {path.name}:", *(f"  {line[:300]}" for line in log)]
        return "\n".join(lines)

    def tell(self, *names):
        for name in names:
            (self.directory / name).touch()
        return self

    def untell(self, *names):
        for name in names:
            (self.directory / name).unlink()
        return self

    def start(self):
        self.airflow.trigger_dag(self.dag_id, conf=self.conf, run_id=self.run_id)
        return self

    def end(self):
        """Wait for the end of the DAG run, and return its state and those of its tasks."""
        state = self.airflow.wait_dag_run(self.dag_id, self.run_id)
        return state, self.states

    def run(self):
        return self.start().end()

    @property
    def states(self):
        found = self.airflow.task_states(self.dag_id, self.run_id)
        return {task_id.removeprefix("group."): state for task_id, state in found.items()}

    @property
    def times(self):
        """When the last attempt of each task began and ended."""
        rows = self.airflow.task_instances(self.dag_id, self.run_id)
        return {row["task_id"].removeprefix("group."): (row["start_date"], row["end_date"]) for row in rows}

    @property
    def log_directory(self):
        return self.airflow.log_dir / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"

    @property
    def executions(self):
        path = self.directory / "executions"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    @property
    def repairs(self):
        """How often its tasks have had Mage run which block again."""
        paths = self.log_directory.rglob("attempt=*.log")
        lines = [line for path in paths for line in path.read_text().splitlines()]
        return Counter(found[1] for line in lines if (found := re.search(REPAIRS, line)))

    def has_run(self, executions, repairs=()):
        """
        Tell whether blocks were executed as often as that, by way of these repairs.

        More often, with these repairs and no others, is Mage's own doing (docs/lost-jobs.md).
        """
        if executions - self.executions:
            return False
        return self.executions == executions or self.repairs == Counter(repairs)

    @property
    def mage_runs(self):
        pipeline = self.dag_id.rpartition("_")[0]
        runs = self.mage.runs(pipeline if pipeline in BLOCKS else "fan")
        return [run for run in runs if run["variables"].get("stage") == str(self.directory)]

    @property
    def statuses(self):
        return [run["status"] for run in sorted(self.mage_runs, key=lambda run: run["id"])]

    def wait_for_task(self, name, *states):
        self.airflow.wait_task(self.dag_id, self.run_id, f"group.{name}", *states)

    def wait_until(self, look, what):
        def seen():
            return look()

        try:
            return wait_until(seen, what=what, timeout=WAIT_SECONDS, interval=1.0)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.states}, {self.executions}, {self.statuses}") from error

    def wait_for_execution(self, name, count=1):
        self.wait_until(lambda: self.executions[name] >= count, f"execution {count} of {name}")

    def clear(self, *names, downstream=False):
        tasks = [f"group.{name}" for name in names]
        self.airflow.clear_tasks(self.dag_id, self.run_id, tasks, downstream=downstream)

    def log(self, name, try_number=1):
        return self.airflow.task_log(self.dag_id, self.run_id, f"group.{name}", try_number)


def all_green(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"five_{mode}", f"all_green_{mode}")
    return stage, stage.run()


def failing(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"failing_{mode}")
    stage.tell("fail_clean", "hold_check")
    outcome = stage.run()
    log = stage.log("clean")
    cancelled = stage.log("check")
    before = stage.executions
    stage.untell("fail_clean", "hold_check")
    stage.clear("clean", "check", downstream=True)
    return stage, outcome, log, cancelled, before, stage.end()


def tolerant(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"tolerant_{mode}", schedule="tolerant")
    outcome = stage.tell("fail_clean").run()
    before = stage.executions
    stage.untell("fail_clean").clear("clean", downstream=True)
    return stage, outcome, before, stage.end(), stage.times


def partly(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"partly_{mode}")
    stage.tell("fail_clean", "hold_check").run()
    stage.untell("fail_clean", "hold_check").clear("clean", downstream=True)
    return stage, stage.end()


def one_pipeline(pipeline, airflow, mage, directory, mode, *files):
    stage = Stage(airflow, mage, directory, f"{pipeline}_{mode}", f"{pipeline}_once_{mode}").tell(*files)
    return stage, stage.run()


def relaunched(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, "relaunched", f"relaunched_{mode}")
    stage.tell("hold_load").start()
    stage.wait_for_execution("load")
    stage.wait_for_task("load", "deferred")
    if AIRFLOW_3:
        stage.clear("launch", downstream=True)
    else:  # which forgets over REST that a deferred task was cleared
        airflow.cli("tasks", "clear", stage.dag_id, "--task-regex", "launch", "--downstream", "--yes")
    stage.wait_until(lambda: len(stage.mage_runs) == 2, "second run")
    stage.untell("hold_load")
    return stage, stage.end()


def alone(airflow, mage, directory, mode):
    """Clear one block without what is after it: its tasks stay as they are, while Mage runs their blocks."""
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"alone_{mode}")
    stage.run()
    stage.clear("clean")
    first = stage.end()
    stage.wait_until(lambda: stage.statuses == ["completed"], "end of the run")  # on 3.2 nobody waits for it
    as_asked = stage.has_run(once(*BLOCKS["fan"], "clean", "join", "export"), ["clean"])
    executions = stage.executions
    stage.clear("export")
    return stage, first, as_asked, executions, stage.end()


def both_fail(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"both_fail_{mode}", schedule="tolerant")
    stage.tell("fail_clean", "fail_check").run()
    before = stage.executions
    stage.untell("fail_clean", "fail_check").clear("clean", "check", downstream=True)
    return stage, before, stage.end()


def worker_killed(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, "fan_retried", f"worker_killed_{mode}").tell("hold_clean").start()
    stage.wait_for_task("clean", "running")
    airflow.task_processes(stage.dag_id, stage.run_id, "group.clean")[0].kill()
    stage.untell("hold_clean")
    return stage, stage.end()


def triggerer_killed(airflow, mage, directory, mode):
    stage = (
        Stage(airflow, mage, directory, f"fan_{mode}", f"triggerer_killed_{mode}").tell("hold_clean").start()
    )
    stage.wait_for_task("clean", "deferred")

    def triggerer():
        return airflow.triggerer_of(stage.dag_id, stage.run_id, "group.clean")

    before = stage.wait_until(triggerer, "triggerer")
    airflow.restart_component("triggerer", kill=True)
    stage.wait_until(lambda: triggerer() not in {None, before}, "next triggerer")
    stage.untell("hold_clean")
    return stage, stage.end()


def mapped(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, "mapped_groups", f"mapped_{mode}")
    return stage, stage.start().airflow.wait_dag_run(stage.dag_id, stage.run_id)


def one_index(airflow, mage, directory, mode):
    """Clear a block in one of two mapped groups, which Airflow's REST API before 3 has no word for."""
    stage = Stage(airflow, mage, directory, "mapped_groups", f"one_index_{mode}")
    before = stage.start().airflow.wait_dag_run(stage.dag_id, stage.run_id)
    airflow.clear_tasks(stage.dag_id, stage.run_id, [["region.group.clean", 0]], downstream=True)
    return stage, before, airflow.wait_dag_run(stage.dag_id, stage.run_id)


def around(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"nested_{mode}", f"around_{mode}")
    return stage, stage.run()


def in_cluster(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, "clustered", f"in_cluster_{mode}").tell("fail_clean")
    first = stage.run()
    stage.untell("fail_clean").clear("clean", downstream=True)
    second = stage.end()
    return stage, first, second, stage.times


def marked(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, f"fan_{mode}", f"marked_{mode}").tell("hold_load").start()
    stage.wait_for_execution("load")
    stage.wait_for_task("load", "deferred")
    airflow.mark_dag_run(stage.dag_id, stage.run_id, "failed")
    if not AIRFLOW_3:  # which leaves a deferred task alone: only when it has ended is the teardown's turn
        stage.untell("hold_load").tell("hold_clean")
    stage.wait_until(lambda: stage.statuses == ["cancelled"], "cancelled run")
    return stage


def retried(airflow, mage, directory, mode):
    stage = Stage(airflow, mage, directory, "fan_retried", f"retried_{mode}").tell("fail_once_clean")
    return stage, stage.run()


SCENES = {
    "all green": all_green,
    "failing": failing,
    "tolerant": tolerant,
    "partly": partly,
    "conditional": partial(one_pipeline, "conditional"),
    "by day": lambda *arguments: one_pipeline("by_day", *arguments, "fail_day:2"),
    "changed": partial(one_pipeline, "changed"),
    "relaunched": relaunched,
    "alone": alone,
    "both fail": both_fail,
    "marked": marked,
    "retried": retried,
    "worker killed": worker_killed,
    "triggerer killed": triggerer_killed,
    "mapped": mapped,
    **({"one index": one_index} if AIRFLOW_3 else {}),
    "around": around,
    "in cluster": in_cluster,
}
IN_WORKERS = ("all green", "failing", "partly", "alone")
AT_ONCE = 5


@pytest.fixture(scope="module")
def scenes(airflow, mage, cloud, tmp_path_factory):
    cloud.cluster("groups")
    directory = tmp_path_factory.mktemp("stages")
    schedule = {"name": "tolerant", "schedule_type": "api", "status": "active"}
    settings = {"settings": {"allow_blocks_to_fail": True}}
    created = mage.request("POST", "/pipelines/fan/pipeline_schedules", {"pipeline_schedule": schedule})
    path = f"/pipeline_schedules/{created['pipeline_schedule']['id']}"
    mage.request("PUT", path, {"pipeline_schedule": settings})
    # A worker that waits takes up one of Airflow's few slots, and so do its blocks in Mage.
    turns = Semaphore(AT_ONCE)

    def in_turn(scene, mode):
        with turns:
            return scene(airflow, mage, directory, mode)

    names = [(name, "deferred") for name in SCENES] + [(name, "sync") for name in IN_WORKERS]
    return SideBySide({(name, mode): partial(in_turn, SCENES[name], mode) for name, mode in names})


@pytest.fixture
def scene(scenes, request):
    """The scene that a test is about."""
    return scenes[request.param]


def about(name, *modes):
    return pytest.mark.parametrize("scene", [(name, mode) for mode in modes or ("deferred",)], indirect=True)


def once(*names):
    """Return one execution of each."""
    return Counter(names)


def colours(states, **expected):
    """Return the states of the blocks' tasks, with the own ones, as they are expected to be."""
    return {**dict.fromkeys(OWN, "success"), **expected}


@about("all green", "deferred", "sync")
def test_blocks_are_green_and_there_is_one_run(scene):
    stage, (state, states) = scene

    assert state == "success"
    assert set(states.values()) == {"success"}
    assert stage.statuses == ["completed"]
    assert stage.has_run(once(*BLOCKS["five"])), str(stage)
    assert "[third] third begins" in stage.log("third")


@about("failing", "deferred", "sync")
def test_failing_block_is_red_with_its_own_error_and_a_clear_repairs_the_run(scene):
    stage, (state, states), log, cancelled, before, (state_after, states_after) = scene

    assert (state, state_after) == ("failed", "success"), str(stage)
    assert states == colours(
        states,
        before="success",
        load="success",
        clean="failed",
        check="failed",
        join="upstream_failed",
        export="upstream_failed",
        verdict="failed",
        after="upstream_failed",
        reader="success",
    )
    assert "Block clean failed: ValueError: no rows in clean" in log
    assert "[clean] clean begins" in log
    assert "was cancelled by Mage, because clean failed." in cancelled
    assert set(states_after.values()) == {"success"}
    assert stage.statuses == ["completed"]
    more = once("clean", "check", "join", "export")
    assert stage.has_run(before + more, ["clean", "check"]), str(stage)


@about("tolerant")
def test_siblings_stay_green_where_blocks_may_fail(scene):
    stage, (_, states), before, (state_after, _), times = scene

    assert (states["clean"], states["check"], states["join"]) == ("failed", "success", "upstream_failed")
    assert state_after == "success", str(stage)
    assert stage.has_run(before + once("clean", "join", "export"), ["clean"]), str(stage)
    # Although no task right before it was cleared.
    assert times["repair_cleared"][1] <= times["clean"][0]


@about("partly", "deferred", "sync")
def test_partial_repair_that_mage_cannot_finish_is_red_and_cancelled(scene):
    stage, (state, states) = scene

    assert state == "failed"
    assert (states["clean"], states["check"], states["verdict"]) == ("success", "failed", "failed")
    assert stage.statuses == ["cancelled"]
    log = stage.log("verdict", 2)
    assert "cannot go on, so it is cancelled." in log
    assert "nobody has had them run again: check. Clear their tasks, too." in log


@about("conditional")
def test_condition_that_is_false_is_a_skip(scene):
    _, (state, states) = scene

    assert state == "success"
    assert (states["left_out"], states["after_it"], states["beside"]) == ("skipped", "skipped", "success")


@about("by day")
def test_dynamic_children_are_one_task(scene):
    stage, (state, states) = scene

    assert state == "failed"
    assert (states["days"], states["day"], states["total"]) == ("success", "failed", "upstream_failed")
    assert "Block day:tuesday failed: ValueError: no rows in day:2" in stage.log("day")


@about("changed")
def test_block_that_only_one_side_knows_is_warned_of(scene):
    stage, (state, states) = scene

    assert (state, states["kept"], states["gone"]) == ("success", "success", "skipped")
    assert "has blocks without a task; their end counts: added" in stage.log("launch")
    assert "has no such blocks; their tasks are skipped: gone" in stage.log("launch")


@about("relaunched")
def test_clear_of_the_launch_starts_another_run_and_cancels_the_first(scene):
    stage, (state, _) = scene

    assert state == "success", str(stage)
    assert stage.statuses == ["cancelled", "completed"]


@about("alone", "deferred", "sync")
def test_clear_of_one_block_has_mage_go_on_to_the_end_and_that_is_judged(scene):
    stage, (state, _), as_asked, executions, (state_after, _) = scene

    assert (state, state_after) == ("success", "success"), str(stage)
    # What is after it has run in Mage, too, and runs once more when its own task is cleared.
    assert as_asked, str(stage)
    assert stage.has_run(executions + once("export"), ["clean", "export"]), str(stage)
    assert stage.statuses == ["completed"]


@about("both fail")
def test_two_blocks_that_are_cleared_together_run_once_more_and_so_does_what_is_after_both(scene):
    stage, before, (state, _) = scene

    assert state == "success", str(stage)
    assert stage.has_run(before + once("clean", "check", "join", "export"), ["clean", "check"]), str(stage)


@pytest.mark.parametrize(
    "scene", [("worker killed", "deferred"), ("triggerer killed", "deferred")], indirect=True
)
def test_process_that_is_killed_makes_no_difference(scene):
    stage, (state, _) = scene

    assert state == "success", str(stage)
    assert stage.has_run(once(*BLOCKS["fan"])), str(stage)
    assert stage.statuses == ["completed"]


@about("mapped")
def test_mapped_groups_have_a_run_each(scene):
    stage, state = scene

    assert state == "success"
    assert stage.statuses == ["completed", "completed"]


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2.11 clears no single index over REST")
@about("one index")
def test_clear_in_one_mapped_group_repairs_its_run_alone(scene):
    stage, before, after = scene

    assert (before, after) == ("success", "success"), str(stage)
    assert stage.statuses == ["completed", "completed"]
    assert stage.has_run(once(*BLOCKS["fan"], *BLOCKS["fan"], "clean", "join", "export"), ["clean"]), str(
        stage
    )


@about("around")
def test_groups_within_groups_inside_a_setup_and_a_teardown(scene):
    stage, (state, states) = scene

    assert state == "success", str(stage)
    assert set(states.values()) == {"success"}
    assert stage.statuses == ["completed", "completed"]


@about("in cluster")
def test_cluster_around_a_group_is_up_whenever_the_group_is_at_work(scene, cloud):
    stage, (state, states), (state_after, _), times = scene

    assert (state, state_after) == ("failed", "success"), str(stage)
    assert states["stop_cluster"] == "success"
    assert cloud.cloud.teams["team-1"]["groups"].history == ["Starting", "Active", "Stopping", "Stopped"] * 2
    assert times["start_cluster"][1] <= times["repair_cleared"][0] <= times["clean"][0]
    assert times["cancel_unfinished"][1] <= times["stop_cluster"][0]


@about("marked")
def test_dag_run_that_is_marked_failed_leaves_nothing_running(scene):
    assert scene.statuses == ["cancelled"]


@about("retried")
def test_retry_repairs_the_run(scene):
    stage, (state, _) = scene

    assert state == "success", str(stage)
    assert stage.executions["clean"] >= 2
    assert "clean" in stage.repairs
    assert "load" not in stage.repairs
    assert stage.statuses == ["completed"]
