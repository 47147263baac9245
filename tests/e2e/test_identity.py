"""Whose Mage run it is where names are used twice, on a real Airflow, and on two that share a Mage."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest
from e2e.conftest import LIFECYCLE_DAGS, SECOND_DATABASE
from e2e.scenes import Scene

from airflow_server import AIRFLOW_3, AirflowServer
from fakes.faulty_proxy import FaultyProxy
from side_by_side import SideBySide

TRIGGERER_THRESHOLD = 10
"""Seconds after which a triggerer that says nothing loses its triggers to another one (default: 30)."""


@pytest.fixture(scope="module")
def starting_second_airflow(postgresql, mage):
    """Another Airflow with the same DAGs and the same Mage, which starts while the first one is busy."""
    env = {"AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_THRESHOLD)}
    server = AirflowServer(postgresql.url(SECOND_DATABASE), dags=[LIFECYCLE_DAGS], env=env)

    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:

        def start():
            stack.enter_context(server)
            server.add_connection(
                "mage_default", "mage", host=mage.url, login=mage.email, password=mage.password
            )
            return server

        yield pool.submit(start)


class Stage:
    """Brings about what the scenes are named for."""

    def __init__(self, airflow, starting_second_airflow, mage, releases):
        self.airflow, self.second, self.mage = airflow, starting_second_airflow, mage
        self.scene = partial(Scene, mage=mage, releases=releases)
        self.scenes = [
            self.made_again,
            self.retries_lowered,
            self.connection_corrected,
            self.two_airflows_sync,
            self.two_airflows_deferred,
            *([] if AIRFLOW_3 else [self.tested_twice]),
        ]

    def one(self, dag_id, name, **conf):
        self.airflow.wait_for_dag(dag_id)
        return self.scene(self.airflow, dag_id=dag_id, name=name, **conf)

    def two(self, dag_id, run_id):
        """Return two scenes with one DAG run id, each in an Airflow of its own."""
        servers = {"first": self.airflow, "second": self.second.result()}
        pair = [
            self.scene(server, dag_id=dag_id, name=f"{run_id} {name}", run_id=run_id)
            for name, server in servers.items()
        ]
        for scene in pair:
            scene.start()
        for scene in pair:
            scene.wait_for_mage_runs(1)
        return pair

    def made_again(self):
        """Bring about a green DAG run, delete it, make it again and kill its first attempt."""
        scene = self.one("plain_sync", "made again")
        scene.start()
        scene.release()
        self.airflow.wait_dag_run(scene.dag_id, scene.run_id)
        assert scene.statuses == ["completed"]
        scene.release_file.unlink()
        self.airflow.delete_dag_run(scene.dag_id, scene.run_id)
        scene.start()
        scene.wait_for_mage_runs(2)
        scene.worker().kill()
        scene.wait_for_log(2, "Reattached to run")
        assert scene.statuses == ["completed", "running"]
        scene.release(to="fail")
        return scene

    def tested_twice(self):
        scene = self.one("tested_sync", "tested twice")
        file = self.airflow.directory / "dags" / LIFECYCLE_DAGS.name / "sleepers.py"
        conf = json.dumps(scene.conf)
        test = ("dags", "test", scene.dag_id, "2026-02-03", "--conf", conf, "--subdir", str(file))
        scene.release()
        self.airflow.cli(*test)
        scene.release(to="fail")
        with pytest.raises(RuntimeError, match="DagRun failed"):
            self.airflow.cli(*test)
        return scene

    def retries_lowered(self):
        """Clear another task while this one is due for a retry tomorrow; then change its retries."""
        scene = self.one("changing_sync", "retries lowered")
        scene.start()
        scene.wait_for_mage_runs(1)
        scene.worker().kill()
        scene.wait_for_task("up_for_retry")
        self.airflow.clear_task(scene.dag_id, scene.run_id, "other")
        self.airflow.wait_task(scene.dag_id, scene.run_id, "other", "success")
        changing = self.airflow.directory / "dags" / LIFECYCLE_DAGS.name / "changing.json"
        changing.write_text('{"retries": 1, "retry_delay": 1}')

        def is_known():
            self.airflow.parse_again(scene.dag_id)
            return '"retries": 1' in self.airflow.serialized_dag(scene.dag_id)

        scene.wait_until(is_known, "change of the DAG")
        return scene

    def connection_corrected(self):
        """Let two tasks wait for a Mage that moves, and say where it is then."""
        mage = self.mage
        with FaultyProxy(mage.url) as proxy:
            self.airflow.add_connection(
                "mage_moves", "mage", host=proxy.root, login=mage.email, password=mage.password
            )
            scenes = [
                self.one(dag_id, f"connection corrected {dag_id}", connection="mage_moves")
                for dag_id in ("plain_sync", "plain_deferred")
            ]
            for scene in scenes:
                scene.start()
            for scene in scenes:
                scene.wait_for_log(1, "is running")
        for scene in scenes:
            scene.wait_for_log(1, "Cannot reach Mage")
        self.airflow.change_connection("mage_moves", "mage", host=mage.url)
        return scenes

    def two_airflows_sync(self):
        return self.two("plain_sync", "two_airflows_sync")

    def two_airflows_deferred(self):
        """Clear another task in the first, and have the second one's triggerer lose its triggers."""
        first, second = pair = self.two("plain_deferred", "two_airflows_deferred")
        for scene in pair:
            scene.wait_for_task("deferred")
            scene.wait_until(scene.triggerer, "triggerer")
        self.airflow.wait_task(first.dag_id, first.run_id, "other", "success")
        self.airflow.clear_task(first.dag_id, first.run_id, "other")
        self.airflow.wait_task(first.dag_id, first.run_id, "other", "success")
        server, loser = second.airflow, second.triggerer()
        server.start_component("triggerer 2")
        for process in server.component_processes("triggerer"):
            process.send_signal(signal.SIGSTOP)
        second.wait_until(lambda: second.triggerer() not in {None, loser}, "second triggerer")
        for process in server.component_processes("triggerer"):
            process.send_signal(signal.SIGCONT)
        second.wait_for_log(1, "The task still waits")
        return pair


