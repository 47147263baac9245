"""
One block of a run: when its end is its task's own, and when it is to run again.

No lock and no leader: each task decides by itself, from what Mage shows of the run and from what the task
has recorded when it last took an end of the block for its own. Whoever finds that end unchanged, and was
cleared or is retried since, asks Mage to run the block again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.identity import digest
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from airflow_provider_mage.api.models import BlockRun, PipelineRun

# Of a block with children, the first of these that one has.
_ENDS = (
    BlockRunStatus.FAILED,
    BlockRunStatus.CANCELLED,
    BlockRunStatus.UPSTREAM_FAILED,
    BlockRunStatus.COMPLETED,
    BlockRunStatus.CONDITION_FAILED,
)
_BUSY = (BlockRunStatus.QUEUED, BlockRunStatus.RUNNING)
_GREEN = (BlockRunStatus.COMPLETED, BlockRunStatus.CONDITION_FAILED)
_OBSTACLES = (BlockRunStatus.FAILED, BlockRunStatus.CANCELLED)

# Of a record: no clear of a task is that one; what stands for whatever end there is; and for none.
ANY_CLEAR, ANY_END, NO_END = -1, "any", "none"

# So often a task has its block run again, if Mage ends the run each time before it does.
MOST_REPAIRS = 5


class BlockState:
    """
    A block in a run, the children of a dynamic or replicated one included.

    :param run: The run, in full detail.
    :param block_uuid: The block.
    """

    def __init__(self, run: PipelineRun, block_uuid: str) -> None:
        child = f"{block_uuid}:"
        self.rows: list[BlockRun] = [
            row for row in run.block_runs if row.block_uuid == block_uuid or row.block_uuid.startswith(child)
        ]

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to run. Children are there before their parent ends (observed)."""
        return bool(self.rows) and all(row.status in _ENDS for row in self.rows)

    @property
    def is_busy(self) -> bool:
        """Whether Mage is at work on it."""
        return any(row.status in _BUSY for row in self.rows)

    @property
    def end(self) -> BlockRunStatus | None:
        """How it has ended; None if it has not."""
        states = {row.status for row in self.rows}
        return next(end for end in _ENDS if end in states) if self.is_over else None

    @property
    def fingerprint(self) -> str:
        """What tells one execution of it from the next."""
        # Mage dates the start of a block that has completed before by its first start, and never takes the
        # date of a completion back (observed).
        rows = [
            [
                row.id,
                row.status.value,
                str(row.started_at),
                str(row.completed_at if row.status is BlockRunStatus.COMPLETED else row.updated_at),
            ]
            for row in self.rows
        ]
        return digest(rows)


@dataclass(frozen=True)
class Recorded:
    """
    Which end of its block a task has taken for its own last.

    :param fingerprint: Of the block then. If Mage runs it again for another task: :data:`ANY_END` for a task
        that stays as it is, and :data:`NO_END` for one that is to take the new end.
    :param generation: What a clear of the task changes (Airflow's ``max_tries``).
    """

    fingerprint: str
    generation: int

    @classmethod
    def from_dict(cls, stored: Any) -> Recorded | None:
        """Read what was stored; None if nothing was."""
        return cls(stored["fingerprint"], stored["generation"]) if isinstance(stored, Mapping) else None


class Decision(Enum):
    """What a task is to do about its block."""

    WAIT = "wait"
    TAKE = "take"
    REPAIR = "repair"


