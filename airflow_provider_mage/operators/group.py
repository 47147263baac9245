"""
What the tasks of a :class:`~airflow_provider_mage.task_groups.pipeline.MagePipelineTaskGroup` share.

What they know of each other they keep with the launch task, whose XComs Airflow deletes when it is executed
again, which is when another run begins.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mage._arguments import read_name
from airflow_provider_mage._compat import read_xcom_of, states_of_tasks, write_xcom_of
from airflow_provider_mage._runs.blocks import descendants_of, label_of
from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.retries import ONCE
from airflow_provider_mage.links import PIPELINE_RUN_URL, PIPELINE_URL
from airflow_provider_mage.operators.base import ConnectedOperator
from airflow_provider_mage.triggers.event import read_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.providers.common.compat.sdk import Context
    from typing_extensions import Self

    from airflow_provider_mage._runs.block_state import BlockGoal, Recorded
    from airflow_provider_mage._runs.block_watch import GroupGoal
    from airflow_provider_mage._runs.blocks import Block
    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.models import PipelineRun

GROUP_RUN = "mage_group_run"
"""Under which key the launch task says which run is the group's."""

REPAIRED, JUDGED = "mage_group_repaired", "mage_group_judged"
"""Under which keys there is which repair was the last, and which the last that a verdict has waited for."""

OVER = ("success", "failed", "upstream_failed", "skipped", "removed")
"""The states of tasks for which nothing is to come."""

RED = ("failed", "upstream_failed")
"""Those of them that make a DAG run fail."""


def _recorded_key(block_uuid: str) -> str:
    return f"mage_seen_{label_of(block_uuid)}"


@dataclass(frozen=True)
class GroupPlan:
    """
    What is the same for all tasks of a group.

    :param blocks: The blocks, the upstream ones first.
    :param task_ids: Their tasks, by the name of the block.
    :param launch_task_id: The task that obtains the run.
    :param verdict_task_id: The task that judges it.
    :param cancel_task_id: The task that cancels what is left of it.
    :param deferrable: Whether the triggerer waits.
    :param rules: For how long to wait for what, and how much of a block's log is told.
    """

    blocks: tuple[Block, ...]
    task_ids: Mapping[str, str]
    launch_task_id: str
    verdict_task_id: str
    cancel_task_id: str
    deferrable: bool
    rules: RunRules


class GroupRun(NamedTuple):
    """The run of a group, as its launch task has left it for the others."""

    pipeline_run_id: int
    pipeline_uuid: str
    claim: dict[str, Any]
    created_after: float | None = None

    @classmethod
    def from_dict(cls, stored: Any) -> GroupRun | None:
        """Read what was stored; None if nothing was."""
        if not isinstance(stored, dict):
            return None
        return cls(
            stored["pipeline_run_id"], stored["pipeline_uuid"], stored["claim"], stored.get("created_after")
        )


class GroupOperator(ConnectedOperator):
    """
    A task about the run of a group.

    It has no ``__init__`` of its own: Airflow does for each one, of each class on the way, as much as for a
    whole task. A DAG file with many groups would take twice as long (``benchmarks/parsing.py``).
    """

    plan: GroupPlan
    """The group."""
    block_uuid = ""
    """The block that it stands for, if it does."""

    @classmethod
    def make(cls, plan: GroupPlan, mage_conn_id: str, block_uuid: str = "", **kwargs: Any) -> Self:
        """
        Make the task.

        :param plan: The group.
        :param mage_conn_id: The Airflow connection. (templated)
        :param block_uuid: The block that it stands for, if it does.
        :param kwargs: Those of every operator.
        :return: The task.
        """
        task = cls(**kwargs)
        task.plan, task.mage_conn_id, task.block_uuid = plan, mage_conn_id, block_uuid
        return task

    def find_run(self, context: Context) -> GroupRun | None:
        """Return the run of the group, if there is one; skip the task if the launch was skipped."""
        launch = self.plan.launch_task_id
        # First, as what it has left before is there until it is executed again.
        if self.state_of(context, launch) == "skipped":
            raise AirflowSkipException(f"Task {launch} was skipped, so there is no run.")
        return GroupRun.from_dict(self.recall(context, GROUP_RUN))

    def require_run(self, context: Context) -> GroupRun:
        """Return the run of the group, which there has to be, and push its links."""
        run = self.find_run(context)
        if run is None:
            raise MageError(
                f"Task {self.plan.launch_task_id} has left no run: clear it, with all that is after it."
            )
        self.push_links(context, run)
        return run

    def push_links(self, context: Context, run: GroupRun) -> None:
        """Leave the addresses of the run's pages in Mage for the links."""
        url = self.client.pipeline_run_url(run.pipeline_uuid, run.pipeline_run_id)
        context["ti"].xcom_push(key=PIPELINE_RUN_URL, value=url)
        context["ti"].xcom_push(key=PIPELINE_URL, value=self.client.pipeline_url(run.pipeline_uuid))

    def recall(self, context: Context, key: str) -> Any:
        """Return what the tasks of the group know of its run; None if nothing."""
        return read_xcom_of(context["ti"], self.plan.launch_task_id, key)

    def remember(self, context: Context, key: str, value: Any) -> None:
        """Let the tasks of the group know something of its run, for as long as that is theirs."""
        write_xcom_of(context["ti"], self.plan.launch_task_id, key, value)

    def remember_repair(self, context: Context, blocks: Iterable[str]) -> None:
        """
        Let the tasks of the group know that Mage runs blocks again, and somebody has to judge the run anew.

        :param context: The task's.
        :param blocks: All that run again. Whose task stays as it is, has it run once more when it is cleared.
        """
        from airflow_provider_mage._runs.block_state import ANY_CLEAR, ANY_END, NO_END, Recorded

        self.remember(context, REPAIRED, secrets.token_hex(8))
        unfinished = self.unfinished_blocks(context)
        for name in blocks:
            if self.recorded(context, name):
                self.record(context, name, Recorded(NO_END if name in unfinished else ANY_END, ANY_CLEAR))

    def recorded(self, context: Context, block_uuid: str) -> Recorded | None:
        """Return which end of a block its task has taken; None if it has taken none of this run."""
        from airflow_provider_mage._runs.block_state import Recorded

        return Recorded.from_dict(self.recall(context, _recorded_key(block_uuid)))

    def record(self, context: Context, block_uuid: str, recorded: Recorded) -> None:
        """Let the tasks of the group know which end of a block its task has taken."""
        self.remember(context, _recorded_key(block_uuid), vars(recorded))

    def state_of(self, context: Context, task_id: str) -> str | None:
        """Return the state of a task of this DAG run."""
        return states_of_tasks(context["ti"], [task_id])[task_id]

    def unfinished_blocks(self, context: Context) -> list[str]:
        """Return the names of the blocks whose tasks have not ended, or are to run again."""
        task_ids = self.plan.task_ids
        states = states_of_tasks(context["ti"], list(task_ids.values()))
        return [name for name, task_id in task_ids.items() if states[task_id] not in OVER]


