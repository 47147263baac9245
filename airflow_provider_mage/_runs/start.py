"""
Asking Mage for exactly one run.

Mage has no idempotency key, so every run carries one of ours in its variables (``airflow.run_key``), and
whenever nobody can know whether a request arrived, the runs of the pipeline schedule are searched for it
before anything is sent again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.duplicates import (
    EVERYTHING,
    Doubt,
    attempt_behind,
    keep_one,
    next_look,
    runs_since,
)
from airflow_provider_mage.api.errors import MageError, MageTransportError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from airflow_provider_mage._runs.identity import TaskAttempt
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

CLOCK_SKEW = timedelta(hours=1)
"""How far Airflow's clock may be ahead of Mage's for a search to still find the run."""


@dataclass(frozen=True)
class RunRequest:
    """
    A run that a task attempt asks for.

    :param pipeline_schedule_id: The pipeline schedule to run under.
    :param attempt: Who asks.
    :param variables: Everything the run is given, the run key included.
    :param execution_date: What Mage shows the blocks as such; None for the time of the start.
    """

    pipeline_schedule_id: int
    attempt: TaskAttempt
    variables: Mapping[str, Any] = field(repr=False)
    execution_date: datetime | None = None

    def attempt_behind(self, run: PipelineRun) -> int | None:
        """
        Say which attempt of this task asked for a run.

        :param run: A run with its variables.
        :return: The attempt's number; None if it was another task.
        """
        return attempt_behind(run, self.attempt.run_key)


@dataclass(frozen=True)
class ObtainedRun:
    """
    The run that stands for a task.

    :param run: The run.
    :param doubt: Where twins of it may yet be; None if there can be none.
    """

    run: PipelineRun
    doubt: Doubt | None = None


def obtain_run(
    client: MageClient, request: RunRequest, *, retry_from_failure: bool = False, clock: Clock = time
) -> ObtainedRun:
    """
    Find or start the one run that stands for a task.

    :param client: The Mage server.
    :param request: What is asked for, and by whom.
    :param retry_from_failure: Whether a failed or cancelled run of an earlier attempt is repaired instead of
        replaced.
    :param clock: The time.
    :return: An earlier attempt's run if there is one to go on with, else a new one.
    :raises MageTransportError: If it stays unknown whether a run was started. The next attempt will find out.
    """
    # Before the search of a retry, so that no run can come in between and be seen by nobody.
    before = _newest_id(client, request)
    if not request.attempt.is_retry:
        return _create(client, request, before, clock)
    run = _go_on(client, request, retry_from_failure=retry_from_failure, clock=clock)
    if run is None:
        run = _create(client, request, before, clock).run
    # What an earlier attempt has asked for may still be on its way.
    return ObtainedRun(run, _doubt(client, request, before, clock))


def _go_on(
    client: MageClient, request: RunRequest, *, retry_from_failure: bool, clock: Clock
) -> PipelineRun | None:
    """Return the run of an earlier attempt if there is one to go on with."""
    earlier = keep_one(client, _search(client, request), clock=clock)
    if earlier is None:
        return None
    if not earlier.status.is_terminal:
        log.info("Reattached to run %s, which an earlier attempt of this task started.", earlier.id)
        return earlier
    if earlier.status is PipelineRunStatus.COMPLETED:
        log.info("Run %s, which an earlier attempt of this task started, has completed.", earlier.id)
        return earlier
    if retry_from_failure:
        if client.get_pipeline_run(earlier.id).block_runs:
            return _repair(client, earlier, clock)
        # Mage would call it completed, although nothing has run (observed).
        log.info("Run %s was %s before it had begun: starting another.", earlier.id, earlier.status.value)
    return None


def runs_left_behind(
    client: MageClient, request: RunRequest, *, patience: float, clock: Clock = time
) -> list[PipelineRun]:
    """
    Find the run of a task that is killed before it knew of it.

    :param client: The Mage server.
    :param request: What was asked for.
    :param patience: The most seconds to wait for a run that is on its way.
    :param clock: The time.
    :return: The task's active runs.
    """
    # The request that was interrupted may have waited for its answer for no time at all.
    for _ in _looks(min(client.session.timeout + _settling_time(client), patience), clock):
        active = [
            run
            for run in _search(client, request)
            # A later attempt's run is its own: this one is then a process that Airflow had given up on.
            if not run.status.is_terminal and (request.attempt_behind(run) or 0) <= request.attempt.try_number
        ]
        if active:
            return active
    return []


def _create(client: MageClient, request: RunRequest, before: int, clock: Clock) -> ObtainedRun:
    give_up = clock.monotonic() + client.session.retry_for + 2 * _settling_time(client)
    has_lost_one = False
    while True:
        try:
            run = client.create_pipeline_run(
                request.pipeline_schedule_id, request.variables, execution_date=request.execution_date
            )
        except MageTransportError as error:
            if not error.may_have_arrived:
                raise
            has_lost_one = True
            log.warning("Nobody knows whether Mage started a run, so its runs are searched for it. %s", error)
            with client.session.hurried():
                found = _search_until_settled(client, request, before, clock)
            if found is not None:
                log.info("Run %s had been started, although the answer was lost.", found.id)
                return ObtainedRun(found, _doubt(client, request, before, clock))
            if clock.monotonic() > give_up:
                raise
            log.info("No run was started: asking again.")
        else:
            with client.session.hurried():  # a twin that is over before it is found cannot be cancelled
                twins = _twins(client, request, before, run)
                kept = keep_one(client, [run, *(twins or ())], clock=clock) or run
            is_alone = twins == [] and not has_lost_one
            return ObtainedRun(kept, None if is_alone else _doubt(client, request, before, clock))


def _doubt(client: MageClient, request: RunRequest, since: int, clock: Clock) -> Doubt:
    attempt = request.attempt
    doubt = Doubt(request.pipeline_schedule_id, attempt.run_key, attempt.try_number, since)
    return next_look(client, doubt, clock=clock)


def _settling_time(client: MageClient) -> float:
    """Seconds in which a request that was given up on may still wait in front of the server's one thread."""
    return 2 * client.session.timeout


