"""The trigger that waits for a block of a run, or for a run of which nothing more can come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger, poller_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_mage.triggers.threads import Call


class MageBlockTrigger(MagePipelineRunTrigger):
    """
    Waits until a block of a run has ended, or, without a block, until the run has or cannot go on.

    Its one event says how the waiting ended; what that means, and whether the block is to run again, the
    worker sees for itself. Nothing is cancelled when a person acts on the waiting task: others wait for the
    same run.

    :param mage_conn_id: The Airflow connection.
    :param pipeline_run_id: The run.
    :param goal: What is waited for, as ``to_dict()`` of one of the goals of
        :mod:`airflow_provider_mage._runs.block_watch` writes it.
    :param pipeline_uuid: The run's pipeline.
    :param kwargs: Those of :class:`~airflow_provider_mage.triggers.pipeline.MagePipelineRunTrigger`.
    """

    def __init__(
        self,
        mage_conn_id: str,
        pipeline_run_id: int,
        *,
        goal: Mapping[str, Any],
        pipeline_uuid: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(mage_conn_id, pipeline_run_id, **{**kwargs, "cancel_on_kill": False})
        self.goal = dict(goal)
        self.pipeline_uuid = pipeline_uuid

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger: names, numbers and digests, no secret."""
        path, arguments = super().serialize()
        return path, {**arguments, "goal": self.goal, "pipeline_uuid": self.pipeline_uuid}

    async def _wait(self, call: Call) -> dict[str, Any]:
        from airflow_provider_mage._runs.block_watch import watch_of

        watch = watch_of(self.pipeline_run_id, self.rules, Claim.from_dict(self.claim), self.goal)
        run = await self._see(poller_of(self.mage_conn_id, call), watch, blocks_of=self.pipeline_uuid)
        return {"status": run.status.value, "goal": watch.goal.to_dict()}
