"""Waiting for a run: what to make of what is seen of it, and of nothing happening."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.changes import MOST_LINES, Changes, describe, duration
from airflow_provider_mage._runs.duplicates import cancel_duplicates
from airflow_provider_mage._runs.log_stream import BEAT, LogStream
from airflow_provider_mage._runs.lost_job import LOST_AFTER, may_be_lost
from airflow_provider_mage._runs.progress import Falls, is_running, may_be_working
from airflow_provider_mage._runs.stall import HandleStall, StallMemory, handle_stall, warn_of_stream
from airflow_provider_mage._waiting.watch import Over, Watch
from airflow_provider_mage.api.errors import MageError, MageNotFoundError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage._runs.identity import Claim
    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)

# Seconds without a line after which one says that the run goes on.
HEARTBEAT = 300.0

# Seconds for which a run that is over may be waited for, until all that its blocks have written is told.
LONGEST_TAIL = 120.0


@dataclass(frozen=True)
class CheckForDuplicates:
    """To do: look for duplicates of the run, and cancel them."""

    pipeline_run_id: int
    claim: Claim


@dataclass(frozen=True)
class LookForStream:
    """To do: find out whether a run that has no blocks is a stream's, which never ends."""

    run: PipelineRun


@dataclass(frozen=True)
class LookAtRun:
    """To do: look at the run itself, in full detail, as its logs are wanted sooner than anything else."""

    pipeline_run_id: int


