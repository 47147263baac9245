"""Waiting for one block of a run, or for the end of a run that may be unable to go on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.block_state import (
    MOST_REPAIRS,
    BlockGoal,
    BlockState,
    Decision,
    is_blocked,
    is_stuck,
)
from airflow_provider_mage._runs.identity import digest
from airflow_provider_mage._runs.repair import ends_with_a_failed_block, repair_from
from airflow_provider_mage._runs.watch import RunWatch
from airflow_provider_mage.api.models import PipelineRunStatus
from airflow_provider_mage.api.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from airflow_provider_mage._runs.identity import Claim
    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

# Seconds, and looks, for which a run must not move until it counts as stuck: Mage writes the end of a run and
# those of its blocks one after the other, and looks at what is to be done next every ten seconds by default.
STUCK_AFTER, STUCK_LOOKS = 30.0, 3


@dataclass(frozen=True)
class RepairFrom:
    """To do: have Mage run a block, and those after it, again in the same run."""

    watch: BlockWatch

    def do(self, client: MageClient) -> PipelineRun:
        """Do it, unless another task has done it meanwhile; raises a MageError if that is of no use."""
        watch, goal = self.watch, self.watch.goal
        client = client.with_retries(RetryPolicy(watch.rules.max_unreachable))
        run = client.get_pipeline_run(watch.pipeline_run_id)
        if goal.decide(run) is Decision.REPAIR or watch.is_closed_over(run):
            others = [name for name in goal.failed_along(run) if name not in goal.after]
            if others and not ends_with_a_failed_block(client, run):
                others = []
            run = repair_from(client, run, [goal.block_uuid, *others], after=goal.after)
            # One that fails once more has had its turn.
            along = tuple(name for name in goal.along if name not in others)
            watch.goal = replace(goal, asked=goal.asked + 1, along=along, stuck="")
        return run


class BlockWatch(RunWatch):
    """
    The wait for one block.

    :param pipeline_run_id: The run.
    :param rules: For how long to wait for what.
    :param claim: Whose run it has to be.
    :param goal: The block, and what is known of it.
    :param repairs: Whether the block may be run again here; otherwise that is for whoever waited to do.
    """

    def __init__(
        self, pipeline_run_id: int, rules: RunRules, claim: Claim | None, goal: BlockGoal, *, repairs: bool
    ) -> None:
        # A duplicate of the run is looked for once, at its end, and not by each block's task.
        super().__init__(pipeline_run_id, rules, claim and replace(claim, checks_at=()))
        self.goal = goal
        self._repairs = repairs
        self._stuck = Standstill(goal.stuck)

    def is_closed_over(self, run: PipelineRun) -> bool:
        """Whether Mage has ended the run in the very moment in which it was asked to run the block again."""
        is_ended = run.status in (PipelineRunStatus.COMPLETED, PipelineRunStatus.FAILED)
        return is_ended and bool(self.goal.stuck) and self.goal.asked < MOST_REPAIRS

    def _shown(self, seen: PipelineRun) -> PipelineRun:
        return replace(seen, block_runs=tuple(BlockState(seen, self.goal.block_uuid).rows))

    def _is_over(self, seen: PipelineRun, now: float) -> bool:
        decision = self.goal.decide(seen)
        if decision is Decision.TAKE:
            return True
        if decision is Decision.WAIT:
            # Either something comes, or a block before it has failed or was cancelled, and nobody has it run
            # again.
            is_left = seen.status.is_terminal or is_blocked(self.goal, seen)
            if not (seen.block_runs and self._stuck.see(seen, is_left, now)):
                return False
            self.goal = replace(self.goal, stuck=self._stuck.state)
            if not self.is_closed_over(seen):
                return True
        if self._repairs:
            self._due.append(RepairFrom(self))
        return not self._repairs


@dataclass(frozen=True)
class GroupGoal:
    """
    What a group's verdict waits for: the end of the run, or that it cannot come.

    :param blocks: The blocks, as far as the DAG knows them.
    :param stuck: As for a :class:`BlockGoal`.
    """

    blocks: tuple[BlockGoal, ...] = ()
    stuck: str = ""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what a deferred task has stored."""
        return cls(tuple(map(BlockGoal.from_dict, stored["blocks"])), stored.get("stuck", ""))

    def to_dict(self) -> dict[str, Any]:
        """Return what a deferred task stores."""
        blocks = [{"block_uuid": one.block_uuid, "before": list(one.before)} for one in self.blocks]
        return {"blocks": blocks, "stuck": self.stuck}


class GroupWatch(RunWatch):
    """
    The wait for a run of which nobody will have a block run again any more.

    :param pipeline_run_id: The run.
    :param rules: For how long to wait for what.
    :param claim: Whose run it has to be.
    :param goal: Its blocks.
    """

    def __init__(self, pipeline_run_id: int, rules: RunRules, claim: Claim | None, goal: GroupGoal) -> None:
        super().__init__(pipeline_run_id, rules, claim)
        self.goal = goal
        self._stuck = Standstill(goal.stuck)

    def _is_over(self, seen: PipelineRun, now: float) -> bool:
        if seen.status.is_terminal:
            return True
        is_over = self._stuck.see(seen, is_stuck(self.goal.blocks, seen), now)
        if is_over:
            self.goal = replace(self.goal, stuck=self._stuck.state)
        return is_over


def watch_of(
    pipeline_run_id: int,
    rules: RunRules,
    claim: Claim | None,
    goal: Mapping[str, Any],
    *,
    repairs: bool = False,
) -> BlockWatch | GroupWatch:
    """Return the watch for a goal that was stored, one that repairs nothing unless it is said to."""
    if "block_uuid" in goal:
        return BlockWatch(pipeline_run_id, rules, claim, BlockGoal.from_dict(goal), repairs=repairs)
    return GroupWatch(pipeline_run_id, rules, claim, GroupGoal.from_dict(goal))


class Standstill:
    """
    Tells whether a run has been for so long in a state that nothing known of leads out of, that it will stay.

    :param known: A state of which that was found out before, by a trigger for its worker.
    """

    def __init__(self, known: str = "") -> None:
        self.state = ""
        self._known = known
        self._since = 0.0
        self._looks = 0

    def see(self, run: PipelineRun, is_left: bool, now: float) -> bool:
        """
        Take note of a look.

        :param run: The run, in full detail.
        :param is_left: Whether nothing that is known of makes it go on.
        :param now: The time.
        :return: Whether that has been so for long enough.
        """
        rows = [
            [run.status.value],
            *([row.id, row.status.value, str(row.updated_at)] for row in run.block_runs),
        ]
        state = digest(rows) if is_left else ""
        if state != self.state:
            self.state, self._since, self._looks = state, now, 0
        self._looks += 1
        is_old = self._looks >= STUCK_LOOKS and now - self._since >= STUCK_AFTER
        return bool(state) and (state == self._known or is_old)
