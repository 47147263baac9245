"""
Every fault in every phase of a task, waiting in worker and triggerer, on the fake and on a real Mage.

The cases are generated, and run side by side before the first is looked at, as they spend their time waiting.
All their times are in time-outs, so that a slow server is met with a longer one (``Case.at``).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import pytest
from faults import TimedProxy

from airflow_provider_mage.api.errors import MageError, MagePipelineRunFailed
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.faults import CLOSE_BEFORE, RESET_AFTER, Fault, late_request
from fakes.faulty_proxy import DUPLICATE, OUTAGE, single_faults
from fakes.mage import FakeMage
from fakes.scheduler import TaskInstance, add_connection

TIMEOUT = {"fake": 1.0, "real": 4.0}
"""
Seconds that a request may take at first. The real one has many tasks to answer, and blocks to run besides.
"""

PATIENCE = {"fake": 1.5, "real": 2.5}
"""Time-outs, instead of the minutes for which the package repeats requests that it may repeat."""

BLOCKS = ("first", "middle", "last")
WHY = "the warehouse is not open yet"
"""The middle block's error in both projects."""


@dataclass(frozen=True)
class Phase:
    """
    A part of a task's life, told by a request.

    :param on_real: Whether it is played on a real Mage, too, where all cases share log-in and schedule.
    """

    name: str
    method: str
    path: str
    on_real: bool = True


PHASES = [
    Phase("log-in", "POST", "/sessions$", on_real=False),
    Phase("find schedule", "GET", "/pipeline_schedules$", on_real=False),
    Phase("create schedule", "POST", "/pipeline_schedules$", on_real=False),
    Phase("create run", "POST", "/pipeline_runs$"),
    Phase("look for duplicate", "GET", r"/pipeline_schedules/\d+/pipeline_runs$"),
    Phase("wait", "GET", r"^/api/pipeline_runs"),
    Phase("cancel", "PUT", r"/pipeline_runs/\d+$"),
    Phase("repair", "PUT", r"/pipeline_runs/\d+$"),
]


@dataclass(frozen=True)
class Case:
    server: str
    phase: Phase
    fault: Fault
    times: int | None
    deferrable: bool
    pace: int = 1

    @property
    def pool(self):
        return self.server

    @property
    def needs_mage(self):
        return self.server == "real"

    @property
    def length(self):
        """What tells the long ones from the others: how late something is, and how often."""
        late = min(self.fault.wait_before + self.fault.wait_after, 10 * self.timeout)
        return (late + self.timeout) * (1 if self.times else 3)

    @property
    def timeout(self):
        return self.pace * TIMEOUT[self.server]

    def at(self, pace):
        """Return the same case with time-outs that are longer by a factor, and what is late as much later."""
        if pace == 1 or self.fault is OUTAGE:  # its wait ends when the connections break
            return replace(self, pace=pace)
        before, after = pace * self.fault.wait_before, pace * self.fault.wait_after
        return replace(self, pace=pace, fault=replace(self.fault, wait_before=before, wait_after=after))

    @property
    def patience(self):
        return PATIENCE[self.server] * self.timeout

    @property
    def comes_too_late(self):
        """Whether the request arrives when the search for its run is over, and another was sent."""
        return self.fault.wait_before > 3 * self.timeout and self.fault is not OUTAGE

    def __str__(self):
        mode, times = "deferrable" if self.deferrable else "sync", "" if self.times else " for long"
        pace = "" if self.pace == 1 else f"-{self.pace}"
        return f"{self.server}-{self.phase.name}-{self.fault.name}{times}-{mode}{pace}".replace(" ", "_")

    def play(self, mage):
        return play(self, mage)

    def check(self, outcome):
        check(self, outcome)


def cases(server):
    timeout = TIMEOUT[server]
    for phase in PHASES:
        faults = [(fault, 1) for fault in (*single_faults(timeout), OUTAGE)]
        if phase.name == "create run":
            faults.append((replace(late_request(6 * timeout), name="very late request"), 1))
        faults += [(fault, None) for fault in (CLOSE_BEFORE, RESET_AFTER, late_request(1.5 * timeout))]
        if server == "real" and not phase.on_real:
            continue
        for (fault, times), deferrable in itertools.product(faults, (False, True)):
            yield Case(server, phase, fault, times, deferrable)


CASES = [*cases("fake"), *cases("real")]


@dataclass
class Stage:
    """
    A Mage with what a case needs.

    :param runs: Returns the task's runs there are by then: id, status and run key.
    :param executions: Returns how often each block of a run was begun.
    """

    mage: Any
    root: str
    options: dict[str, Any]
    runs: Callable[[], list[tuple[int, str, str]]]
    executions: Callable[[int], dict[str, int]]
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def fake_stage(case):
    """A server of the case's own. Its runs move when they are looked at."""
    pipelines = {
        "cancel": {"polls_to_finish": None},
        "repair": {"fails_at": "middle", "fails_times": 1, "error": RuntimeError(WHY)},
    }
    # Its own: a log-in is remembered by URL and user, and a port may be that of a case before.
    password = f"sesame-{random.getrandbits(64):x}"
    # Airflow masks every token that it has ever seen, which takes the longer the more there are.
    with FakeMage(password=password, polls_to_finish=3, authentication=case.phase.name == "log-in") as mage:
        poll_interval = 0.05
        if case.comes_too_late:
            mage.polls_to_finish, poll_interval = 8, case.timeout
        mage.pipeline("pipeline", BLOCKS, **pipelines.get(case.phase.name, {}))

        def runs():
            rows = list(mage.pipeline_runs.values())
            return [(run.id, run.status, run.variables["airflow"]["run_key"]) for run in rows]

        options = {"pipeline_uuid": "pipeline", "poll_interval": poll_interval}
        yield Stage(mage, mage.root, options, runs, mage.executions)


