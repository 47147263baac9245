"""The tasks of a group that stand for its blocks, and the one before them that has blocks run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mage._compat import states_of_tasks
from airflow_provider_mage._runs.blocks import ancestors_of, descendants_of
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.links import (
    BLOCK_LOG_URL,
    RUN_LINKS,
    MagePipelineLink,
    MagePipelineRunLink,
    tell_failure,
)
from airflow_provider_mage.operators.group import GroupOperator, GroupWaitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._runs.block_state import BlockGoal
    from airflow_provider_mage.api.models import PipelineRun

ATTACHED = "mage_group_attached"
"""Under which key there is whether tasks have seen anything of the run."""


class MageRepairBlocksOperator(GroupOperator):
    """
    Has Mage run again, in the same run, the blocks whose tasks were cleared: all of them before any of these.

    So blocks after several of them run once. It is a setup, which Airflow clears along with what is below it
    (but not Airflow 3.2 for a task that is cleared alone: that task sees to its block itself then).
    """

    operator_extra_links = (MagePipelineRunLink(), MagePipelineLink())

    def execute(self, context: Context) -> None:
        """Ask Mage for what was cleared."""
        from airflow_provider_mage._runs.block_state import BlockGoal, BlockState
        from airflow_provider_mage._runs.repair import repair_from

        group = self.require_run(context)
        if self.recall(context, ATTACHED) is None:
            self.remember(context, ATTACHED, value=True)
            self.log.info("Run %s has just been launched: nothing to repair.", group.pipeline_run_id)
            return
        blocks, task_ids = self.plan.blocks, self.plan.task_ids
        states = states_of_tasks(context["ti"], list(task_ids.values()))
        # Airflow lets none of them begin before this has ended.
        cleared = [name for name, task_id in task_ids.items() if states[task_id] is None]
        goals = [BlockGoal(name, recorded=self.recorded(context, name)) for name in cleared]
        run = self.client.get_pipeline_run(group.pipeline_run_id)
        stale = [goal.block_uuid for goal in goals if goal.is_stale(run)]
        roots = [name for name in stale if not set(ancestors_of(name, blocks)) & set(stale)]
        after = {name: descendants_of(name, blocks) for name in roots}
        for name in list(roots):
            busy = [one for one in after[name] if BlockState(run, one).is_busy]
            if busy:
                self.log.info("Block %s runs again when block %s has ended.", name, busy[0])
                roots.remove(name)
        if not roots:
            self.log.info("Nothing to repair in run %s for now.", run.id)
            return
        set_back = list(dict.fromkeys(one for name in roots for one in after[name]))
        repair_from(self.client, run, roots, after=set_back)
        self.remember_repair(context, [*roots, *set_back])


class MageBlockOperator(GroupWaitOperator):
    """Stands for one block of the group's run, and has its colour."""

    operator_extra_links = RUN_LINKS

    def goal(self, context: Context) -> BlockGoal:
        """Say what is known of the block."""
        from airflow_provider_mage._runs.block_state import NO_END, BlockGoal

        recorded = self.recorded(context, self.block_uuid)
        others: list[str] = []
        if recorded is not None:
            others = [name for name in self.unfinished_blocks(context) if name != self.block_uuid]
        of_others = {name: self.recorded(context, name) for name in others}
        along = [name for name, one in of_others.items() if one and one.fingerprint != NO_END]
        return BlockGoal(
            self.block_uuid,
            generation=context["ti"].max_tries or 0,
            recorded=recorded,
            before=ancestors_of(self.block_uuid, self.plan.blocks),
            after=descendants_of(self.block_uuid, self.plan.blocks),
            along=tuple(along),
            pending=tuple(name for name in others if name not in along),
        )

    def judge(self, context: Context, run: PipelineRun, goal: BlockGoal) -> None:
        """Be what the block is: green, red or skipped."""
        from airflow_provider_mage._runs.block_state import BlockState, Recorded, obstacles_of
        from airflow_provider_mage._runs.report import failure_of_block, tell_log_of_block
        from airflow_provider_mage.api.models import BlockRunStatus

        state, ti, client = BlockState(run, self.block_uuid), context["ti"], self.client
        if state.rows:
            log_url = client.log_url(run.pipeline_uuid, run.id, state.rows[0].id)
            ti.xcom_push(key=BLOCK_LOG_URL, value=log_url)
        elif run.block_runs:
            raise AirflowSkipException(
                f"{run.name} has no block {self.block_uuid}: bring the group's `blocks` up to date."
            )
        if state.is_over:
            self.record(context, self.block_uuid, Recorded(state.fingerprint, ti.max_tries or 0))
        if state.end is BlockRunStatus.COMPLETED:
            tell_log_of_block(run, self.block_uuid, client, last_lines=self.plan.rules.max_log_lines)
            return
        if state.end is BlockRunStatus.CONDITION_FAILED:
            raise AirflowSkipException(f"Mage has left block {self.block_uuid} out: a condition was not met.")
        if not (state.is_over or run.status.is_terminal):
            names = ", ".join(obstacles_of(goal, run))
            raise MageError(
                f"Block {self.block_uuid} of run {run.id} cannot run, as these blocks before it failed or "
                f"were cancelled, and were not run again: {names}. Clear their tasks, too: to mark a task "
                "does not make Mage go on."
            )
        url = client.pipeline_run_url(run.pipeline_uuid, run.id)
        failure = failure_of_block(
            run, self.block_uuid, url, client, last_lines=self.plan.rules.max_log_lines
        )
        tell_failure(ti, failure)
        raise failure
