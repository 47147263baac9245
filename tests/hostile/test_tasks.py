"""Every task in every mode, with odd values in the answers that it gets: it ends, as a task should."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException
from oddities import ODD, changed, places

from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.operators.block import MageRunBlockOperator
from airflow_provider_mage.operators.cluster import (
    MageStartClusterOperator,
    MageStopClusterOperator,
    MageUpdateClusterEnvVarsOperator,
)
from airflow_provider_mage.operators.deployment import MageDeployOperator
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.operators.schedule import MagePipelineScheduleOperator
from airflow_provider_mage.operators.workspace import MageUpdateWorkspaceOperator
from airflow_provider_mage.sensors.cluster import MageClusterSensor
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes.faults import Fault
from fakes.mage_cloud import FakeMageCloud
from fakes.mage_pro import FakeMagePro
from fakes.messages import Answer
from fakes.scheduler import TaskInstance

AT_ONCE = 8
SOON = {"poll_interval": 0.05, "timeout": 20}
SOON_SENSED = {"poke_interval": 0.05, "timeout": 20}
MODES = {"worker": {"deferrable": False}, "triggerer": {"deferrable": True}}
SENSOR_MODES = {
    "poke": MODES["worker"],
    "reschedule": {"mode": "reschedule"},
    "triggerer": MODES["triggerer"],
}
TASKS = {
    MageTriggerPipelineOperator: ({"pipeline_uuid": "daily_orders", "max_unreachable": 1, **SOON}, MODES),
    MagePipelineRunSensor: ({"pipeline_run_id": 1, **SOON_SENSED}, SENSOR_MODES),
    MageRunBlockOperator: ({"pipeline_uuid": "daily_orders", "block_uuid": "load_orders"}, {"worker": {}}),
    MagePipelineScheduleOperator: ({"pipeline_schedule_id": 1, "status": "inactive"}, {"worker": {}}),
    MageUpdateWorkspaceOperator: ({"workspace_name": "dev", "action": "stop"}, {"worker": {}}),
    MageDeployOperator: (
        {"setting_name": "prod", "commit": "abc", "branch": "main", "message": "Add"}
        | {"target_branch": "deploy", "environment": "production", **SOON},
        {"worker": {}},
    ),
    MageStartClusterOperator: ({"cluster_id": "c1", **SOON}, MODES),
    MageStopClusterOperator: ({"cluster_id": "c1", **SOON}, MODES),
    MageUpdateClusterEnvVarsOperator: ({"cluster_id": "c1", "env_vars": {"A": "1"}}, {"worker": {}}),
    MageClusterSensor: ({"cluster_id": "c1", **SOON_SENSED}, SENSOR_MODES),
}
PLAYS = [(cls, mode) for cls, (_, modes) in TASKS.items() for mode in modes]


@pytest.fixture(autouse=True)
def connections_go_with_the_test():
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def time_passes_when_somebody_sleeps(monkeypatch):
    """Whoever sleeps in a thread finds that thread's time gone at once; an event loop does wait."""
    slept = threading.local()

    def sleep(seconds):
        slept.seconds = getattr(slept, "seconds", 0.0) + seconds

    def later(clock):
        return lambda: clock() + getattr(slept, "seconds", 0.0)

    monkeypatch.setattr(time, "sleep", sleep)
    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, later(getattr(time, name)))


class Oddity:
    """
    Changes an answer on its way back.

    :param seed: Chooses which one, what in it, and whether the same request is answered so from then on.
    :param of: How many answers there were when nothing was changed.
    """

    def __init__(self, seed, of):
        self.chance = random.Random(seed)  # noqa: S311
        self.index = self.chance.randrange(of) if of else -1
        self.stays = self.chance.random() < 0.5
        self.count = 0
        self.place = self.kind = self.path = None
        self.lock = threading.Lock()

    def __call__(self, request, answer):
        with self.lock:
            self.count += 1
            is_chosen = self.count - 1 == self.index
            if not is_chosen and (not self.stays or self.path != (request.method, request.path)):
                return answer
            try:
                data = json.loads(answer.body)
            except ValueError:
                return answer
            if is_chosen:
                self.path = request.method, request.path
                self.place, self.kind = self.chance.choice(list(places(data))), self.chance.choice(list(ODD))
            try:
                return Answer(answer.status, json.dumps(changed(data, self.place, ODD[self.kind])).encode())
            except (KeyError, IndexError, TypeError):  # another answer to the same request is another shape
                return answer

    def __str__(self):
        return f"answer {self.index} to {self.path}{' and later' * self.stays}: {self.place} {self.kind}"


