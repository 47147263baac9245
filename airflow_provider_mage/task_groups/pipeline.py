"""A Mage pipeline as a task group: one run, a task for each block."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskGroup, TriggerRule

from airflow_provider_mage._arguments import (
    read_choice,
    read_count,
    read_name,
    read_seconds,
    read_switch,
)
from airflow_provider_mage._runs.blocks import label_of, read_blocks
from airflow_provider_mage._runs.rules import ON_STALL, USUAL_LINES, RunRules
from airflow_provider_mage.operators.group import GroupPlan
from airflow_provider_mage.operators.group_blocks import MageBlockOperator, MageRepairBlocksOperator
from airflow_provider_mage.operators.group_launch import MageLaunchPipelineOperator
from airflow_provider_mage.operators.group_verdict import (
    MageCancelUnfinishedRunOperator,
    MageVerdictOperator,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

LAUNCH, REPAIR, VERDICT, CANCEL = "launch", "repair_cleared", "verdict", "cancel_unfinished"
RESERVED = (LAUNCH, REPAIR, VERDICT, CANCEL)

DEFAULTS: dict[str, Any] = {
    "mage_conn_id": "mage_default",
    # Not as Airflow's configuration says for single tasks: fifty blocks would take up fifty workers.
    "deferrable": True,
    **asdict(RunRules()),
}

# A run that is left behind does its work unseen.
CANCEL_RETRIES = 3


class MagePipelineTaskGroup(TaskGroup):
    """
    One run of a Mage pipeline, with a task for each of its blocks.

    ``launch`` starts the run, or finds the one that an earlier attempt of it has started. Each block's task
    waits for its block and ends as that does: green, red with the block's own error, or skipped. ``verdict``
    is green if the run has completed; ``cancel_unfinished`` leaves nothing running. A retry or a clear of
    blocks' tasks runs these blocks, and those after them, again in the same run; a clear of ``launch`` and
    what is after it starts another. All tasks are there when the group is made; others may be added to it,
    and may follow single blocks, whose tasks are :attr:`block_tasks`.

    :param group_id: The task group; by default the pipeline, as far as Airflow allows its name.
    :param pipeline_uuid: The pipeline. (templated)
    :param blocks: Its blocks, which are never asked for over the network here: the path of the pipeline's
        ``metadata.yaml``, or of a snapshot that ``python -m airflow_provider_mage snapshot`` has written;
        what is in one of these; or a list of blocks, each a mapping with ``uuid`` and ``upstream_blocks``.
    :param variables: As for
        :class:`~airflow_provider_mage.operators.pipeline.MageTriggerPipelineOperator`. (templated)
    :param pipeline_schedule_id: Likewise. (templated)
    :param pipeline_schedule_name: Likewise. (templated)
    :param execution_date: Likewise. (templated)
    :param mage_conn_id: The Airflow connection, of type ``mage``. (templated)
    :param deferrable: Whether the triggerer waits, for any number of blocks with a constant number of
        requests; by default it does, whatever ``[operators] default_deferrable`` says.
    :param poll_interval: The longest pause between two looks at the run, in seconds or as a timedelta, like
        all times here.
    :param max_unreachable: How long Mage may be out of reach before a waiting task fails.
    :param stall_timeout: How long nothing may change, with no block running, before the run counts as
        stalled.
    :param on_stall: What to do about that, as for the operator.
    :param max_log_lines: The most lines of a block's log that its task tells when it has ended.
    :param default_args: Arguments of every operator, for all tasks of the group, such as ``retries``.
    :param kwargs: Those of :class:`~airflow.sdk.TaskGroup`.
    """

    def __init__(
        self,
        group_id: str | None = None,
        *,
        pipeline_uuid: str,
        blocks: str | Path | Mapping[str, Any] | Iterable[str | Mapping[str, Any]],
        variables: Mapping[str, Any] | None = None,
        pipeline_schedule_id: int | str | None = None,
        pipeline_schedule_name: str | None = None,
        execution_date: datetime | str | None = None,
        mage_conn_id: str | None = None,
        deferrable: bool | None = None,
        poll_interval: float | timedelta | None = None,
        max_unreachable: float | timedelta | None = None,
        stall_timeout: float | timedelta | None = None,
        on_stall: str | None = None,
        max_log_lines: int | None = None,
        default_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.blocks = read_blocks(blocks)
        """The blocks, the upstream ones first."""
        self.block_tasks: dict[str, MageBlockOperator] = {}
        """The task of each block, by the name of the block in Mage."""
        if group_id is None:
            group_id = label_of(read_name(pipeline_uuid, "pipeline_uuid"))
        options: dict[str, Any] = {**kwargs, "default_args": dict(default_args or {})}
        super().__init__(group_id=group_id, **options)
        starting = {
            "pipeline_uuid": pipeline_uuid,
            "variables": variables,
            "pipeline_schedule_id": pipeline_schedule_id,
            "pipeline_schedule_name": pipeline_schedule_name,
            "execution_date": execution_date,
        }
        waiting: dict[str, Any] = {
            "mage_conn_id": mage_conn_id,
            "deferrable": deferrable,
            "poll_interval": poll_interval,
            "max_unreachable": max_unreachable,
            "stall_timeout": stall_timeout,
            "on_stall": on_stall,
            "max_log_lines": max_log_lines,
        }
        labels = {block.uuid: label_of(block.uuid, RESERVED) for block in self.blocks}
        # What is not given may come from the default arguments of a group or of the DAG.
        defaults = {**DEFAULTS, **(self.dag.default_args if self.dag else {}), **self.default_args}
        waiting = {name: defaults[name] if value is None else value for name, value in waiting.items()}
        with self:
            plan = self._make_plan(labels, waiting)
            given = {name: value for name, value in {**starting, **waiting}.items() if value is not None}
            del given["deferrable"]
            self.launch = MageLaunchPipelineOperator(task_id=LAUNCH, plan=plan, **given)
            """The task that obtains the run."""
            self._make_tasks(labels, plan, waiting["mage_conn_id"])

    def _make_plan(self, labels: Mapping[str, str], waiting: Mapping[str, Any]) -> GroupPlan:
        child_id: Callable[[str], str] = self.child_id
        return GroupPlan(
            blocks=self.blocks,
            task_ids={name: child_id(label) for name, label in labels.items()},
            launch_task_id=child_id(LAUNCH),
            verdict_task_id=child_id(VERDICT),
            cancel_task_id=child_id(CANCEL),
            deferrable=read_switch(waiting["deferrable"], "deferrable"),
            rules=RunRules(
                poll_interval=read_seconds(waiting["poll_interval"], "poll_interval"),
                max_unreachable=read_seconds(waiting["max_unreachable"], "max_unreachable", least=0.0),
                stall_timeout=read_seconds(waiting["stall_timeout"], "stall_timeout"),
                on_stall=read_choice(waiting["on_stall"], "on_stall", ON_STALL),
                max_log_lines=read_count(waiting["max_log_lines"], "max_log_lines") or USUAL_LINES,
            ),
        )

    def _make_tasks(self, labels: Mapping[str, str], plan: GroupPlan, mage_conn_id: str) -> None:
        repair = MageRepairBlocksOperator.make(
            plan, mage_conn_id, task_id=REPAIR, trigger_rule=TriggerRule.ALL_SUCCESS
        )
        self.launch >> repair.as_setup()  # type: ignore[no-untyped-call]
        for block in self.blocks:
            task = self.block_tasks[block.uuid] = MageBlockOperator.make(
                plan,
                mage_conn_id,
                block.uuid,
                task_id=labels[block.uuid],
                # Mage says what becomes of a block after one that was left out. Right behind a setup, Airflow
                # allows one rule only.
                trigger_rule=TriggerRule.NONE_FAILED if block.upstream else TriggerRule.ALL_SUCCESS,
            )
            task.set_upstream([self.block_tasks[name] for name in block.upstream] or [repair])
        self.verdict = MageVerdictOperator.make(
            plan, mage_conn_id, task_id=VERDICT, trigger_rule=TriggerRule.ALL_DONE
        )
        """The task that judges the run as a whole."""
        retries = max(CANCEL_RETRIES, self.verdict.retries or 0)
        cancel = self.cancel = MageCancelUnfinishedRunOperator.make(
            plan, mage_conn_id, task_id=CANCEL, retries=retries
        )
        """The teardown that leaves nothing running; a teardown of yours around the group goes after it."""
        is_upstream = {name for block in self.blocks for name in block.upstream}
        self.verdict.set_upstream(
            [task for name, task in self.block_tasks.items() if name not in is_upstream]
        )
        cancel.as_teardown(setups=repair, on_failure_fail_dagrun=True)
        # After all blocks: one may be cleared alone, and the run must not be cancelled under it.
        cancel.set_upstream([*self.block_tasks.values(), self.verdict])
        # Airflow's own rule for teardowns would leave the run alone if the repair has failed.
        cancel.trigger_rule = TriggerRule.ALL_DONE