@pytest.fixture(scope="module")
def scenes(airflow, starting_second_airflow, mage, tmp_path_factory):
    """All scenes, begun side by side."""
    stage = Stage(airflow, starting_second_airflow, mage, tmp_path_factory.mktemp("releases"))
    return SideBySide({begin.__name__: begin for begin in stage.scenes})


def test_a_dag_run_made_again_has_runs_of_its_own_and_their_colour(scenes):
    """Its first retry reattaches to its own active run, its second one starts another, as that one failed."""
    scene = scenes["made_again"]
    scene.wait_for_task("failed")
    assert scene.statuses == ["completed", "failed", "failed"]
    assert f"Reattached to run {scene.mage_runs[1]['id']}," in scene.log(2)


@pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3 gives each test a DAG run id of its own")
def test_testing_a_dag_twice_for_one_date_runs_the_pipeline_twice(scenes):
    assert scenes["tested_twice"].statuses == ["completed", "failed", "failed"]


def test_a_retry_reattaches_whatever_became_of_retries_and_of_other_tasks(scenes):
    scene = scenes["retries_lowered"]
    scene.wait_for_log(2, f"Reattached to run {scene.mage_runs[0]['id']}")
    scene.release()
    scene.wait_for_task("success")
    assert scene.statuses == ["completed"]


@pytest.mark.parametrize("number", [0, 1], ids=["sync", "deferred"])
def test_a_waiting_task_follows_its_corrected_connection(scenes, number):
    scene = scenes["connection_corrected"][number]
    scene.wait_for_log(1, "Mage can be reached again")
    scene.release()
    scene.wait_for_task("success")
    assert scene.statuses == ["completed"]


def test_two_airflows_with_one_mage_reattach_to_and_cancel_their_own_runs_only(scenes):
    first, second = scenes["two_airflows_sync"]
    first.worker().kill()
    first.wait_for_log(2, f"Reattached to run {first.mage_runs[0]['id']},")
    assert second.statuses == ["running"]
    second.mark("failed")
    second.wait_for_statuses("cancelled")
    assert first.statuses == ["running"]
    first.release()
    first.wait_for_task("success")
    assert first.statuses == ["completed"]


def test_a_triggerer_that_lost_its_triggers_and_a_clear_of_another_task_cancel_nothing(scenes):
    for scene in scenes["two_airflows_deferred"]:
        scene.wait_for_task("deferred")
        assert scene.statuses == ["running"]


def test_two_airflows_with_one_mage_cancel_their_own_runs_only_while_tasks_are_deferred(scenes):
    first, second = scenes["two_airflows_deferred"]
    first.mark("failed")
    first.wait_for_statuses("cancelled")
    assert second.statuses == ["running"]
    second.release()
    second.wait_for_task("success")
    assert second.statuses == ["completed"]