class RunWatch(Watch["PipelineRun"]):
    """
    The wait for one run.

    :param pipeline_run_id: The run.
    :param rules: For how long to wait for what.
    :param claim: Whose run it has to be, and when to look for duplicates of it; None for anybody's run.
    :param logs: What is told of the logs of its blocks meanwhile; None for nothing.
    """

    rules: RunRules

    def __init__(
        self,
        pipeline_run_id: int,
        rules: RunRules,
        claim: Claim | None = None,
        logs: LogStream | None = None,
    ) -> None:
        super().__init__(f"run {pipeline_run_id}", rules)
        self.pipeline_run_id = pipeline_run_id
        self._claim = claim
        # Whoever has made the claim has seen the run: the connection leads to it.
        self._was_seen = claim is not None
        self._logs = logs
        self._logs_at: float | None = None
        self._gives_logs_up_at: float | None = None
        self._seen_at = -math.inf
        self._checked_at = 0.0
        self._over: PipelineRun | None = None
        self._due: list[Any] = []
        self._snapshot: tuple[Any, ...] = ()
        self._changed_at: float | None = None
        self._warned_at = self._handled_at = 0.0
        self._falls = Falls()
        self._changes = Changes()
        self._run: PipelineRun | None = None
        self._first_seen_at: float | None = None
        self._told_at = 0.0
        self._looks_without_blocks = 0
        self._old_errors = set(claim.old_errors) if claim else set()

    @property
    def old_errors(self) -> frozenset[int]:
        """The block runs whose error is that of an earlier failure, although they may have failed again."""
        return frozenset(self._old_errors)

    def see(self, seen: PipelineRun, now: float) -> None:
        """Take note of the run, which must be in full detail."""
        if self._claim is not None and not self._claim.owns(seen):
            raise MageNotFoundError(
                f"Run {seen.id} belongs to another task now: this task's run was deleted in Mage, which has "
                "given its id away again. Clear the task to run the pipeline once more."
            )
        self._seen_at = now
        if self._first_seen_at is None:
            self._first_seen_at = self._told_at = now
        if self._logs is not None:
            self._logs.see(seen, now)
        # What its end means is for whoever waits to say.
        shown = self._shown(seen)
        for line in self._changes.see(shown, now):
            self._told_at = now
            log.info("%s", line)
        self._state = describe(shown)
        self._run = shown
        if self._is_over(seen, now):
            self._over = seen
            return
        self._old_errors.update(
            block.id
            for block in seen.block_runs
            if block.has_error and block.status is not BlockRunStatus.FAILED
        )
        snapshot = (
            seen.status,
            seen.updated_at,
            tuple((block.id, block.status) for block in seen.block_runs),
        )
        if self._changed_at is None or snapshot != self._snapshot or may_be_working(seen):
            self._changed_at = self._warned_at = self._handled_at = now
        self._snapshot = snapshot
        fallen = self._falls.see(seen)
        if fallen:
            self._due.append(HandleStall(seen, self.rules, fallen=fallen))
        elif self._is_stall_due(seen, now):
            self._due.append(HandleStall(seen, self.rules, now - self._changed_at))
        # What Mage answers to a repair has no blocks either, so the first look proves nothing.
        self._looks_without_blocks += not seen.block_runs and is_running(seen)
        if self._looks_without_blocks == 2:  # noqa: PLR2004
            self._due.append(LookForStream(seen))

    def _shown(self, seen: PipelineRun) -> PipelineRun:
        """Return what is told of the run."""
        return seen

    def _is_over(self, seen: PipelineRun, now: float) -> bool:  # noqa: ARG002
        """Whether this look ends the wait."""
        return seen.status.is_terminal

    def _is_stall_due(self, seen: PipelineRun, now: float) -> bool:
        """Whether a run has stood still for long enough, since it was last handled, to be handled (again)."""
        if now - self._warned_at >= self.rules.stall_timeout:
            self._warned_at = self._handled_at = self._told_at = now
            return True
        if self.rules.on_stall == "repair" and may_be_lost(seen) and now - self._handled_at >= LOST_AFTER:
            self._handled_at = now
            return True
        return False

    def found_again(self, now: float) -> None:
        """Take note that Mage answers again. Meanwhile, anything may have happened: the run did not stall."""
        self._changed_at = self._warned_at = self._handled_at = now
        self._falls.forget()

    def next_step(self, now: float) -> Any:
        """Return what is to be done before anything else; None if there is nothing."""
        if self._claim is not None and self._is_check_due(now):
            # When the run is over, nobody will look later.
            self._checked_at = now if self._over is None else math.inf
            return CheckForDuplicates(self.pipeline_run_id, self._claim)
        if self._logs is not None and (step := self._next_step_of_logs(self._logs, now)) is not None:
            return step
        if self._over is not None:
            return None if self._waits_for_logs(now) else Over(self._over)
        if self._due:
            return self._due.pop(0)
        if self._run is not None and now - self._told_at >= HEARTBEAT:
            self._told_at = now
            log.info("%s", self._describe_wait(self._run, now))
        return None

    def next_duty(self) -> float | None:
        """Return the time of the next look for duplicates or at the logs, or of the next heartbeat."""
        heartbeat = None if self._run is None or self._over else self._told_at + HEARTBEAT
        moments = (self._next_check(), self._logs_at, heartbeat)
        return min((moment for moment in moments if moment is not None), default=None)

    def _describe_wait(self, run: PipelineRun, now: float) -> str:
        """Say that a run goes on, and for how long it has, by Mage's dates or by what was seen of it."""
        first = now if self._first_seen_at is None else self._first_seen_at
        if run.status is PipelineRunStatus.INITIAL:
            return f"{run.name} has been queued for {duration(now - first)}."
        began = run.started_at.timestamp() if run.started_at else now
        seconds = now - min(first, began)
        running = [block.block_uuid for block in run.block_runs if block.status is BlockRunStatus.RUNNING]
        names = f": {', '.join(running[:MOST_LINES])}" if running else ""
        done = sum(block.status is BlockRunStatus.COMPLETED for block in run.block_runs)
        of_all = f" ({done} of {len(run.block_runs)} blocks are done)" if run.block_runs else ""
        return f"{run.name} is still running after {duration(seconds)}{names}{of_all}."

    def _next_check(self) -> float | None:
        return None if self._claim is None else self._claim.next_check(self._checked_at)

    def _is_check_due(self, now: float) -> bool:
        check_at = self._next_check()
        if check_at is None:
            return False
        if self._over is not None:
            # If it was cancelled, another attempt of the task may have kept another run.
            return self._over.status is not PipelineRunStatus.CANCELLED
        return now >= check_at

    def _next_step_of_logs(self, logs: LogStream, now: float) -> Any:
        step = logs.next_step(now)
        if step is not None:
            return step
        if self._over is not None:
            if self._gives_logs_up_at is None:
                self._gives_logs_up_at = now + LONGEST_TAIL
            self._logs_at = logs.wake_at(now)
            return None
        if now - self._seen_at >= BEAT:
            self._seen_at = now
            return LookAtRun(self.pipeline_run_id)
        look_at, wake_at = self._seen_at + BEAT, logs.wake_at(now)
        # With nothing to be told, it is the next look that brings something to do.
        self._logs_at = min(look_at, wake_at) if wake_at > now else look_at
        return None

    def _waits_for_logs(self, now: float) -> bool:
        """Whether a run is over, and Mage may not be asked yet for what its blocks have written last."""
        if self._logs is None or self._gives_logs_up_at is None or not self._logs.is_behind:
            return False
        return now < min(self._gives_logs_up_at, self.rules.deadline or math.inf)

    def _miss(self, error: MageError, answered_at: float, now: float) -> None:
        # Of a run that is over, no more is to be known.
        if self._over is None:
            super()._miss(error, answered_at, now)


def act(client: MageClient, step: Any, memory: StallMemory) -> PipelineRun | MageError | None:
    """
    Do what a :class:`RunWatch` says is to be done; only a MageError ends the wait.

    :param client: The Mage server.
    :param step: What is to be done.
    :param memory: What was found out about other runs of the server.
    :return: What was seen of the run, if it was looked at.
    """
    try:
        if isinstance(step, CheckForDuplicates):
            cancel_duplicates(client, step.pipeline_run_id, step.claim)
        elif isinstance(step, HandleStall):
            handle_stall(client, step, memory)
        elif isinstance(step, LookForStream):
            warn_of_stream(client, step.run)
        elif isinstance(step, LookAtRun):
            return _look_at(client, step.pipeline_run_id)
        else:
            seen: PipelineRun | None = step.do(client)
            return seen
    except MageError:
        raise
    except Exception:
        log.exception("%s has failed; the wait goes on.", type(step).__name__)
    return None


def _look_at(client: MageClient, pipeline_run_id: int) -> PipelineRun | MageError:
    try:
        return client.get_pipeline_run(pipeline_run_id)
    except MageError as error:
        return error
