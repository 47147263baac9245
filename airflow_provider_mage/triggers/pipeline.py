"""The trigger that waits for a pipeline run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mage._compat import task_was_acted_on
from airflow_provider_mage._runs.duplicates import Doubt
from airflow_provider_mage._runs.watch import RunWatch, WaitRules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class MagePipelineRunTrigger(BaseTrigger):
    """
    Waits until a pipeline run is over.

    Its one event says how the waiting ended (:mod:`airflow_provider_mage.triggers.event`); how the run ended
    is for the worker to read. All triggers of one connection in one triggerer share one poller, and with it
    the requests.

    :param mage_conn_id: The Airflow connection.
    :param pipeline_run_id: The run.
    :param poll_interval: The longest time between the end of the run and the event, in seconds.
    :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
    :param max_unreachable: Seconds for which Mage may be out of reach.
    :param stall_timeout: Seconds without any change, and with no block running, after which a run counts as
        stalled.
    :param on_stall: ``warn``, ``fail`` or ``repair``.
    :param cancel_on_kill: Whether the run is cancelled when a person acts on the waiting task.
    :param created_after: A time (as in ``time.time()``, by Mage's clock) at or before the run's creation;
        None if unknown.
    :param doubt: Where twins of the run may yet be, as a dictionary of what
        :class:`~airflow_provider_mage._runs.duplicates.Doubt` holds; None if there can be none.
    """

    def __init__(
        self,
        mage_conn_id: str,
        pipeline_run_id: int,
        poll_interval: float = 10.0,
        *,
        deadline: float | None = None,
        max_unreachable: float = 600.0,
        stall_timeout: float = 300.0,
        on_stall: str = "warn",
        cancel_on_kill: bool = True,
        created_after: float | None = None,
        doubt: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mage_conn_id = mage_conn_id
        self.pipeline_run_id = pipeline_run_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.max_unreachable = max_unreachable
        self.stall_timeout = stall_timeout
        self.on_stall = on_stall
        self.cancel_on_kill = cancel_on_kill
        self.created_after = created_after
        self.doubt = doubt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger: ids and numbers, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mage_conn_id": self.mage_conn_id,
                "pipeline_run_id": self.pipeline_run_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "max_unreachable": self.max_unreachable,
                "stall_timeout": self.stall_timeout,
                "on_stall": self.on_stall,
                "cancel_on_kill": self.cancel_on_kill,
                "created_after": self.created_after,
                "doubt": self.doubt,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the waiting ended."""
        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.triggers.event import make_event

        failure: Exception | None = None
        try:
            await self._wait()
        except asyncio.CancelledError:
            if self.cancel_on_kill and await task_was_acted_on(self):
                await self.on_kill()
            raise
        except (MageError, TimeoutError) as error:
            failure = error
        # Not inside the `try`: some runners end a trigger at its `yield` with CancelledError, success or not.
        yield TriggerEvent(make_event(failure, pipeline_run_id=self.pipeline_run_id))

    async def on_kill(self) -> None:
        """Cancel the run: a person has marked or cleared the waiting task (from Airflow 3.3 on)."""
        if self.cancel_on_kill:
            await asyncio.to_thread(self._cancel)

    def _cancel(self) -> None:
        from airflow_provider_mage._runs.cancel import KILL_PATIENCE, cancel_run
        from airflow_provider_mage._runs.duplicates import look_again
        from airflow_provider_mage.hooks.mage import MageHook

        client = MageHook(self.mage_conn_id, retry_for=KILL_PATIENCE).client
        cancel_run(client, self.pipeline_run_id)
        if self.doubt:
            look_again(client, self.pipeline_run_id, Doubt(**self.doubt))

    async def _wait(self) -> None:
        from airflow_provider_mage._runs.poller import Watcher, poller_of
        from airflow_provider_mage.api.errors import MageError

        rules = WaitRules(
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            max_unreachable=self.max_unreachable,
            stall_timeout=self.stall_timeout,
        )
        watch = RunWatch(self.pipeline_run_id, rules, doubt=Doubt(**self.doubt) if self.doubt else None)
        since = (
            None if self.created_after is None else datetime.fromtimestamp(self.created_after, timezone.utc)
        )
        watcher = Watcher(self.pipeline_run_id, self.poll_interval, since)
        poller = poller_of(self.mage_conn_id)
        async with poller.watch(watcher) as sightings:
            while True:
                watch.check_deadline()
                run = None
                with suppress(asyncio.TimeoutError):
                    sighting = await asyncio.wait_for(sightings.get(), watch.time_left())
                    if sighting is None:
                        watch.found_again()
                    elif isinstance(sighting, MageError):
                        watch.missed(sighting)
                    else:
                        run = sighting
                if doubt := watch.doubt_about(run):
                    watch.doubt = await asyncio.to_thread(self._look_again, doubt)
                if run is None:
                    continue
                if run.status.is_terminal:
                    return
                if watch.saw(run):
                    await poller.handle_stall(run, seconds=self.stall_timeout, reaction=self.on_stall)

    def _look_again(self, doubt: Doubt) -> Doubt | None:
        from airflow_provider_mage._runs.duplicates import LOOK_PATIENCE, look_again
        from airflow_provider_mage.hooks.mage import MageHook

        client = MageHook(self.mage_conn_id, retry_for=LOOK_PATIENCE).client
        return look_again(client, self.pipeline_run_id, doubt)
