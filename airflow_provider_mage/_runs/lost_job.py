"""
Jobs that Mage has lost: telling that it has, and making it find them.

Mage's pool of worker processes leaves when its queue is empty, and a job that is queued while it leaves stays
in the queue until another job is queued. ``docs/lost-jobs.md`` has the whole story.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.progress import is_running, queued_blocks
from airflow_provider_mage._runs.schedule import look_for_schedule
from airflow_provider_mage.api.errors import MageNotFoundError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun, ServerStatus

log = logging.getLogger(__name__)

WAKE_UP_SCHEDULE = "airflow (wakes the worker pool)"

# Seconds in the queue, with nothing running, after which a job is lost: a pool looks every second.
LOST_AFTER = 60.0

# Runs that are read to see whether a server is idle: at first a few, the oldest, which are those that run,
# and then as many as an idle server may have.
FEW_RUNS, MOST_RUNS = 20, 100

# The versions on which waking the pool was shown to find lost jobs, and to do nothing else.
SHOWN_SINCE, SHOWN_BEFORE = (0, 9, 80), (0, 10)


def may_be_lost(run: PipelineRun) -> bool:
    """Tell whether what is seen of a run, for long enough, could be a lost job."""
    waiting = (BlockRunStatus.INITIAL, BlockRunStatus.QUEUED)
    return (
        run.status is PipelineRunStatus.RUNNING
        and not run.is_orphan
        and not is_running(run)
        and any(block.status in waiting for block in run.block_runs)
    )


def is_queued(run: PipelineRun, pipeline: Mapping[str, Any]) -> bool:
    """Tell whether a run that may be lost has a job in Mage's queue: a block's, or one for all blocks."""
    is_one_job = pipeline.get("run_pipeline_in_one_process") or pipeline.get("type") == "integration"
    return bool(queued_blocks(run) or is_one_job)


def runs_of_idle_server(client: MageClient) -> list[PipelineRun] | None:
    """Return the active runs of a server on which no block and no stream is running; None if one is."""
    for limit in (FEW_RUNS, MOST_RUNS):
        runs = client.list_pipeline_runs(
            statuses=[PipelineRunStatus.RUNNING], order_by="id asc", limit=limit, page_size=limit
        )
        if any(map(is_running, runs)):
            return None
        if len(runs) < limit:
            return runs
    return None


def is_lost(run: PipelineRun, runs: list[PipelineRun]) -> bool:
    """Tell whether a run that is among these, read just now, has not gone on."""
    return any(one.id == run.id and _states(one) == _states(run) for one in runs)


def _states(run: PipelineRun) -> list[tuple[int, BlockRunStatus]]:
    return [(block.id, block.status) for block in run.block_runs]


def why_not_woken(status: ServerStatus, version: str) -> str | None:
    """Say in a sentence why the pool of a server is not to be woken; None if that is known to be harmless."""
    if status.cluster_type or status.project_type != "standalone":
        kind = status.cluster_type or status.project_type or "unknown"
        return f"Waking its worker pool was not tried on a server of this kind ({kind})."
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None or not SHOWN_SINCE <= tuple(map(int, numbers.groups())) < SHOWN_BEFORE:
        return f"Waking its worker pool was not tried on Mage {version or 'of an unknown version'}."
    return None


def wake_worker_pool(client: MageClient, pipeline_uuid: str) -> None:
    """
    Make a worker pool that has left come back, and find what it forgot.

    It does so for any new job, and the clean-up after a cancelled run is one. That run is made for the
    purpose, under a schedule that is never active, so that it never starts, and no block of any other run is
    touched (observed). Then the schedule is deleted, and with it the run is gone from every page and list.
    The run itself stays in Mage's database: its id must not go to another run before the clean-up is over.
    """
    schedule, _ = look_for_schedule(client, pipeline_uuid, WAKE_UP_SCHEDULE)
    if schedule is None:
        schedule = client.create_pipeline_schedule(pipeline_uuid, WAKE_UP_SCHEDULE, is_active=False)
    if schedule.is_active:
        log.warning(
            "Pipeline schedule %r is active, so it cannot be used to wake Mage's worker pool: delete it.",
            schedule.name,
        )
        return
    try:
        run = client.create_pipeline_run(schedule.id)
        client.cancel_pipeline_run(run.id)
    finally:
        # Another task, which wakes it at the same time, may have been quicker.
        with suppress(MageNotFoundError):
            client.delete_pipeline_schedule(schedule.id)
    log.info(
        "Made Mage look into its queue: run %s was made and cancelled for that, and never began.", run.id
    )
