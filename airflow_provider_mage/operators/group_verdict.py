"""The last tasks of a group: one judges its run, one leaves nothing of it running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_mage._compat import states_of_tasks
from airflow_provider_mage._runs.blocks import ancestors_of
from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.links import RUN_LINKS, tell_failure
from airflow_provider_mage.operators.group import JUDGED, RED, REPAIRED, GroupRun, GroupWaitOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._runs.block_watch import GroupGoal
    from airflow_provider_mage.api.models import PipelineRun


class MageVerdictOperator(GroupWaitOperator):
    """
    Waits for the end of the group's run, and is green only if Mage says ``completed`` and no task has failed.

    So nothing fails unseen: a block without a task counts, and so does a block whose task was marked.
    """

    operator_extra_links = RUN_LINKS

    def execute(self, context: Context) -> None:
        """Wait, and judge the run."""
        self.remember(context, JUDGED, self.recall(context, REPAIRED))
        super().execute(context)

    def goal(self, context: Context) -> GroupGoal:  # noqa: ARG002
        """Say what is known of the blocks."""
        from airflow_provider_mage._runs.block_state import BlockGoal
        from airflow_provider_mage._runs.block_watch import GroupGoal

        blocks = self.plan.blocks
        return GroupGoal(tuple(BlockGoal(one.uuid, before=ancestors_of(one.uuid, blocks)) for one in blocks))

    def judge(self, context: Context, run: PipelineRun, goal: GroupGoal) -> None:  # noqa: ARG002
        """Be green or red; a retry of this task would find the same."""
        from airflow_provider_mage._runs.block_state import obstacles_in
        from airflow_provider_mage._runs.changes import describe_end
        from airflow_provider_mage._runs.report import failure_of
        from airflow_provider_mage.api.models import BlockRunStatus

        ti, client = context["ti"], self.client
        if self.recall(context, REPAIRED) is not None:
            self._record_ends(context, run)
        if not run.status.is_terminal:
            names = ", ".join(obstacles_in(run))
            raise AirflowFailException(
                f"{run.name} cannot go on, so it is cancelled. These blocks failed, or Mage has cancelled "
                f"them, and nobody has had them run again: {names}. Clear their tasks, too."
            )
        url = client.pipeline_run_url(run.pipeline_uuid, run.id)
        failure = failure_of(run, url, client, old_errors=None, last_lines=0)
        if failure is not None:
            tell_failure(ti, failure)
            raise AirflowFailException(str(failure)) from failure
        self.log.info("%s.", describe_end(run))
        left_out = [row.block_uuid for row in run.block_runs if row.status is BlockRunStatus.UPSTREAM_FAILED]
        if left_out:
            # Mage calls a run completed in which no block has failed, whatever was left out (observed).
            names = ", ".join(left_out)
            raise AirflowFailException(
                f"{run.name} completed, but Mage has left out these blocks: {names}. Clear their tasks, too."
            )
        states = states_of_tasks(ti, list(self.plan.task_ids.values()))
        red = [task_id for task_id, state in states.items() if state in RED]
        if red:
            raise AirflowFailException(f"{run.name} completed, but these tasks failed: {', '.join(red)}.")

    def _record_ends(self, context: Context, run: PipelineRun) -> None:
        """
        Record how blocks have ended that Mage has run again although their tasks were not cleared.

        Else a later clear of such a task would take that end for its own.
        """
        from airflow_provider_mage._runs.block_state import ANY_CLEAR, BlockState, Recorded

        unfinished = self.unfinished_blocks(context)
        for name in self.plan.task_ids:
            state = BlockState(run, name)
            if name in unfinished or not state.is_over:
                continue
            recorded = self.recorded(context, name)
            if recorded is not None and recorded.fingerprint != state.fingerprint:
                self.record(context, name, Recorded(state.fingerprint, ANY_CLEAR))


class MageCancelUnfinishedRunOperator(MageVerdictOperator):
    """
    Cancels the run of a group if it is still active when no task of the group waits for it any more.

    Where a block's task was cleared alone, Airflow clears this teardown along, and no verdict: then it waits
    for the end of the run, and judges it.

    Airflow judges a DAG run by its last tasks, of which this is one that counts: there the verdict before it
    does not. So it fails with the verdict, unless other tasks follow that, which then show what it has said.
    """

    def execute(self, context: Context) -> None:
        """Leave nothing running."""
        run = self.find_run(context)
        if run is None:
            self.log.info("No run was started.")
        elif self._is_left_to_judge(context):
            super().execute(context)
            return
        else:
            self.push_links(context, run)
            self._cancel(run)
        verdict = self.plan.verdict_task_id
        if self._stands_for_verdict() and self.state_of(context, verdict) in RED:
            raise AirflowFailException(
                f"Task {verdict} failed, or one before it. This one fails with it, so that the DAG run does: "
                "Airflow looks at the last tasks only."
            )

    def judge(self, context: Context, run: PipelineRun, goal: GroupGoal) -> None:
        """Be green or red, and leave nothing running."""
        if not run.status.is_terminal:
            self._cancel(self.require_run(context))
        super().judge(context, run, goal)

    def _stands_for_verdict(self) -> bool:
        """Whether nothing follows the verdict that counts in the DAG run's state, except this task."""
        dag = self.dag
        verdict = dag.get_task(self.plan.verdict_task_id)
        others = [dag.get_task(task_id) for task_id in verdict.downstream_task_ids - {self.task_id}]
        return all(task.is_teardown and not task.on_failure_fail_dagrun for task in others)

    def _is_left_to_judge(self, context: Context) -> bool:
        """Whether the run was repaired, and the verdict that there is, is one of before."""
        repaired, verdict = self.recall(context, REPAIRED), self.plan.verdict_task_id
        if repaired in (None, self.recall(context, JUDGED)):
            return False
        # When a person marks the DAG run, Airflow skips what has not begun.
        return self.state_of(context, verdict) in ("success", *RED)

    def _cancel(self, run: GroupRun) -> None:
        if cancel_run(self.client, run.pipeline_run_id, Claim.from_dict(run.claim)) is None:
            raise MageError(
                f"Cannot cancel run {run.pipeline_run_id}; it may still be running: see the warning above."
            )