def play(cls, mode, seed, of=0):
    """Run a task against a server of its own, and return the oddity and what is wrong with how it went."""
    oddity = Oddity(seed, of)
    arguments, modes = TASKS[cls]
    is_about_clusters = "cluster_id" in arguments
    with FakeMageCloud() if is_about_clusters else FakeMagePro(polls_to_finish=3) as server:
        if is_about_clusters:
            server.cluster("c1", **{"status": "Active"} if cls is MageClusterSensor else {})
        else:
            server.example_pipelines()
            server.pipeline_run(server.pipeline_schedule("daily_orders"))
        server.inject(Fault("odd", is_processed=True, change=oddity), times=None)
        name = "mage_cloud_conn_id" if is_about_clusters else "mage_conn_id"
        conn_id = set_connection(server, "mage_cloud" if is_about_clusters else "mage")
        try:
            arguments = {"task_id": "t", name: conn_id, **arguments, **modes[mode]}
            result = TaskInstance(lambda: cls(**arguments)).attempt()
            wrong = _wrong_with_green(server, result) if cls is MageTriggerPipelineOperator else None
        except Exception as error:  # noqa: BLE001  that is what is looked for
            wrong = _wrong_with(error)
            if wrong is None and cls is MageTriggerPipelineOperator:
                wrong = _left_behind(server, str(error))
    return oddity, wrong


def _wrong_with(error):
    text = str(error)
    if isinstance(error, AirflowSkipException):
        return f"skipped: {text}"
    is_for_people = isinstance(error, (AirflowException, MageError)) or type(error) in (
        ValueError,
        TimeoutError,
    )
    if is_for_people and text.strip() and len(text) < 10_000 and "\0" not in text:
        return None
    return f"{type(error).__name__}: {text[:300]!r}"


def _wrong_with_green(server, run_id):
    run = server.pipeline_runs.get(run_id)
    return None if run and run.status == "completed" else f"green, but run {run_id} is {run and run.status}"


def _left_behind(server, text):
    """Say which runs are still active after a task that failed, and that it does not speak of."""
    active = [run.id for run in server.pipeline_runs.values() if run.id > 1 and run.is_active]
    # Another run key is nothing odd: the id of a run that was deleted is given away again.
    is_told = " may " in text or "belongs to another task now" in text
    return f"left {active} behind, and says {text!r}" if active and not is_told else None


def set_connection(server, conn_type):
    """
    Set this thread's connection, and return its id.

    Nothing may be taken out of the environment meanwhile: requests looks for proxies in all of it, and a
    variable that goes as another thread looks is a KeyError there.
    """
    conn_id = f"{conn_type}_{threading.get_ident()}"
    extra = {"share_login": False, "timeout": 5, "team_id": "team-1"}
    user = {"login": server.email, "password": server.password}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(
        {"conn_type": conn_type, "host": server.url, "extra": extra, **user}
    )
    return conn_id


def lengths():
    """Return how many answers each task gets when nothing is odd."""
    found = {}
    for cls, mode in PLAYS:
        oddity, wrong = play(cls, mode, 0)
        assert wrong is None, f"{cls.__name__}, {mode}: {wrong}"
        found[cls, mode] = oddity.count
    return found


@pytest.mark.timeout(0)
def test_tasks_at_random(fuzz_seconds, fuzz_seed, record_property):
    usual = lengths()
    chance, began, complaints, count = random.Random(fuzz_seed), time.perf_counter(), [], 0  # noqa: S311
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = {}
        while time.perf_counter() - began < fuzz_seconds or under_way:
            while len(under_way) < AT_ONCE and time.perf_counter() - began < fuzz_seconds:
                (cls, mode), seed = chance.choice(PLAYS), chance.randrange(10**9)
                started = pool.submit(partial(play, cls, mode, seed, usual[cls, mode]))
                under_way[started] = f"play({cls.__name__}, {mode!r}, {seed}, {usual[cls, mode]})"
            over, _ = wait(under_way, timeout=120, return_when="FIRST_COMPLETED")
            assert over, f"these do not end: {list(under_way.values())}"
            for one in over:
                oddity, wrong = one.result()
                count += 1
                if wrong is not None:
                    complaints.append(f"{under_way[one]}: {oddity}: {wrong}")
                del under_way[one]

    record_property("tried", f"{count} tasks, seed {fuzz_seed}")
    assert not complaints, "\n".join(complaints)