@dataclass(frozen=True)
class BlockGoal:
    """
    What a block's task waits for.

    :param block_uuid: The block.
    :param generation: What a clear of the task changes.
    :param recorded: Which end of the block the task has taken last; None if it has taken none in this run.
    :param before: The names of all blocks before it.
    :param after: The names of all blocks after it.
    :param along: The names of other blocks whose tasks are to run again. Those of them that have failed are
        run again with it, where Mage goes on with no run that has a failed block.
    :param pending: The names of other blocks whose tasks have not ended since they began, or were cleared.
    :param asked: How often this attempt has had the block run again.
    :param stuck: Of a run that does not go on: its state, as :class:`Standstill` writes it.
    """

    block_uuid: str
    generation: int = 0
    recorded: Recorded | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    along: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    asked: int = 0
    stuck: str = ""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what a deferred task has stored."""
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        known["recorded"] = Recorded.from_dict(known.get("recorded"))
        known |= {
            name: tuple(known[name]) for name in ("before", "after", "along", "pending") if name in known
        }
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return what a deferred task stores: names, numbers and digests."""
        return asdict(self)

    def is_stale(self, run: PipelineRun) -> bool:
        """Whether the block has ended as it was when its task was last executed."""
        state = BlockState(run, self.block_uuid)
        return (
            state.is_over
            and not self.asked
            and self.recorded is not None
            and self.recorded.fingerprint in (state.fingerprint, ANY_END)
        )

    def decide(self, run: PipelineRun) -> Decision:  # noqa: PLR0911  one after the other
        """
        Say what to do about the block.

        :param run: The run, in full detail.
        :return: To wait; to take the block's end for the task's own; or to have Mage run the block again.
        :raises MageError: If the task was retried, and somebody has cancelled the run.
        """
        state = BlockState(run, self.block_uuid)
        if not state.rows:
            # Either the run has ended before it had begun, or its pipeline has no such block. Of an `initial`
            # run, Mage may not have made all block runs yet (observed).
            is_complete = run.block_runs and run.status is not PipelineRunStatus.INITIAL
            return Decision.TAKE if is_complete or run.status.is_terminal else Decision.WAIT
        if not state.is_over:
            return Decision.WAIT
        if self._was_left_out_by_mistake(run, state):
            # Those before it may be at work again.
            is_due = all(BlockState(run, name).is_over for name in self.before)
            return Decision.REPAIR if is_due else Decision.WAIT
        if self._was_in_vain(run, state):
            # Those that are pending may be run again by their tasks.
            return Decision.WAIT if _failed(self.pending, run) else Decision.REPAIR
        if not self.is_stale(run):
            return Decision.TAKE
        is_retry = self.recorded is not None and self.recorded.generation == self.generation
        if is_retry and state.end in _GREEN:
            return Decision.TAKE
        if is_retry and run.status is PipelineRunStatus.CANCELLED:
            raise MageError(
                f"{run.name} was cancelled, so a retry does not run block {self.block_uuid} again: clear the "
                "task to have it run again."
            )
        # Mage kills what runs of the blocks after it, and would run them once more than needed (observed).
        if any(BlockState(run, name).is_busy for name in self.after):
            return Decision.WAIT
        return Decision.REPAIR

    def _was_left_out_by_mistake(self, run: PipelineRun, state: BlockState) -> bool:
        """
        Whether Mage has left it out although no block before it has failed.

        Mage's scheduler first looks which blocks have failed, and then writes which others it leaves out: a
        repair in between sets all of them back, and what is written last counts (observed).
        """
        is_left_out = state.end is BlockRunStatus.UPSTREAM_FAILED and not obstacles_in(run)
        goes_on = run.status in (PipelineRunStatus.RUNNING, PipelineRunStatus.COMPLETED)
        return is_left_out and goes_on and self.asked < MOST_REPAIRS

    def _was_in_vain(self, run: PipelineRun, state: BlockState) -> bool:
        """Whether Mage has ended the run after the repair, over another block that is to run again, too."""
        if state.end is not BlockRunStatus.CANCELLED or not 0 < self.asked < MOST_REPAIRS:
            return False
        is_failed = run.status is PipelineRunStatus.FAILED
        others = (*self.along, *self.pending)
        return run.status is PipelineRunStatus.RUNNING or (is_failed and bool(_failed(others, run)))

    def failed_along(self, run: PipelineRun) -> list[str]:
        """Return the blocks that have failed, and are to be run again with this one."""
        return _failed(self.along, run)


def _failed(names: Iterable[str], run: PipelineRun) -> list[str]:
    return [name for name in names if BlockState(run, name).end is BlockRunStatus.FAILED]


def is_blocked(goal: BlockGoal, run: PipelineRun) -> bool:
    """Tell whether a block has not begun, and cannot, as those before it are and as nothing runs."""
    rows = BlockState(run, goal.block_uuid).rows
    has_not_begun = any(row.status is BlockRunStatus.INITIAL for row in rows)
    return has_not_begun and not _is_busy(run) and bool(obstacles_of(goal, run))


def is_stuck(goals: Iterable[BlockGoal], run: PipelineRun) -> bool:
    """
    Tell whether a run that Mage takes for running cannot go on, as long as nobody has blocks run again.

    Mage ends no run that has a block which was cancelled, even if all others have completed.

    :param goals: Its blocks, as far as they are known.
    :param run: The run, in full detail.
    :return: Whether it is.
    """
    if _is_busy(run) or not obstacles_in(run):
        return False
    waiting = {row.block_uuid for row in run.block_runs if row.status is BlockRunStatus.INITIAL}
    return all(obstacles_of(goal, run) for goal in goals if goal.block_uuid in waiting)


def _is_busy(run: PipelineRun) -> bool:
    return any(row.status in _BUSY for row in run.block_runs)


def obstacles_of(goal: BlockGoal, run: PipelineRun) -> list[str]:
    """Return which blocks before a block have failed or were cancelled, so that it cannot run."""
    return [name for name in goal.before if BlockState(run, name).end in _OBSTACLES]


def obstacles_in(run: PipelineRun) -> list[str]:
    """Return which blocks of a run have failed or were cancelled."""
    names = [row.block_uuid.partition(":")[0] for row in run.block_runs if row.status in _OBSTACLES]
    return list(dict.fromkeys(names))
