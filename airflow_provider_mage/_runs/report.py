"""What is said of a run: where it stands, and what its end means."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow_provider_mage.api.errors import MageError, MagePipelineRunFailed
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import BlockRun, PipelineRun


KILLED_REASON = "This task was killed, so its run was cancelled."


def failure_of(
    run: PipelineRun,
    url: str,
    client: MageClient | None = None,
    *,
    old_errors: Collection[int] | None = (),
    reason: str = "",
) -> MagePipelineRunFailed | None:
    """
    Return the error that a finished run stands for; None if Mage said ``completed``.

    :param run: The run, in full detail.
    :param url: Its page in Mage.
    :param client: Asked for the pipeline schedule, where that may be why the run has ended.
    :param old_errors: The block runs whose error is known to be of an earlier failure than this one; None if
        nobody can know, as nobody has watched the run from its start.
    :param reason: A sentence about why it was cancelled, if that is known.
    :return: The error.
    """
    if run.status is PipelineRunStatus.COMPLETED:
        return None
    failed = [block for block in run.block_runs if block.status is BlockRunStatus.FAILED]
    if failed:
        reasons = [_describe_failure(block, old_errors) for block in failed]
    else:
        reasons = [reason or _describe_timeout(run, client) or _describe_end(run)]
    lines = [f"{run.name} is {run.status.value}.", *reasons, f"See {url}"]
    return MagePipelineRunFailed(
        "\n".join(lines),
        pipeline_run_id=run.id,
        status=run.status.value,
        failed_blocks=tuple(block.block_uuid for block in failed),
    )


def _describe_failure(block: BlockRun, old_errors: Collection[int] | None) -> str:
    name = f"Block {block.block_uuid}"
    if not block.error:
        return f"{name} failed: it gave no reason; its log in Mage may."
    if old_errors is None:
        return f"{name} failed; its first error in this run: {block.error}"
    if block.id in old_errors:
        return f"{name} failed again: Mage keeps a block's first error only; its log in Mage has this one."
    return f"{name} failed: {block.error}"


def _describe_timeout(run: PipelineRun, client: MageClient | None) -> str | None:
    """Say that the time-out of its pipeline schedule has ended a run, if all that is known agrees."""
    if client is None or None in (run.pipeline_schedule_id, run.started_at, run.updated_at):
        return None
    try:
        schedule = client.get_pipeline_schedule(cast("int", run.pipeline_schedule_id))
    except MageError:
        return None
    lasted = cast("datetime", run.updated_at) - cast("datetime", run.started_at)
    # SQLite keeps `updated_at` in whole seconds (observed).
    if not schedule.timeout or lasted.total_seconds() + 1 < schedule.timeout:
        return None
    if run.status is not schedule.timeout_status:
        return None
    return (
        f"Mage ended it: the timeout of its pipeline schedule {schedule.id} ({schedule.name!r}), "
        f"{schedule.timeout:g} s, was over."
    )


def _describe_end(run: PipelineRun) -> str:
    if run.status is PipelineRunStatus.CANCELLED:
        return "It was cancelled in Mage, by a person, a limit or another task."
    return "No block says why; the run's log in Mage does."


def describe(run: PipelineRun) -> str:
    """Say in one line where a run stands: a sentence without its full stop."""
    sentence = f"{run.name} is {run.status.value}"
    if run.block_runs:
        done = sum(block.status is BlockRunStatus.COMPLETED for block in run.block_runs)
        sentence += f"; {done} of {len(run.block_runs)} blocks are done"
    for block in run.block_runs:
        if block.status in (BlockRunStatus.QUEUED, BlockRunStatus.RUNNING):
            sentence += f", {block.block_uuid} is {block.status.value}"
    return sentence
