"""What a finished run means: the one function that operator, sensor and trigger ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MagePipelineRunFailed
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import BlockRun, PipelineRun


def failure_of(run: PipelineRun, url: str) -> MagePipelineRunFailed | None:
    """
    Judge a finished run.

    :param run: A run in full detail that is over.
    :param url: Its address in Mage's UI.
    :return: The error that it stands for, or None if Mage said ``completed``.
    """
    if run.status is PipelineRunStatus.COMPLETED:
        return None
    failed = [block for block in run.block_runs if block.status is BlockRunStatus.FAILED]
    if failed:
        reasons = [_describe(block) for block in failed]
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


def _describe(block: BlockRun) -> str:
    return f"Block {block.block_uuid} failed: {block.error or 'it gave no reason; its log in Mage may.'}"