class GroupWaitOperator(GroupOperator):
    """A task that waits for something to happen to the run of a group."""

    def execute(self, context: Context) -> None:
        """Wait, and judge what the wait has ended with."""
        self._attend(context, self.require_run(context), self.goal(context).to_dict())

    def execute_complete(self, context: Context, event: Any = None, goal: Any = None, **_: Any) -> None:
        """Go on after the trigger has waited, with what the deferral has stored."""
        _, failure = read_event(event, "pipeline_run_id")
        if failure:
            raise failure
        self._attend(context, self.require_run(context), event.get("goal") or goal)

    def goal(self, context: Context) -> BlockGoal | GroupGoal:
        """Say what is waited for."""
        raise NotImplementedError

    def judge(self, context: Context, run: PipelineRun, goal: Any) -> None:
        """Say what the run means that has ended the wait; what that raises is the task's end."""
        raise NotImplementedError

    def _attend(self, context: Context, group: GroupRun, goal: dict[str, Any]) -> None:
        from airflow_provider_mage._runs.block_watch import watch_of
        from airflow_provider_mage._runs.stall import StallMemory
        from airflow_provider_mage._runs.watch import act
        from airflow_provider_mage._waiting.drive import look_once, wait
        from airflow_provider_mage._waiting.watch import Over

        claim = Claim.from_dict(group.claim)
        watch = watch_of(group.pipeline_run_id, self.plan.rules, claim, goal, repairs=True)
        client, memory = self.client.with_retries(ONCE), StallMemory()
        ask = Connected(self.reconnect, client).ask
        asked = goal.get("asked", 0)

        def look() -> PipelineRun:
            return ask(lambda client: client.get_pipeline_run(group.pipeline_run_id))

        def do(step: Any) -> Any:
            nonlocal asked
            seen = ask(lambda client: act(client, step, memory))
            if getattr(watch.goal, "asked", 0) > asked:
                asked = watch.goal.asked  # type: ignore[union-attr]
                after = descendants_of(self.block_uuid, self.plan.blocks)
                self.remember_repair(context, [self.block_uuid, *after])
            return seen

        if self.plan.deferrable:
            # Much may have happened before the task began, so that there is nothing to wait for.
            step = look_once(watch, look, do, client.clock)
            if not isinstance(step, Over):
                self._defer(group, watch.goal.to_dict())
                return
            run = step.seen
        else:
            run = wait(watch, look, do, client.clock)
        self.judge(context, run, watch.goal)

    def _defer(self, group: GroupRun, goal: dict[str, Any]) -> None:
        from airflow_provider_mage.triggers.block import MageBlockTrigger

        self.defer(
            trigger=MageBlockTrigger(
                read_name(self.mage_conn_id, "mage_conn_id"),
                group.pipeline_run_id,
                goal=goal,
                pipeline_uuid=group.pipeline_uuid,
                **asdict(self.plan.rules),
                created_after=group.created_after,
                claim=group.claim,
            ),
            method_name="execute_complete",
            kwargs={"goal": goal},
            timeout=self.execution_timeout,
        )
