"""Whether a run goes on, as far as its block runs tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import BlockRun, PipelineRun

# So many ends of a block's process without a result are no accident: Mage would start it again for ever.
FALLS = 3


def is_running(run: PipelineRun) -> bool:
    """Tell whether a block is running, or would not be seen: a stream has none, and never ends (observed)."""
    is_stream = run.status is PipelineRunStatus.RUNNING and not run.block_runs and not run.is_orphan
    return is_stream or any(block.status is BlockRunStatus.RUNNING for block in run.block_runs)


def may_be_working(run: PipelineRun) -> bool:
    """Tell whether a run, as long as it looks like this, may be getting on although nothing changes."""
    running = [block.block_uuid for block in run.block_runs if block.status is BlockRunStatus.RUNNING]
    return is_running(run) and (not running or running != childless_blocks(run))


def childless_blocks(run: PipelineRun) -> list[str]:
    """
    Return the blocks that are running, but only look for the items of their dynamic block.

    If it gave none, Mage looks for two minutes, and then runs the block once without one (observed).
    """
    names = [block.block_uuid for block in run.block_runs]
    return [
        block.block_uuid
        for block in run.block_runs
        if block.spawns_children
        and block.status is BlockRunStatus.RUNNING
        and not any(name.startswith(f"{block.block_uuid}:") for name in names)
    ]


def queued_blocks(run: PipelineRun) -> list[str]:
    """Return the names of the blocks that Mage has put into its queue."""
    return [block.block_uuid for block in run.block_runs if block.status is BlockRunStatus.QUEUED]


class Falls:
    """
    Counts how often the processes of a run's blocks have ended without a result.

    Mage then puts the block back into its queue, and starts it again: a loop without end, if it is the block
    that kills its process, or an executor that cannot be imported.
    """

    def __init__(self) -> None:
        self._seen: dict[int, BlockRun] = {}
        self._counts: dict[int, int] = {}

    def see(self, run: PipelineRun) -> str | None:
        """Take note of a run, and return the name of the block that has fallen too often, if there is one."""
        for block in run.block_runs:
            before, self._seen[block.id] = self._seen.get(block.id), block
            if before is not None and _has_fallen(before, block):
                self._counts[block.id] = self._counts.get(block.id, 0) + 1
                if self._counts[block.id] >= FALLS:
                    self._counts[block.id] = 0
                    return block.block_uuid
        return None

    def forget(self) -> None:
        """Begin anew: Mage was away, and processes that ended meanwhile say nothing about their blocks."""
        self._seen.clear()
        self._counts.clear()


def _has_fallen(before: BlockRun, block: BlockRun) -> bool:
    if before.status is not BlockRunStatus.RUNNING:
        return False
    if block.status is BlockRunStatus.RUNNING:
        # Between two looks, it may have been through the queue. Until it ends, Mage changes a block run only
        # when its process begins, but for those that have metrics from their beginning (observed).
        return not block.has_metrics and before.updated_at != block.updated_at
    return block.status in (BlockRunStatus.INITIAL, BlockRunStatus.QUEUED)
