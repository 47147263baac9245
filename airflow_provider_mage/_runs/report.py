"""What the end of a run means."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from airflow_provider_mage._runs.block_state import BlockState
from airflow_provider_mage._runs.changes import describe_end
from airflow_provider_mage._runs.log_lines import LAST_LINES, describe_code_line, tell_last_lines
from airflow_provider_mage._runs.reasons import MOST_BLOCKS, find_reason_of_run, find_reasons
from airflow_provider_mage.api.errors import MageError, MagePipelineRunFailed
from airflow_provider_mage.api.foreign_text import first_lines
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from airflow_provider_mage._runs.reasons import Reason
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import BlockRun, PipelineRun

log = logging.getLogger(__name__)

# Lines of all reasons together: whoever reads only the end of a log is to see the block, too.
MOST_LINES = 12
# Of more blocks than have their reasons told, so many names.
MOST_NAMES = 20

KILLED_REASON = "This task was killed, so its run was cancelled."


def failure_of(
    run: PipelineRun,
    url: str,
    client: MageClient | None = None,
    *,
    old_errors: Collection[int] | None = (),
    reason: str = "",
    last_lines: int = LAST_LINES,
) -> MagePipelineRunFailed | None:
    """
    Return the error that a finished run stands for; None if Mage said ``completed``.

    What the blocks that have failed wrote last goes into the log of the task.

    :param run: The run, in full detail.
    :param url: Its page in Mage.
    :param client: Asked why it has failed; without it, what the run itself says is all.
    :param old_errors: The block runs whose error in ``run`` is known to be of an earlier failure than this
        one; None if nobody can know, as nobody has watched the run from its start.
    :param reason: A sentence about why it was cancelled, if that is known.
    :param last_lines: How many lines of each block.
    :return: The error.
    """
    if run.status is PipelineRunStatus.COMPLETED:
        return None
    failed = [block for block in run.block_runs if block.status is BlockRunStatus.FAILED]
    if failed:
        reasons = _reasons_of(run, failed, client, old_errors, last_lines)
    else:
        reasons = [reason or _describe_timeout(run, client) or _describe_end(run, client)]
    lines = [f"{describe_end(run)}.", *reasons, f"See {url}"]
    return MagePipelineRunFailed(
        "\n".join(lines),
        pipeline_run_id=run.id,
        status=run.status.value,
        failed_blocks=tuple(block.block_uuid for block in failed),
        url=url,
        log_url=_log_url(client, run, failed),
    )


def failure_of_block(
    run: PipelineRun, block_uuid: str, url: str, client: MageClient, *, last_lines: int
) -> MagePipelineRunFailed:
    """
    Return the error that the end of one block stands for, which has not completed.

    :param run: The run, in full detail.
    :param block_uuid: The block; children of a dynamic one count as one with it.
    :param url: The run's page in Mage.
    :param client: Asked why it has failed.
    :param last_lines: How many lines of its log are told.
    :return: The error.
    """
    rows = BlockState(run, block_uuid).rows
    failed = [row for row in rows if row.status is BlockRunStatus.FAILED]
    others = [
        row.block_uuid for row in run.block_runs if row.status is BlockRunStatus.FAILED and row not in rows
    ]
    name = f"Block {block_uuid} of {run.name[:1].lower()}{run.name[1:]}"
    if failed:
        done = sum(row.status is BlockRunStatus.COMPLETED for row in rows)
        of_all = f": {done} of {len(rows)} of its parts are done" if len(rows) > 1 else ""
        # What the block has failed with before may be all that the run itself says.
        lines = [f"{name} failed{of_all}.", *_reasons_of(run, failed, client, None, last_lines)]
    elif any(row.status is BlockRunStatus.CANCELLED for row in rows):
        if run.status is PipelineRunStatus.CANCELLED or not others:
            lines = [f"{name} was cancelled, with the whole run, by a person, a limit or another task."]
        else:
            lines = [f"{name} was cancelled by Mage, because {_join(others)} failed."]
    elif any(row.status is BlockRunStatus.UPSTREAM_FAILED for row in rows):
        lines = [f"{name} was left out by Mage, because {_join(others) or 'a block before it'} failed."]
    else:
        lines = [f"{name} was not run: the run is {run.status.value}."]
    return MagePipelineRunFailed(
        "\n".join([*lines, f"See {url}"]),
        pipeline_run_id=run.id,
        status="cancelled" if run.status is PipelineRunStatus.CANCELLED else "failed",
        failed_blocks=tuple(row.block_uuid for row in failed),
        url=url,
        log_url=_log_url(client, run, failed) if failed else "",
    )


def _join(names: list[str]) -> str:
    more = f" and {len(names) - MOST_BLOCKS} more" if len(names) > MOST_BLOCKS else ""
    return ", ".join(names[:MOST_BLOCKS]) + more


def _reasons_of(
    run: PipelineRun,
    failed: list[BlockRun],
    client: MageClient | None,
    old_errors: Collection[int] | None,
    last_lines: int,
) -> list[str]:
    told = failed[:MOST_BLOCKS]
    found = find_reasons(client, run, told, old_errors, needs_log=last_lines > 0)
    for block in told:
        tell_last_lines(block.block_uuid, found[block.id].records, last_lines)
    most = MOST_LINES // len(told)
    reasons = [_describe_failure(block, found[block.id], old_errors, most) for block in told]
    others = [block.block_uuid for block in failed[MOST_BLOCKS:]]
    if others:
        more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
        reasons.append(f"{len(others)} other blocks failed: {', '.join(others[:MOST_NAMES])}{more}.")
    return reasons


def tell_log_of_block(run: PipelineRun, block_uuid: str, client: MageClient, *, last_lines: int) -> None:
    """
    Tell what a block that has completed has written, as :func:`failure_of_block` does of one that has not.

    :param run: The run, in full detail.
    :param block_uuid: The block.
    :param client: Asked for the log.
    :param last_lines: How many lines of it.
    """
    rows = BlockState(run, block_uuid).rows
    found = find_reasons(client, run, rows[:MOST_BLOCKS], None)
    for row in rows[:MOST_BLOCKS]:
        tell_last_lines(row.block_uuid, found[row.id].records, last_lines)
    if len(rows) > MOST_BLOCKS:
        log.info(
            "The logs of the other %s parts of block %s are in Mage.", len(rows) - MOST_BLOCKS, block_uuid
        )


def _log_url(client: MageClient | None, run: PipelineRun, failed: list[BlockRun]) -> str:
    """Return the page with the log that says why; a run that was cancelled, or an orphan, has none."""
    if client is None or not run.pipeline_uuid or not (failed or run.status is PipelineRunStatus.FAILED):
        return ""
    return client.log_url(run.pipeline_uuid, run.id, failed[0].id if failed else None)


def _describe_failure(
    block: BlockRun, reason: Reason, old_errors: Collection[int] | None, most_lines: int
) -> str:
    name = f"Block {block.block_uuid}"
    if reason.error is not None:
        return f"{name} failed: {_describe_reason(reason, most_lines)}"
    if not block.error:
        return f"{name} failed, and gave no reason that could be read; its log in Mage may."
    if old_errors is None:
        return f"{name} failed; its first error in this run: {first_lines(block.error, most_lines)}"
    return f"{name} failed again: Mage keeps a block's first error only; its log in Mage has this one."


def _describe_reason(reason: Reason, most_lines: int) -> str:
    text = first_lines(str(reason.error), most_lines)
    return f"{text}\n  {describe_code_line(reason.code_line)}" if reason.code_line else text


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


def _describe_end(run: PipelineRun, client: MageClient | None) -> str:
    if run.status is PipelineRunStatus.CANCELLED:
        return "It was cancelled in Mage, by a person, a limit or another task."
    reason = find_reason_of_run(client, run)
    if reason.error is None:
        return "No block says why; the run's log in Mage may."
    return f"None of its blocks has failed; Mage's log says: {_describe_reason(reason, MOST_LINES)}"
