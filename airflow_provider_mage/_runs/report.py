"""What is said of a run: where it stands, and what its end means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MagePipelineRunFailed
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import BlockRun, PipelineRun


def failure_of(run: PipelineRun, url: str) -> MagePipelineRunFailed | None:
    """Return the error that a finished run, in full detail, stands for; None if Mage said ``completed``."""
    if run.status is PipelineRunStatus.COMPLETED:
        return None
    failed = [block for block in run.block_runs if block.status is BlockRunStatus.FAILED]
    if failed:
        reasons = [_describe_failure(block) for block in failed]
    elif run.status is PipelineRunStatus.CANCELLED:
        reasons = ["It was cancelled in Mage, by a person, a limit or another task."]
    else:
        reasons = ["No block says why; the run's log in Mage does."]
    lines = [f"{run.name} is {run.status.value}.", *reasons, f"See {url}"]
    return MagePipelineRunFailed(
        "\n".join(lines),
        pipeline_run_id=run.id,
        status=run.status.value,
        failed_blocks=tuple(block.block_uuid for block in failed),
    )


def _describe_failure(block: BlockRun) -> str:
    return f"Block {block.block_uuid} failed: {block.error or 'it gave no reason; its log in Mage may.'}"


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
