"""
Runs that stand for one task: found among the newest, one kept, the others cancelled.

A proxy may deliver a request twice, and a request that was given up on may arrive when nobody counts on it
any more. So where that can have happened, a task looks again while it waits for its run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage._runs.variables import AIRFLOW
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

LOOK_PATIENCE = 20.0
"""Seconds for which a look in the middle of a wait tries to reach Mage; if in vain, there will be another."""

LOOKS = 3
"""
Looks in vain until a doubt is over: one, three and seven time-outs after the run was obtained. The first is
for what a proxy delivers twice, one after the other, the others are for what was held back on its way.
"""

FEW, MANY = 10, 100
"""How many runs are read at first where those since a moment ago are wanted, and where since longer."""

EVERYTHING = 1_000_000


@dataclass(frozen=True)
class Doubt:
    """
    What a task that has its run keeps in mind if a twin of the run may still come.

    :param pipeline_schedule_id: The pipeline schedule that the run was asked for under.
    :param run_key: The task's run key.
    :param try_number: The attempt that has the run. A later attempt's run is its own business: this one is
        then a process that Airflow has given up on.
    :param since: The id that no twin is below.
    :param look_at: When to look again, as in ``time.time()``.
    :param looks: How many looks must still find nothing for the doubt to be over.
    """

    pipeline_schedule_id: int
    run_key: str
    try_number: int
    since: int
    look_at: float = 0.0
    looks: int = LOOKS

    def is_due(self, run: PipelineRun | None, now: float) -> bool:
        """
        Tell whether to look now: at the time, or when the run is over and nobody will look later.

        :param run: The run as it was just seen, if it was. If it was cancelled, another attempt of the task
            may have kept another one.
        :param now: The time, as in ``time.time()``.
        :return: Whether to look.
        """
        if run is not None and run.status.is_terminal:
            return run.status is not PipelineRunStatus.CANCELLED
        return now >= self.look_at


def attempt_behind(run: PipelineRun, run_key: str) -> int | None:
    """
    Say which attempt of a task asked for a run.

    :param run: A run with its variables.
    :param run_key: The task's.
    :return: The attempt's number; None if it was another task.
    """
    origin = run.variables.get(AIRFLOW)
    if not isinstance(origin, Mapping) or origin.get("run_key") != run_key:
        return None
    return int(origin.get("try_number") or 0)


def runs_since(
    client: MageClient, pipeline_schedule_id: int, since: int, run_key: str, *, at_first: int = FEW
) -> list[PipelineRun]:
    """
    Return the runs of a task that are as new as some run or newer.

    Not all that there are, as looking must stay cheap: a server that is slow to answer would be slower still.

    :param client: The Mage server.
    :param pipeline_schedule_id: The pipeline schedule that they run under.
    :param since: That run's id.
    :param run_key: The task's.
    :param at_first: How many runs are read before all that there are since then.
    :return: The runs, the newest first.
    """
    newest = client.list_pipeline_runs(
        pipeline_schedule_id=pipeline_schedule_id, since_id=since, limit=at_first
    )
    if len(newest) == at_first:
        newest = client.list_pipeline_runs(
            pipeline_schedule_id=pipeline_schedule_id, since_id=since, limit=EVERYTHING
        )
    # A run that starts meanwhile moves those before it on to the next page, where they are read again.
    by_id = {run.id: run for run in newest if attempt_behind(run, run_key) is not None}
    return list(by_id.values())


def keep_one(client: MageClient, runs: list[PipelineRun], *, clock: Clock = time) -> PipelineRun | None:
    """
    Of all the runs with one key, return the one that counts, and cancel whatever else is active.

    That is the oldest that completed, else the oldest that is active, else the newest that failed, else (a
    twin that was cancelled is newer than the run that was kept) the newest.

    :param client: The Mage server.
    :param runs: The runs.
    :param clock: The time.
    :return: The run; None if there are none.
    """
    by_age = sorted(runs, key=lambda run: run.id)
    completed = [run for run in by_age if run.status is PipelineRunStatus.COMPLETED]
    active = [run for run in by_age if not run.status.is_terminal]
    failed = [run for run in by_age if run.status is PipelineRunStatus.FAILED]
    kept = next(iter(completed or active or failed[::-1] or by_age[::-1]), None)
    if kept is not None:
        _cancel(client, kept.id, [run for run in active if run.id != kept.id], clock)
    return kept


def look_again(
    client: MageClient, pipeline_run_id: int, doubt: Doubt, *, clock: Clock = time
) -> Doubt | None:
    """
    Cancel the twins that have come since a run was obtained. Never raises, as it is the run that counts.

    :param client: The Mage server.
    :param pipeline_run_id: The run that is kept.
    :param doubt: Where twins may be.
    :param clock: The time.
    :return: The doubt that is left, if any.
    """
    try:
        with client.session.hurried():
            runs = runs_since(client, doubt.pipeline_schedule_id, doubt.since, doubt.run_key, at_first=MANY)
            twins = [
                run
                for run in runs
                if run.id != pipeline_run_id
                and not run.status.is_terminal
                and (attempt_behind(run, doubt.run_key) or 0) <= doubt.try_number
            ]
            _cancel(client, pipeline_run_id, twins, clock)
    except MageError as error:
        log.warning("It was not seen whether run %s was started twice. %s", pipeline_run_id, error)
    else:
        doubt = replace(doubt, looks=doubt.looks if twins else doubt.looks - 1)
    return next_look(client, doubt, clock=clock) if doubt.looks else None


def next_look(client: MageClient, doubt: Doubt, *, clock: Clock = time) -> Doubt:
    """
    Say when to look next: each look in vain doubles the pause.

    :param client: The Mage server.
    :param doubt: The doubt.
    :param clock: The time.
    :return: The same doubt, with that time.
    """
    pause = client.session.timeout * 2 ** (LOOKS - doubt.looks)
    return replace(doubt, look_at=clock.time() + pause)


def _cancel(client: MageClient, kept: int, twins: list[PipelineRun], clock: Clock) -> None:
    for twin in twins:
        log.warning("Runs %s and %s stand for one task: cancelling run %s.", kept, twin.id, twin.id)
        cancel_run(client, twin.id, clock=clock)