def _looks(seconds: float, clock: Clock) -> Iterator[None]:
    """Say when to look for something that may come within some seconds, the last time at their end."""
    deadline = clock.monotonic() + seconds
    pause = 0.5
    while clock.monotonic() < deadline:
        yield
        clock.sleep(min(pause, max(0.0, deadline - clock.monotonic())))
        pause *= 2
    yield


def _search_until_settled(
    client: MageClient, request: RunRequest, before: int, clock: Clock
) -> PipelineRun | None:
    for _ in _looks(_settling_time(client), clock):
        own = [
            run
            for run in _runs_since(client, request, before)
            if request.attempt_behind(run) == request.attempt.try_number
        ]
        found = keep_one(client, own, clock=clock)
        if found is not None:
            return found
    return None


def _twins(
    client: MageClient, request: RunRequest, before: int, run: PipelineRun
) -> list[PipelineRun] | None:
    """Return the task's other new runs, as a proxy may deliver one request twice; None if none was seen."""
    try:
        return [other for other in _runs_since(client, request, before) if other.id != run.id]
    except MageError as error:  # whatever it is, there is a run, which is what counts
        log.warning("It was not seen whether run %s was started twice. %s", run.id, error)
        return None


def _runs_since(client: MageClient, request: RunRequest, since: int) -> list[PipelineRun]:
    return runs_since(client, request.pipeline_schedule_id, since, request.attempt.run_key)


def _search(client: MageClient, request: RunRequest) -> list[PipelineRun]:
    """Return all runs of the task."""
    not_before = request.attempt.not_before
    runs = client.list_pipeline_runs(
        pipeline_schedule_id=request.pipeline_schedule_id,
        created_after=not_before - CLOCK_SKEW if not_before else None,
        limit=EVERYTHING,
    )
    return [run for run in runs if request.attempt_behind(run) is not None]


def _newest_id(client: MageClient, request: RunRequest) -> int:
    newest = client.list_pipeline_runs(pipeline_schedule_id=request.pipeline_schedule_id, limit=1)
    return newest[0].id if newest else 0


def _repair(client: MageClient, run: PipelineRun, clock: Clock) -> PipelineRun:
    log.info("Repairing run %s, which is %s: its unfinished blocks run again.", run.id, run.status.value)
    give_up = clock.monotonic() + client.session.retry_for + 2 * _settling_time(client)
    while True:
        try:
            return client.retry_pipeline_run(run.id)
        except MageTransportError as error:
            if not error.may_have_arrived or clock.monotonic() > give_up:
                raise
            log.warning("Nobody knows whether Mage repairs run %s. %s", run.id, error)
            clock.sleep(_settling_time(client))
            current = client.get_pipeline_run(run.id)
            if current.status is not run.status or current.updated_at != run.updated_at:
                return current
