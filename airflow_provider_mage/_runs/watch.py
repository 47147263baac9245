"""Waiting for a run: what to make of what is seen of it, and of nothing happening."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.duplicates import cancel_duplicates
from airflow_provider_mage._runs.report import describe
from airflow_provider_mage._runs.stall import StallMemory, handle_stall
from airflow_provider_mage._waiting.watch import Over, Watch
from airflow_provider_mage.api.errors import MageNotFoundError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage._runs.identity import Claim
    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckForDuplicates:
    """To do: look for duplicates of the run, and cancel them."""

    pipeline_run_id: int
    claim: Claim


@dataclass(frozen=True)
class HandleStall:
    """To do: what the author wants done with a run that stands still."""

    run: PipelineRun
    rules: RunRules


class RunWatch(Watch["PipelineRun"]):
    """
    The wait for one run.

    :param pipeline_run_id: The run.
    :param rules: For how long to wait for what.
    :param claim: Whose run it has to be, and when to look for duplicates of it; None for anybody's run.
    """

    rules: RunRules

    def __init__(self, pipeline_run_id: int, rules: RunRules, claim: Claim | None = None) -> None:
        super().__init__(f"run {pipeline_run_id}", rules)
        self.pipeline_run_id = pipeline_run_id
        self._claim = claim
        self._checked_at = 0.0
        self._over: PipelineRun | None = None
        self._stalled: PipelineRun | None = None
        self._snapshot: tuple[Any, ...] = ()
        self._changed_at: float | None = None

    def see(self, seen: PipelineRun, now: float) -> None:
        """Take note of the run, which must be in full detail."""
        if self._claim is not None and not self._claim.owns(seen):
            raise MageNotFoundError(
                f"Run {seen.id} belongs to another task now: this task's run was deleted in Mage, which has "
                "given its id away again. Clear the task to run the pipeline once more."
            )
        # Not told as a change: what its end means is for whoever waits to say.
        if seen.status.is_terminal:
            self._over = seen
            return
        snapshot = (
            seen.status,
            seen.updated_at,
            tuple((block.id, block.status) for block in seen.block_runs),
        )
        if self._changed_at is None or snapshot != self._snapshot or _may_be_working(seen):
            self._changed_at = now
        self._snapshot = snapshot
        if describe(seen) != self._state:
            self._state = describe(seen)
            log.info("%s.", self._state)
        if now - self._changed_at >= self.rules.stall_timeout:
            self._stalled, self._changed_at = seen, now

    def found_again(self, now: float) -> None:
        """Take note that Mage answers again. Meanwhile, anything may have happened: the run did not stall."""
        self._changed_at = now

    def next_step(self, now: float) -> Any:
        """Return what is to be done before anything else; None if there is nothing."""
        if self._claim is not None and self._is_check_due(now):
            # When the run is over, nobody will look later.
            self._checked_at = now if self._over is None else math.inf
            return CheckForDuplicates(self.pipeline_run_id, self._claim)
        if self._over is not None:
            return Over(self._over)
        if self._stalled is not None:
            stalled, self._stalled = self._stalled, None
            return HandleStall(stalled, self.rules)
        return None

    def next_duty(self) -> float | None:
        """Return the time of the next look for duplicates."""
        return None if self._claim is None else self._claim.next_check(self._checked_at)

    def _is_check_due(self, now: float) -> bool:
        check_at = self.next_duty()
        if check_at is None:
            return False
        if self._over is not None:
            # If it was cancelled, another attempt of the task may have kept another run.
            return self._over.status is not PipelineRunStatus.CANCELLED
        return now >= check_at


def act(client: MageClient, step: Any, memory: StallMemory) -> None:
    """Do what a :class:`RunWatch` says is to be done."""
    if isinstance(step, CheckForDuplicates):
        cancel_duplicates(client, step.pipeline_run_id, step.claim)
    elif isinstance(step, HandleStall):
        handle_stall(client, step.run, step.rules, memory)


def _may_be_working(run: PipelineRun) -> bool:
    """Whether a block is running, or would not be seen: a stream has none, and never ends (observed)."""
    is_stream = run.status is PipelineRunStatus.RUNNING and not run.block_runs and not run.is_orphan
    return is_stream or any(block.status is BlockRunStatus.RUNNING for block in run.block_runs)
