"""What has changed in a run between two looks at it, in lines for a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_mage.api.models import BlockRun, PipelineRun

# Blocks that have a line of their own in one look; of more, there is one line for all.
MOST_LINES = 5
# Seconds in Mage's queue that are worth a word.
LONG_IN_QUEUE = 5.0

_LEFT_OUT = {
    BlockRunStatus.CONDITION_FAILED: "was left out, as a condition was not met",
    BlockRunStatus.UPSTREAM_FAILED: "was left out, as a block before it failed",
    BlockRunStatus.CANCELLED: "was cancelled",
}


class Changes:
    """Compares a run with what was seen of it before."""

    def __init__(self) -> None:
        self._status: PipelineRunStatus | None = None
        self._blocks: dict[int, BlockRunStatus] = {}
        self._first_seen_at = 0.0

    def see(self, run: PipelineRun, now: float) -> list[str]:
        """
        Return a line for each change.

        :param run: The run, in full detail.
        :param now: The time.
        :return: The lines. Of a run that goes on already, the first look says where it stands.
        """
        before, self._status = self._status, run.status
        blocks_before, self._blocks = self._blocks, {block.id: block.status for block in run.block_runs}
        if before is None:
            self._first_seen_at = now
            if not run.status.is_terminal:
                return [] if run.status is PipelineRunStatus.INITIAL else [f"{describe(run)}."]
        lines = []
        if run.status is PipelineRunStatus.RUNNING and before is not PipelineRunStatus.RUNNING:
            seconds = now - self._first_seen_at
            is_long = before is PipelineRunStatus.INITIAL and seconds >= LONG_IN_QUEUE
            lines.append(
                f"{run.name} is running{f', after {duration(seconds)} in the queue' if is_long else ''}."
            )
        changed = [block for block in run.block_runs if blocks_before.get(block.id) is not block.status]
        return [*lines, *_lines_of(run, changed, blocks_before)]


def _lines_of(run: PipelineRun, changed: list[BlockRun], before: dict[int, BlockRunStatus]) -> list[str]:
    of_all = len(run.block_runs)
    done = sum(block.status is BlockRunStatus.COMPLETED for block in run.block_runs)
    completed = [block for block in changed if block.status is BlockRunStatus.COMPLETED]
    # What ended last is the last to be told, and the number behind it is today's.
    completed.sort(
        key=lambda block: (block.completed_at.timestamp() if block.completed_at else 0.0, block.id)
    )
    count = done - len(completed)
    lines = [
        f"{block.block_uuid} completed{_in(block)} ({number} of {of_all} blocks)"
        for number, block in enumerate(completed, count + 1)
    ]
    if len(lines) > MOST_LINES:
        lines = [
            f"{len(lines)} blocks completed, {completed[-1].block_uuid} the last ({done} of {of_all} blocks)"
        ]
    failed = [block for block in changed if block.status is BlockRunStatus.FAILED]
    lines += _some([f"{block.block_uuid} failed{_in(block, 'after')}" for block in failed], "failed")
    for status, what in _LEFT_OUT.items():
        names = [block.block_uuid for block in changed if block.status is status]
        lines += _some([f"{name} {what}" for name in names], what.replace("was", "were", 1))
    again = [
        block.block_uuid
        for block in changed
        if block.status is BlockRunStatus.QUEUED and before.get(block.id) is BlockRunStatus.RUNNING
    ]
    lines += _some([f"{name} is queued again" for name in again], "are queued again")
    running = [block.block_uuid for block in changed if block.status is BlockRunStatus.RUNNING]
    return [*lines, *_some([f"{name} is running" for name in running], "are running")]


def _some(lines: list[str], what: str) -> list[str]:
    return lines if len(lines) <= MOST_LINES else [f"{len(lines)} blocks {what}"]


def _in(block: BlockRun, word: str = "in") -> str:
    # Of a block that has failed, SQLite knows the second only (observed).
    seconds = seconds_between(block.started_at, block.completed_at or block.updated_at)
    return "" if seconds is None else f" {word} {duration(seconds)}"


def describe(run: PipelineRun) -> str:
    """Say in one line where a run stands: a sentence without its full stop."""
    status = "queued" if run.status is PipelineRunStatus.INITIAL else run.status.value
    sentence = f"{run.name} is {status}"
    if run.block_runs:
        done = sum(block.status is BlockRunStatus.COMPLETED for block in run.block_runs)
        sentence += f"; {done} of {len(run.block_runs)} blocks are done"
    going = [
        f"{block.block_uuid} is {block.status.value}"
        for block in run.block_runs
        if block.status in (BlockRunStatus.QUEUED, BlockRunStatus.RUNNING)
    ]
    others = len(going) - MOST_LINES
    return ", ".join([sentence, *going[:MOST_LINES], *([f"and {others} more"] if others > 0 else [])])


def describe_end(run: PipelineRun) -> str:
    """Say how a run has ended, and how long it took: a sentence without its full stop."""
    what = "was cancelled" if run.status is PipelineRunStatus.CANCELLED else run.status.value
    seconds = seconds_between(run.started_at, run.completed_at or run.updated_at)
    return f"{run.name} {what}" + ("" if seconds is None else f" after {duration(seconds)}")


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return how long something took by Mage's dates; None if these do not say."""
    if start is None or end is None:
        return None
    seconds = (end - start).total_seconds()
    # SQLite keeps some of its dates in whole seconds (observed).
    return max(0.0, seconds) if seconds > -1 else None


def duration(seconds: float) -> str:
    """Write a time so that people can read it."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
