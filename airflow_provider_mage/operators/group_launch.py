"""The first task of a group, which obtains its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import read_name
from airflow_provider_mage._compat import read_xcom_of, states_of_tasks, write_xcom_of
from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.operators.group import GROUP_RUN, GroupRun
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.operators.group import GroupPlan


class MageLaunchPipelineOperator(MageTriggerPipelineOperator):
    """
    Obtains the one run of a group.

    Executed again after a clear, it starts another run, and cancels the one before if that is still active.
    Cleared without what is after it, it waits for that run itself, as nobody else does.

    :param plan: The group.
    :param kwargs: Those of :class:`~airflow_provider_mage.operators.pipeline.MageTriggerPipelineOperator`.
    """

    def __init__(self, *, plan: GroupPlan, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "wait_for_completion": False})
        self.plan = plan

    def execute(self, context: Context) -> Any:
        """Obtain the run."""
        ti = context["ti"]
        former = GroupRun.from_dict(read_xcom_of(ti, self.plan.cancel_task_id, GROUP_RUN))
        if former is not None:
            self._cancel_former(former, context)
        states = states_of_tasks(ti, [*self.plan.task_ids.values(), self.plan.verdict_task_id])
        self.wait_for_completion = all(state is not None for state in states.values())
        return super().execute(context)

    def on_obtained(self, context: Context, client: MageClient, run: PipelineRun) -> None:
        """Say which run it is to the tasks after this one."""
        super().on_obtained(context, client, run)
        ti, created_at = context["ti"], run.created_at
        group = GroupRun(
            run.id,
            read_name(self.pipeline_uuid, "pipeline_uuid"),
            self._claim.to_dict() if self._claim else {},
            created_at.timestamp() if created_at else None,
        )
        # Also with that task, where it outlasts a clear of this one: Airflow deletes what a task has left
        # when it is executed again, and that task then has seen to the run.
        write_xcom_of(ti, self.plan.cancel_task_id, GROUP_RUN, group._asdict())
        ti.xcom_push(key=GROUP_RUN, value=group._asdict())
        self._compare_blocks(client, group.pipeline_uuid)

    def _cancel_former(self, former: GroupRun, context: Context) -> None:
        claim = Claim.from_dict(former.claim)
        identity = self._identity(context)
        if claim is None or claim.identity.run_key == identity.run_key:
            return  # this very task has started it, in an attempt before
        if cancel_run(self.client, former.pipeline_run_id, claim) is None:
            raise MageError(
                f"Cannot cancel run {former.pipeline_run_id}, which was this group's before: see the warning "
                "above. No other was started."
            )

    def _compare_blocks(self, client: MageClient, pipeline_uuid: str) -> None:
        """Warn of blocks that only the DAG or only Mage has."""
        from airflow_provider_mage._runs.blocks import read_blocks

        try:
            there = {block.uuid: block for block in read_blocks(client.get_pipeline(pipeline_uuid))}
        except (MageError, ValueError) as error:
            self.log.warning("Cannot compare the blocks of this group with those in Mage. %s", error)
            return
        here = {block.uuid: block for block in self.plan.blocks}
        changed = [
            name for name in here if name in there and {*here[name].upstream} != {*there[name].upstream}
        ]
        for names, what in (
            (
                [name for name in there if name not in here],
                "has blocks without a task; their end counts",
            ),
            ([name for name in here if name not in there], "has no such blocks; their tasks are skipped"),
            (changed, "has other blocks right before these than this group"),
        ):
            if names:
                self.log.warning(
                    "Pipeline %s in Mage %s: %s. Bring `blocks` up to date.",
                    pipeline_uuid,
                    what,
                    ", ".join(names),
                )
