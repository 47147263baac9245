"""
Asking Mage for exactly one run.

Mage has no idempotency key, so every run carries one of ours in its variables, and whenever it is unknown
whether a request arrived, the runs of the pipeline schedule are searched for it before it is sent again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_mage._runs.duplicates import LOOKING, keep_one, newest_runs
from airflow_provider_mage._runs.identity import Claim, was_created_before
from airflow_provider_mage._runs.repair import repair_run, why_not_repaired
from airflow_provider_mage.api.errors import MageError, MageTransportError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_mage._runs.identity import RunIdentity
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.api.retries import Clock

log = logging.getLogger(__name__)

# How far Airflow's clock may be ahead of Mage's for a search to still find the run.
CLOCK_SKEW = timedelta(hours=1)

# When to look for duplicates, in time-outs after the run was obtained. The first is for what a proxy delivers
# twice, one after the other, the others are for what was held back on its way.
CHECKS_AFTER = (1, 3, 7)

# By how much a duplicate's id may be below that of the run that it repeats: others start runs, too.
MARGIN = 100

# Runs that are read to see that a run was started once: it, and the two before it.
NEWEST = 3


@dataclass(frozen=True)
class RunRequest:
    """
    A run that a task attempt asks for.

    :param pipeline_schedule_id: The pipeline schedule to run under.
    :param identity: Who asks.
    :param variables: Everything the run is given, its identity included.
    :param execution_date: What Mage shows the blocks as such; None for the time of the start.
    :param pipeline_uuid: The schedule's pipeline, the role in which is enough for a start; empty for the
        project's.
    """

    pipeline_schedule_id: int
    identity: RunIdentity
    variables: Mapping[str, Any] = field(repr=False)
    execution_date: datetime | None = None
    pipeline_uuid: str = ""


class ObtainedRun(NamedTuple):
    """The run that stands for a task, which runs that may call its own, and how it came by it."""

    run: PipelineRun
    claim: Claim
    how: str = "started"


def obtain_run(client: MageClient, request: RunRequest, *, retry_from_failure: bool = False) -> ObtainedRun:
    """
    Find or start the one run that stands for a task.

    :param client: The Mage server.
    :param request: What is asked for, and by whom.
    :param retry_from_failure: Whether a failed run of an earlier attempt is repaired instead of replaced.
    :return: An earlier attempt's run if there is one to go on with, else a new one.
    :raises MageTransportError: If it stays unknown whether a run was started. The next attempt will find out.
    """
    if not request.identity.is_retry:
        return _start(client, request)
    newest = _search(client, request)
    own = [run for run in newest if request.identity.attempt_of(run) is not None]
    earlier = keep_one(client, own)
    run = _go_on(client, earlier, retry_from_failure=retry_from_failure)
    old_errors = _old_errors(earlier) if run and earlier else ()
    has_failed = earlier is not None and earlier.status is PipelineRunStatus.FAILED
    how = "started" if run is None else "repaired" if has_failed else "reattached"
    run = run or _start(client, request).run
    # What an earlier attempt has asked for may still be on its way. The search has seen all lower ids.
    since_id = max((one.id for one in newest), default=0)
    claim = _open_claim(client, request, since_id=since_id)
    return ObtainedRun(run, replace(claim, old_errors=old_errors), how)


def runs_left_behind(client: MageClient, request: RunRequest, *, patience: float) -> list[PipelineRun]:
    """
    Find the active runs of a task that is killed before it knew of one.

    :param client: The Mage server.
    :param request: What was asked for.
    :param patience: The most seconds to wait for a run that is on its way.
    :return: The runs.
    """
    # The request that was interrupted may have waited for its answer for no time at all.
    for _ in _looks(min(client.timeout + _settling_time(client), patience), client.clock):
        active = [
            run
            for run in _search(client, request)
            if request.identity.covers(run) and not run.status.is_terminal
        ]
        if active:
            return active
    return []


def _go_on(
    client: MageClient, earlier: PipelineRun | None, *, retry_from_failure: bool
) -> PipelineRun | None:
    """Return the run of an earlier attempt if there is one to go on with."""
    if earlier is None:
        return None
    if not earlier.status.is_terminal:
        log.info("Reattached to run %s, which an earlier attempt of this task started.", earlier.id)
        return earlier
    if earlier.status is PipelineRunStatus.COMPLETED:
        log.info("Run %s, which an earlier attempt of this task started, has completed.", earlier.id)
        return earlier
    # A run that was cancelled was stopped on purpose, perhaps by a clear of this very task, which on
    # Airflow 2.11 looks like a retry (observed): it is not to go on.
    if retry_from_failure and earlier.status is PipelineRunStatus.FAILED:
        run = client.get_pipeline_run(earlier.id)
        obstacle = why_not_repaired(client, run)
        if obstacle is None:
            log.info("Repairing run %s, which is failed: its unfinished blocks run again.", run.id)
            return repair_run(client, run)
        log.info("Run %s %s: starting another.", earlier.id, obstacle)
    return None


def _old_errors(run: PipelineRun) -> tuple[int, ...]:
    """Return the block runs of a run that goes on whose error will not be that of a failure yet to come."""
    return tuple(
        block.id
        for block in run.block_runs
        if block.has_error and (run.status.is_terminal or block.status is not BlockRunStatus.FAILED)
    )


def _start(client: MageClient, request: RunRequest) -> ObtainedRun:
    clock = client.clock
    give_up = clock.monotonic() + client.retries.retry_for + 2 * _settling_time(client)
    lost: _LostRequest | None = None
    while True:
        asked_at = clock.monotonic()
        try:
            run = client.create_pipeline_run(
                request.pipeline_schedule_id,
                request.variables,
                execution_date=request.execution_date,
                pipeline_uuid=request.pipeline_uuid,
            )
        except MageTransportError as error:
            if not error.may_have_arrived:
                raise
            log.warning("Cannot tell whether Mage started a run: searching its runs for it. %s", error)
            now = datetime.fromtimestamp(clock.time(), timezone.utc)
            lost = lost or _LostRequest(request, now - CLOCK_SKEW)
            found = lost.search(client)
            if found is not None:
                log.info("Run %s had been started, although the answer was lost.", found.id)
                return ObtainedRun(found, _open_claim(client, request, since_id=lost.since_id))
            if clock.monotonic() > give_up:
                raise
            log.info("No run was started: asking again.")
        else:
            return _check_start(client, request, run, took=clock.monotonic() - asked_at, lost=lost)


def _check_start(
    client: MageClient, request: RunRequest, run: PipelineRun, *, took: float, lost: _LostRequest | None
) -> ObtainedRun:
    """See that a run was started once, as a proxy may deliver one request twice."""
    since_id = lost.since_id if lost else max(0, run.id - MARGIN)
    # By Mage's clock, on which both deliveries were within the time that the answer took. An execution date
    # that was not asked for is the time of the start; the other one SQLite keeps in whole seconds (observed).
    is_exact = request.execution_date is None and run.execution_date is not None
    started_at = run.execution_date if is_exact else run.created_at
    earliest = started_at - timedelta(seconds=took + (0.25 if is_exact else 2.0)) if started_at else None
    # There is a run, so this is not to wait out an outage: whoever waits for the run does.
    quick = client.with_retries(LOOKING)
    try:
        newest = newest_runs(
            quick,
            request.pipeline_schedule_id,
            lambda one: one.id < run.id and earliest is not None and was_created_before(one, earliest),
            run_key=request.identity.run_key,
            pipeline_uuid=request.pipeline_uuid,
            at_first=NEWEST,
        )
    except MageError as error:  # whatever it is, there is a run, which is what counts
        log.warning("Cannot check whether run %s was started twice. %s", run.id, error)
        return ObtainedRun(run, _open_claim(client, request, since_id=since_id))
    duplicates = [one for one in newest if one.id != run.id and request.identity.asked_for(one)]
    if not (duplicates or lost):
        claim = Claim(request.identity, request.pipeline_schedule_id, pipeline_uuid=request.pipeline_uuid)
        return ObtainedRun(run, claim)
    kept = keep_one(quick, [run, *duplicates]) or run
    return ObtainedRun(kept, _open_claim(client, request, since_id=since_id))


class _LostRequest:
    """The search for the run that a request may have started whose answer was lost."""

    def __init__(self, request: RunRequest, earliest: datetime) -> None:
        self._request = request
        self._earliest = earliest
        # All runs with a lower id have been looked at.
        self.since_id = 0

    def search(self, client: MageClient) -> PipelineRun | None:
        """Return the run, for as long as it may take to appear; None if there is none."""
        client = client.with_retries(replace(client.retries, longest_pause=LOOKING.longest_pause))
        for _ in _looks(_settling_time(client), client.clock):
            newest = self._read(client)
            found = keep_one(client, [run for run in newest if self._request.identity.asked_for(run)])
            self.since_id = self.since_id or max((run.id for run in newest), default=0)
            if found is not None:
                return found
        return None

    def _read(self, client: MageClient) -> list[PipelineRun]:
        return newest_runs(
            client,
            self._request.pipeline_schedule_id,
            lambda run: run.id <= self.since_id or was_created_before(run, self._earliest),
            run_key=self._request.identity.run_key,
            pipeline_uuid=self._request.pipeline_uuid,
        )


def _open_claim(client: MageClient, request: RunRequest, *, since_id: int) -> Claim:
    now = client.clock.time()
    checks_at = tuple(now + client.timeout * number for number in CHECKS_AFTER)
    return Claim(
        request.identity,
        request.pipeline_schedule_id,
        since_id=since_id,
        checks_at=checks_at,
        pipeline_uuid=request.pipeline_uuid,
    )


def _settling_time(client: MageClient) -> float:
    """Seconds in which a request that was given up on may still wait in front of the server's one thread."""
    return 2 * client.timeout


def _looks(seconds: float, clock: Clock) -> Iterator[None]:
    """Say when to look for something that may come within some seconds, the last time at their end."""
    deadline = clock.monotonic() + seconds
    pause = 0.5
    while clock.monotonic() < deadline:
        yield
        clock.sleep(min(pause, max(0.0, deadline - clock.monotonic())))
        pause *= 2
    yield


def _search(client: MageClient, request: RunRequest) -> list[PipelineRun]:
    """Return the newest runs of the schedule, among them all of this DAG run's."""
    return newest_runs(
        client,
        request.pipeline_schedule_id,
        lambda run: request.identity.is_older(run, than=CLOCK_SKEW),
        run_key=request.identity.run_key,
        pipeline_uuid=request.pipeline_uuid,
    )
