"""Several runs that stand for one task: one is kept, the others, its duplicates, are cancelled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage.api.models import PipelineRunStatus
from airflow_provider_mage.api.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._runs.identity import Claim
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)

# A duplicate that is over before it is found cannot be cancelled, so a look is not put off for long.
LOOKING = RetryPolicy(20.0, longest_pause=1.0)

# Runs that a look reads at first. Mage answers nobody else meanwhile, at a millisecond a run (observed): a
# server that is slow to answer would be slower still.
FEW = 10


def newest_runs(
    client: MageClient,
    pipeline_schedule_id: int,
    is_far_enough: Callable[[PipelineRun], bool],
    *,
    run_key: str,
    pipeline_uuid: str = "",
    at_first: int = FEW,
) -> list[PipelineRun]:
    """
    Read the newest runs of a pipeline schedule with their variables, the newest first.

    So many are read ``at_first``, and more until the oldest of them ``is_far_enough``. A run that cannot be
    read is left out, unless it has the ``run_key``: not to see that one would be to start it again.
    """
    limit = at_first
    while True:
        runs = client.list_pipeline_runs(
            pipeline_uuid=pipeline_uuid or None,
            pipeline_schedule_id=pipeline_schedule_id,
            limit=limit,
            must_hold=run_key,
        )
        if len(runs) < limit or is_far_enough(runs[-1]):
            # A run that starts meanwhile moves those before it on to the next page, where they come again.
            return list({run.id: run for run in runs}.values())
        limit *= 10


def keep_one(client: MageClient, runs: list[PipelineRun]) -> PipelineRun | None:
    """
    Of all the runs with one key, return the one that counts, and cancel whatever else is active.

    That is the oldest that completed, else the oldest that is active, else the newest that failed, else (a
    duplicate that was cancelled is newer than the run that was kept) the newest.
    """
    by_age = sorted(runs, key=lambda run: run.id)
    completed = [run for run in by_age if run.status is PipelineRunStatus.COMPLETED]
    active = [run for run in by_age if not run.status.is_terminal]
    failed = [run for run in by_age if run.status is PipelineRunStatus.FAILED]
    kept = next(iter(completed or active or failed[::-1] or by_age[::-1]), None)
    if kept is not None:
        # Also if the kept one has completed: what is active now would do its work a second time.
        _cancel(client, kept.id, [run for run in active if run.id != kept.id])
    return kept


def cancel_duplicates(client: MageClient, pipeline_run_id: int, claim: Claim) -> None:
    """Cancel the duplicates of a run that have come since. Never raises, as it is the run that counts."""
    client = client.with_retries(LOOKING)
    try:
        newest = newest_runs(
            client,
            claim.pipeline_schedule_id,
            lambda run: run.id < claim.since_id,
            run_key=claim.identity.run_key,
            pipeline_uuid=claim.pipeline_uuid,
        )
        duplicates = [
            run
            for run in newest
            if run.id >= claim.since_id
            and run.id != pipeline_run_id
            and not run.status.is_terminal
            and claim.identity.covers(run)
        ]
        _cancel(client, pipeline_run_id, duplicates)
    except Exception as error:  # noqa: BLE001  whatever it is
        log.warning("Cannot check whether run %s was started twice. %s", pipeline_run_id, error)


def _cancel(client: MageClient, kept: int, duplicates: list[PipelineRun]) -> None:
    for run in duplicates:
        log.warning("Run %s is a duplicate of run %s: cancelling it.", run.id, kept)
        cancel_run(client, run.id)
