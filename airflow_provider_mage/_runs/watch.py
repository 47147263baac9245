"""
Waiting for a run: what to make of what is seen, of what is not, and of nothing happening.

:class:`RunWatch` only keeps the books, so that a worker and a triggerer wait by the same rules;
:func:`wait_for_run` is the worker's way to feed it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.errors import MageError, MageTransportError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._runs.duplicates import Doubt
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
PAUSE_GROWTH = 1.5


@dataclass(frozen=True)
class WaitRules:
    """
    How long to wait, in seconds.

    :param poll_interval: The longest pause between two looks; the first ones are shorter.
    :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
    :param max_unreachable: How long Mage may be out of reach.
    :param stall_timeout: How long a run may stand still, with no block running, before it counts as stalled.
    """

    poll_interval: float = 10.0
    deadline: float | None = None
    max_unreachable: float = 600.0
    stall_timeout: float = 300.0


class RunWatch:
    """
    The books on one run that is being waited for.

    :param pipeline_run_id: The run.
    :param rules: How long to wait for what.
    :param doubt: Where twins of the run may yet be; None if there can be none.
    :param clock: The time.
    """

    def __init__(
        self, pipeline_run_id: int, rules: WaitRules, *, doubt: Doubt | None = None, clock: Clock = time
    ) -> None:
        self.pipeline_run_id = pipeline_run_id
        self.rules = rules
        self.doubt = doubt
        self._clock = clock
        self._pause = min(FIRST_PAUSE, rules.poll_interval)
        self._described = f"Run {pipeline_run_id} was not seen yet"
        self._seen: tuple[Any, ...] = ()
        self._changed_at = clock.monotonic()
        self._lost_at: float | None = None
        self._lost_since: datetime | None = None

    def saw(self, run: PipelineRun) -> bool:
        """
        Take note of a run that is not over.

        :param run: The run, in full detail.
        :return: Whether it has just been found to stand still for too long.
        """
        self.found_again()
        now = self._clock.monotonic()
        seen = (run.status, run.updated_at, tuple((block.id, block.status) for block in run.block_runs))
        is_working = any(block.status is BlockRunStatus.RUNNING for block in run.block_runs)
        # A stream has no blocks, and never ends (observed).
        is_stream = run.status is PipelineRunStatus.RUNNING and not run.block_runs and not run.is_orphan
        if seen != self._seen or is_working or is_stream:
            self._changed_at = now
        if seen != self._seen:
            self._seen = seen
            if describe(run) != self._described:
                self._described = describe(run)
                log.info("%s.", self._described)
        if now - self._changed_at < self.rules.stall_timeout:
            return False
        self._changed_at = now
        return True

    def found_again(self) -> None:
        """Take note that Mage answers, after it may not have."""
        if self._lost_at is not None:
            log.info("Mage can be reached again.")
            # While nobody looked, anything may have happened: it is not the run that stood still.
            self._lost_at, self._changed_at = None, self._clock.monotonic()

    def doubt_about(self, run: PipelineRun | None) -> Doubt | None:
        """
        See whether it is time to look for twins, of which :attr:`doubt` is then to be told.

        :param run: The run as it was just seen, if it was.
        :return: Where to look; None if not now.
        """
        is_due = self.doubt is not None and self.doubt.is_due(run, self._clock.time())
        return self.doubt if is_due else None

    def missed(self, error: MageError) -> None:
        """
        Take note that the run could not be read, which says nothing about it.

        :param error: Why.
        :raises MageError: The error itself if it will not pass, or one that says since when Mage is out of
            reach.
        """
        if not error.may_pass:
            raise error
        now = self._clock.monotonic()
        if self._lost_at is None:
            self._lost_at, self._lost_since = now, datetime.now(timezone.utc)
            log.warning("Run %s cannot be read, which says nothing about it. %s", self.pipeline_run_id, error)
        if now - self._lost_at >= self.rules.max_unreachable:
            raise MageTransportError(
                f"Mage could not be reached since {self._lost_since:%Y-%m-%d %H:%M:%S} UTC; run "
                f"{self.pipeline_run_id} may still be running, and a retry of this task looks for it. "
                f"{error}",
                may_have_arrived=True,
            ) from error

    def check_deadline(self) -> None:
        """
        See whether there is time left.

        :raises TimeoutError: If there is none; the run goes on.
        """
        if self.rules.deadline is not None and self._clock.time() > self.rules.deadline:
            raise TimeoutError(f"The time to wait is over: {self._described}.")

    def next_pause(self) -> float:
        """Return the seconds until the next look: more and more, up to the poll interval."""
        pause, self._pause = self._pause, min(self._pause * PAUSE_GROWTH, self.rules.poll_interval)
        left = self.time_left()
        return pause if left is None else min(pause, left)

    def time_left(self) -> float | None:
        """Return the seconds until there is something to do even if nothing is seen; None for never."""
        moments = [] if self.rules.deadline is None else [self.rules.deadline + 0.01]  # just after it
        if self.doubt is not None:
            moments.append(self.doubt.look_at)
        return max(0.0, min(moments) - self._clock.time()) if moments else None


def wait_for_run(
    client: MageClient,
    watch: RunWatch,
    *,
    on_stall: Callable[[PipelineRun], None],
    on_doubt: Callable[[int, Doubt], Doubt | None],
    clock: Clock = time,
) -> PipelineRun:
    """
    Return a run once it is over, however it ended.

    :param client: The Mage server; it should not repeat requests itself, as that is done here.
    :param watch: The books.
    :param on_stall: Called whenever the run has stood still for too long.
    :param on_doubt: Called when twins of the run may have come; returns the doubt that is left.
    :param clock: The time.
    :return: The run, in full detail.
    :raises TimeoutError: If the run is not over in time; it goes on.
    :raises MageError: If the run can no longer be read.
    """
    while True:
        run = None
        try:
            run = client.get_pipeline_run(watch.pipeline_run_id)
        except MageError as error:
            watch.missed(error)
        if doubt := watch.doubt_about(run):
            watch.doubt = on_doubt(watch.pipeline_run_id, doubt)
        if run is not None:
            if run.status.is_terminal:
                return run
            if watch.saw(run):
                on_stall(run)
        watch.check_deadline()
        clock.sleep(watch.next_pause())


def describe(run: PipelineRun) -> str:
    """
    Say in one line where a run stands.

    :param run: A run in full detail.
    :return: A sentence without its full stop.
    """
    sentence = f"{run.name} is {run.status.value}"
    if run.block_runs:
        done = sum(block.status is BlockRunStatus.COMPLETED for block in run.block_runs)
        sentence += f"; {done} of {len(run.block_runs)} blocks are done"
    for block in run.block_runs:
        if block.status in (BlockRunStatus.QUEUED, BlockRunStatus.RUNNING):
            sentence += f", {block.block_uuid} is {block.status.value}"
    return sentence