@contextmanager
def real_stage(case, mage):
    """The server that all cases share, with the one log-in that it has."""
    journal = mage.directory / f"{case}.journal"
    options = {"pipeline_uuid": "sleeper", "poll_interval": 1, "variables": {"seconds": 1}}
    if case.phase.name == "repair":
        options["pipeline_uuid"] = "journal"
        options["variables"] = {"journal": str(journal), "fails_once": True}
    elif case.phase.name == "cancel":
        options["variables"]["seconds"] = 600
    elif case.phase.name == "create run":
        # A duplicate that is over before it is found cannot be cancelled.
        options["variables"]["seconds"] = (8 if case.comes_too_late else 5) * case.timeout

    def runs():
        rows = [(row["id"], row["status"], row["variables"].get("airflow", {})) for row in mage.stored_runs()]
        return [(id_, status, it["run_key"]) for id_, status, it in rows if it.get("run_id") == str(case)]

    def executions(_):
        return Counter(journal.read_text().split()) if journal.exists() else {}

    yield Stage(mage, mage.url, options, runs, executions, {"oauth_token": mage.session_tokens()[0]})


@dataclass
class Outcome:
    result: int | None = None
    errors: list[Exception] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    statuses: dict[int, str] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    requests: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """The most seconds that the server took to answer."""


class Impatient(MageTriggerPipelineOperator):
    @cached_property
    def hook(self):
        return MageHook(self.mage_conn_id, retry_for=self.max_unreachable)


def play(case, mage):
    """Run one task, as Airflow would; what goes wrong for long is over when an attempt has failed of it."""
    outcome = Outcome()
    stage_of_case = fake_stage(case) if case.server == "fake" else real_stage(case, mage)
    with stage_of_case as stage, TimedProxy(stage.root) as proxy:
        conn_id = f"mage_{random.getrandbits(64):x}"
        add_connection(conn_id, stage.mage, proxy.root, timeout=case.timeout, **stage.extra)
        options = {"task_id": "task", "mage_conn_id": conn_id, "retries": 2, **stage.options}
        options |= {"deferrable": case.deferrable, "max_unreachable": case.patience}
        if case.phase.name == "cancel":
            options |= {"timeout": 0.3 * case.timeout}
        elif case.phase.name == "repair":
            options |= {"retry_from_failure": True}
        proxy.inject(case.fault, case.times, (case.phase.method, case.phase.path))
        ti = TaskInstance(partial(Impatient, **options), run_id=str(case))
        while outcome.result is None and ti.try_number <= ti.max_tries:
            try:
                outcome.result = ti.attempt()
            except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the outcome
                outcome.errors.append(error)
                if case.phase.name == "cancel" and "cancelled" in {status for _, status, _ in stage.runs()}:
                    break
            if proxy.faults:
                proxy.heal()
        outcome.faults, outcome.slowest = proxy.faults.total(), proxy.slowest
        outcome.requests = [
            f"{it.method} {it.path} {it.status} {it.fault or ''}".rstrip() for it in proxy.requests
        ]
        for pipeline_run_id, status, run_key in stage.runs():
            outcome.keys.add(run_key)
            outcome.statuses[pipeline_run_id] = status
            if pipeline_run_id == outcome.result:
                outcome.executions = stage.executions(pipeline_run_id)
    return outcome


def check(case, outcome):
    errors, statuses, executions = [*outcome.errors], {**outcome.statuses}, {**outcome.executions}
    assert outcome.faults
    assert len(outcome.keys) == 1
    if case.phase.name == "cancel":
        assert errors
        assert isinstance(errors.pop(), TimeoutError)
    else:
        assert statuses.pop(outcome.result, None) == "completed", errors
    assert set(statuses.values()) <= {"cancelled"}, f"a duplicate was not cancelled: {outcome.requests}"
    starts = sum(it.startswith("POST") and "/pipeline_runs " in it for it in outcome.requests)
    # A real server that is slow is searched for longer than the request is late.
    if case.comes_too_late and (case.server == "fake" or starts > 1):
        assert statuses, "there was no duplicate"
    if case.phase.name == "repair":
        failures = [error for error in errors if isinstance(error, MagePipelineRunFailed)]
        # A real server that is slow may be lost sight of until its run has failed.
        assert len(failures) == 1 or (case.server == "real" and not failures and errors)
        for failure in failures:
            errors.remove(failure)
            assert f"Block middle failed: RuntimeError: {WHY}" in str(failure)
        # Mage sets back the blocks of a running run that it is told once more to repair.
        most = 3 if case.server == "real" and case.fault.name == DUPLICATE.name else 2
        assert executions.pop("middle", 0) in range(2, most + 1)
        assert executions == {"first": 1, "last": 1}
    for error in errors:
        assert isinstance(error, (MageError, TimeoutError) if case.phase.name == "cancel" else MageError)
        assert not isinstance(error, MagePipelineRunFailed)


@pytest.mark.timeout(3600)  # the first waits for all of them, of both modules
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_task_has_one_run_whatever_goes_wrong(outcomes, case):
    case_at_pace, outcome = outcomes[case].result()
    check(case_at_pace, outcome)
