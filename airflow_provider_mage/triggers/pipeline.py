"""The trigger that waits for a pipeline run."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage._runs.rules import RunRules
from airflow_provider_mage.links import PIPELINE_RUN_ID
from airflow_provider_mage.triggers.base import MageTrigger

if TYPE_CHECKING:
    from airflow_provider_mage._runs.log_stream import LogStream
    from airflow_provider_mage._runs.poller import RunPoller
    from airflow_provider_mage._runs.watch import RunWatch
    from airflow_provider_mage._waiting.watch import Wait
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.errors import MagePipelineRunFailed
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.triggers.threads import Call


class MagePipelineRunTrigger(MageTrigger):
    """
    Waits until a pipeline run is over.

    Its one event says how the waiting ended (:mod:`airflow_provider_mage.triggers.event`), and with which
    status the run has. All triggers of one connection in one triggerer share one poller, and with it the
    requests.

    :param mage_conn_id: The Airflow connection.
    :param pipeline_run_id: The run.
    :param poll_interval: The longest time between the end of the run and the event, in seconds.
    :param cancel_on_kill: Whether the run is cancelled when a person acts on the waiting task.
    :param created_after: A time (as in ``time.time()``, by Mage's clock) at or before the run's creation;
        None if unknown.
    :param claim: Whose run it has to be, as ``Claim.to_dict()`` writes it; None for anybody's.
    :param options: The other fields of :class:`~airflow_provider_mage._runs.rules.RunRules`. What this
        version does not know is left out, as another one may have stored it.
    """

    def __init__(
        self,
        mage_conn_id: str,
        pipeline_run_id: int,
        poll_interval: float = 10.0,
        *,
        cancel_on_kill: bool = True,
        created_after: float | None = None,
        claim: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(mage_conn_id, {PIPELINE_RUN_ID: pipeline_run_id}, undoes_on_kill=cancel_on_kill)
        self.mage_conn_id = mage_conn_id
        self.pipeline_run_id = pipeline_run_id
        self.rules = RunRules.from_dict({"poll_interval": poll_interval, **options})
        self.cancel_on_kill = cancel_on_kill
        self.created_after = created_after
        self.claim = claim

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of this trigger: names and numbers, no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mage_conn_id": self.mage_conn_id,
                "pipeline_run_id": self.pipeline_run_id,
                **asdict(self.rules),
                "cancel_on_kill": self.cancel_on_kill,
                "created_after": self.created_after,
                "claim": self.claim,
            },
        )

    def _undo(self) -> None:
        from airflow_provider_mage._runs.cancel import cancel_run, describe_fate
        from airflow_provider_mage._runs.duplicates import cancel_duplicates
        from airflow_provider_mage.api.retries import KILLED

        client, claim = _connect(self.mage_conn_id).with_retries(KILLED), Claim.from_dict(self.claim)
        status = cancel_run(client, self.pipeline_run_id, claim)
        self.log.info("This task was killed; %s.", describe_fate(self.pipeline_run_id, status))
        if claim is not None and claim.checks_at:
            cancel_duplicates(client, self.pipeline_run_id, claim)

    async def _wait(self, call: Call) -> dict[str, Any]:
        from airflow_provider_mage._runs.changes import describe_end
        from airflow_provider_mage._runs.report import KILLED_REASON, failure_of
        from airflow_provider_mage._runs.watch import RunWatch

        logs = await self._stream_logs()
        watch = RunWatch(self.pipeline_run_id, self.rules, Claim.from_dict(self.claim), logs)
        poller = poller_of(self.mage_conn_id, call)
        run = await self._see(poller, watch)
        reason = KILLED_REASON if self.is_undone else ""

        def judge(client: MageClient) -> MagePipelineRunFailed | None:
            url = client.pipeline_run_url(run.pipeline_uuid, run.id)
            if logs is not None:
                logs.close(client.log_url(run.pipeline_uuid, run.id))
            # Whoever waits for anybody's run cannot know what was before.
            old_errors = watch.old_errors if self.claim else None
            last_lines = self.rules.last_log_lines
            return failure_of(run, url, client, old_errors=old_errors, reason=reason, last_lines=last_lines)

        # The poller may have ended with its last watcher; it still knows how to ask.
        failure = await poller.ask(judge)
        return {"failure": failure, "status": run.status.value, "outcome": describe_end(run)}

    async def _see(self, poller: RunPoller, watch: RunWatch, blocks_of: str = "") -> PipelineRun:
        """Wait, and return the run that has ended the wait; with a pipeline, its blocks are looked at."""
        from airflow_provider_mage._compat import measure
        from airflow_provider_mage._runs.poller import Watcher
        from airflow_provider_mage._waiting.drive import wait_async
        from airflow_provider_mage._waiting.within import within

        since = (
            None if self.created_after is None else datetime.fromtimestamp(self.created_after, timezone.utc)
        )
        watcher = Watcher(self.pipeline_run_id, self.rules.poll_interval, since, blocks_of)
        async with poller.watch(watcher) as sightings:

            async def look(step: Wait) -> Any:
                try:
                    return await within(step.wake_in, sightings.get())
                except asyncio.TimeoutError:
                    return None

            async def act(step: Any) -> Any:
                deadline = self.rules.deadline
                left = None if deadline is None else max(0.0, deadline - time.time())
                with suppress(asyncio.TimeoutError):  # the watch knows what follows from that
                    return await within(left, poller.act(step))

            began = time.monotonic()
            run = await wait_async(watch, look, act, time.time)
            measure("run.wait", time.monotonic() - began)
        return run

    async def _stream_logs(self) -> LogStream | None:
        """Go on with the logs where this, or a triggerer that has died, has stored that it was."""
        from airflow_provider_mage._compat import read_xcom, write_xcom
        from airflow_provider_mage._runs.log_stream import LOG_CURSOR, LogStream
        from airflow_provider_mage.triggers.threads import threads_of

        if self.rules.stream_logs is not True:
            return None
        with threads_of("airflow") as ask_airflow:
            cursor = await ask_airflow(read_xcom, self, LOG_CURSOR)
        save = partial(write_xcom, self, LOG_CURSOR)
        return LogStream(self.rules.max_log_lines, cursor, save)


_pollers: dict[tuple[int, str], RunPoller] = {}


def poller_of(mage_conn_id: str, call: Call) -> RunPoller:
    """Return this process's one poller for a connection; it ends when its last watcher leaves."""
    from airflow_provider_mage._compat import measure
    from airflow_provider_mage._runs.poller import RunPoller
    from airflow_provider_mage._waiting.connected import Connected

    key = (id(asyncio.get_running_loop()), mage_conn_id)
    poller = _pollers.get(key)
    if poller is None:
        connected = Connected(partial(_connect, mage_conn_id))
        ask = partial(call, connected.ask)
        poller = _pollers[key] = RunPoller(
            ask, on_idle=partial(_pollers.pop, key, None), on_round=partial(measure, "poller.round")
        )
    return poller


def _connect(mage_conn_id: str) -> MageClient:
    from airflow_provider_mage.api.retries import ONCE
    from airflow_provider_mage.hooks.mage import MageHook

    return MageHook(mage_conn_id).client.with_retries(ONCE)
