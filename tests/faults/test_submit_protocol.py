"""Any sequence of accidents around the asking for a run, in a time of its own: nobody really waits."""

from __future__ import annotations

import io
import itertools
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from urllib3.exceptions import NewConnectionError

from airflow_provider_mage._runs.identity import RunIdentity
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage._runs.stall import StallMemory
from airflow_provider_mage._runs.start import RunRequest, obtain_run, runs_left_behind
from airflow_provider_mage._runs.variables import run_variables
from airflow_provider_mage._runs.watch import RunWatch, act
from airflow_provider_mage._waiting.drive import wait
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.session import MageSession
from fakes.mage import FakeMage
from fakes.messages import Request

TIMEOUT = 1.0
LATEST = 1.9
"""Seconds by which a request that was given up on is late at most: the settling time is two time-outs."""

VERY_LATE = 6.9
"""The same if its task goes on waiting: it looks for the last time seven time-outs after its start."""

ACCIDENTS = (
    "refused",
    "lost",
    "answer lost",
    "delivered twice",
    "late",
    "killed before",
    "killed after",
    "killed while late",
)
DEAD_FOR = 10.0
"""Seconds until Airflow notices that a worker is dead and tries again; in truth it takes longer."""


class Killed(BaseException):
    """The end of the worker's process."""


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self):
        self.now = 1_000_000.0
        self.due = []

    def time(self):
        return self.now

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for at, deliver in list(self.due):
            if at <= self.now:
                self.due.remove((at, deliver))
                deliver()


class Wire(BaseAdapter):
    """Brings requests to the fake, but for those that have an accident."""

    def __init__(self, mage, clock, accidents):
        super().__init__()
        self.mage, self.clock, self.accidents = mage, clock, iter(accidents)

    def send(self, request, **_):
        kind, lateness = next(self.accidents, (None, 0.0))
        if kind == "refused":
            raise requests.ConnectionError(NewConnectionError(None, "refused"))
        if kind == "killed before":
            raise Killed
        if "late" in str(kind):
            self.clock.due.append((self.clock.now + TIMEOUT + lateness, lambda: self._deliver(request)))
            if kind == "killed while late":
                raise Killed
            self.clock.sleep(TIMEOUT)
            raise requests.ReadTimeout
        answer = None if kind == "lost" else self._deliver(request)
        if kind == "delivered twice":
            self._deliver(request)
        if kind == "killed after":
            raise Killed
        if kind in ("lost", "answer lost"):
            raise requests.ConnectionError("reset")
        return answer

    def _deliver(self, request):
        url = urlsplit(request.url)
        body = request.body or b""
        answer = self.mage.answer(
            Request(request.method, url.path, parse_qs(url.query), {}, body), threading.Event()
        )
        response = requests.Response()
        response.status_code, response.raw = answer.status, io.BytesIO(answer.body)
        response.url, response.request, response.connection = request.url, request, self
        return response

    def close(self):
        pass


class World:
    """A task that asks for runs of one pipeline."""

    def __init__(self, accidents):
        self.mage = FakeMage(authentication=False, polls_to_finish=None)
        self.mage.pipeline("orders")
        self.schedule = self.mage.pipeline_schedule("orders")
        self.clock = Clock()
        session = MageSession("http://mage.test/api", timeout=TIMEOUT, retry_for=60.0, clock=self.clock)
        session.http.mount("http://", Wire(self.mage, self.clock, accidents))
        self.client = MageClient(session)

    def request(self, try_number):
        identity = RunIdentity("key", f"nonce of attempt {try_number}", try_number)
        return RunRequest(self.schedule.id, identity, run_variables({}, identity))

    def wait_for(self, obtained):
        return wait(
            RunWatch(obtained.run.id, RunRules(poll_interval=1.0, on_stall="fail"), obtained.claim),
            look=lambda: self.client.get_pipeline_run(obtained.run.id),
            act=lambda step: act(self.client, step, StallMemory()),
            clock=self.clock,
            first=obtained.run,
        )

    def runs(self, *statuses):
        return [run.id for run in self.mage.pipeline_runs.values() if run.status in statuses]


def accidents_up_to(latest):
    lateness = st.floats(0, latest, exclude_min=True)
    return st.lists(st.tuples(st.sampled_from((None, *ACCIDENTS)), lateness), max_size=12)


accidents = accidents_up_to(LATEST)


@settings(max_examples=200, deadline=None)
@given(accidents=accidents, endings=st.lists(st.sampled_from(["completed", "failed", None]), max_size=6))
def test_a_task_that_is_green_has_one_run_that_is_active_or_completed(accidents, endings):
    world, ending = World(accidents), iter(endings)
    for try_number in itertools.count(1):
        try:
            run = obtain_run(world.client, world.request(try_number)).run
        except (Killed, MageTransportError):
            run = None
        status = next(ending, None)
        active = world.runs("initial", "running")
        # That two duplicates both complete before anybody has seen them is left out: nobody can help it.
        if status and active and not world.runs("completed"):
            world.mage.finish(active[0], status)
        world.clock.sleep(DEAD_FOR)
        if run and world.mage.pipeline_runs[run.id].status != "failed":
            break
    assert world.runs("initial", "running", "completed") == [run.id]


@settings(max_examples=200, deadline=None)
@given(accidents=accidents_up_to(VERY_LATE), seconds=st.floats(20 * TIMEOUT, 100 * TIMEOUT))
def test_a_duplicate_that_comes_while_its_run_is_waited_for_is_cancelled(accidents, seconds):
    world = World(accidents)
    for try_number in itertools.count(1):
        try:
            obtained = obtain_run(world.client, world.request(try_number))
            break
        except (Killed, MageTransportError):
            world.clock.sleep(DEAD_FOR)
    run = obtained.run
    world.client.session.http.get_adapter("http://").accidents = iter(())
    world.clock.due.append((world.clock.now + seconds, lambda: world.mage.finish(run.id)))
    world.wait_for(obtained)
    assert world.runs("initial", "running", "completed") == [run.id]


@settings(max_examples=200, deadline=None)
@given(accidents=accidents)
def test_a_task_that_is_killed_leaves_no_run_behind(accidents):
    """However far it had come; what the killed request may yet bring is waited for."""
    world = World([*accidents, ("killed while late", LATEST)])
    try:
        obtain_run(world.client, world.request(1))
    except MageTransportError:
        return  # it was not killed
    except Killed:
        pass
    else:
        return  # it knew its run
    world.client.session.http.get_adapter("http://").accidents = iter(())
    for run in runs_left_behind(world.client, world.request(1), patience=10.0):
        world.client.cancel_pipeline_run(run.id)
    world.clock.sleep(DEAD_FOR)
    assert world.runs("initial", "running") == []


def test_a_retry_after_a_kill_goes_on_with_the_run_of_the_attempt_before():
    world = World([("killed after", 0.0)])
    with pytest.raises(Killed):
        obtain_run(world.client, world.request(1))
    assert obtain_run(world.client, world.request(2)).run.id == 1
