"""Runs that Mage has lost sight of: saying what is stuck, and waking the server up."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.watch import describe
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)


class StalledError(MageError):
    """A run stands still, and was not to be waited for any longer."""


WAKE_UP_SCHEDULE = "airflow (wakes the worker pool)"


ON_STALL = ("warn", "fail", "repair")


CAUSE_HOLDS_FOR = 30.0
"""Seconds for which what Mage says about one run that stands still is taken to hold for others like it."""


@dataclass
class StallMemory:
    """
    What was found out, and done, about other runs of one server that stand still.

    With a thousand runs behind a limit, or behind a scheduler that has stopped, each would ask for the same.
    """

    clock: Clock = time
    causes: dict[tuple[PipelineRunStatus, int | None], tuple[float, str]] = field(default_factory=dict)
    woken_at: float = float("-inf")


def handle_stall(
    client: MageClient,
    run: PipelineRun,
    *,
    seconds: float,
    reaction: str,
    memory: StallMemory | None = None,
) -> None:
    """
    Do what the author wants done with a run that stands still.

    :param client: The Mage server.
    :param run: The run, in full detail.
    :param seconds: For how long it has stood still.
    :param reaction: One of :data:`ON_STALL`.
    :param memory: What is known of other such runs.
    :raises StalledError: If it is not to be waited for any longer, or there is nothing to wait for.
    """
    memory = memory or StallMemory()
    explanation = explain_stall(client, run, seconds, memory)
    if reaction == "fail" or run.is_orphan:
        raise StalledError(explanation)
    log.warning("%s", explanation)
    # It has stood still for longer: if that was of no use to this run, neither is another one so soon.
    if reaction == "repair" and memory.clock.monotonic() - memory.woken_at >= seconds:
        memory.woken_at = memory.clock.monotonic()
        try:
            wake_worker_pool(client, run.pipeline_uuid)
        except MageError as error:
            log.warning("Mage's worker pool could not be woken. %s", error)


def explain_stall(client: MageClient, run: PipelineRun, seconds: float, memory: StallMemory) -> str:
    """
    Say what is stuck and what the server says of its scheduler.

    :param client: The Mage server.
    :param run: A run that stands still, in full detail.
    :param seconds: For how long it has.
    :param memory: What is known of other such runs.
    :return: Some sentences for the log.
    """
    if run.is_orphan:
        return f"{describe(run)}. Its pipeline schedule was deleted, so Mage does not go on with it."
    now, kind = memory.clock.monotonic(), (run.status, run.pipeline_schedule_id)
    found_at, cause = memory.causes.get(kind, (float("-inf"), ""))
    if now - found_at > CAUSE_HOLDS_FOR:
        cause = _cause(client, run)
        memory.causes[kind] = now, cause
    return f"Nothing has changed for {seconds:g} s and no block is running: {describe(run)}. {cause}"


def _cause(client: MageClient, run: PipelineRun) -> str:
    try:
        scheduler = client.get_status().scheduler_status
    except MageError as error:
        return f"Mage's status could not be read. {error}"
    if scheduler != "running":
        return f"Mage says that its scheduler is {scheduler}: nothing will start before somebody starts it."
    if run.status is not PipelineRunStatus.INITIAL:
        return (
            "Mage says that its scheduler is running. Its worker pool may have left with a job still in its "
            "queue; that job starts as soon as any other is queued."
        )
    try:
        schedule = client.get_pipeline_schedule(run.pipeline_schedule_id or 0)
    except MageError as error:
        return f"Mage says that its scheduler is running. {error}"
    if not schedule.is_active:
        return f"Its pipeline schedule {schedule.id} ({schedule.name!r}) is {schedule.status}: enable it."
    return "Mage says that its scheduler is running. A limit on concurrent runs may be holding the run back."


def wake_worker_pool(client: MageClient, pipeline_uuid: str) -> None:
    """
    Make a worker pool that has left come back, and find what it forgot.

    It does so for any new job, and the clean-up after a cancelled run is one. That run is made for the
    purpose, under a schedule that is never active, so that none of its blocks can start, and no block of any
    other run is touched (observed on 0.9.80; on servers whose cancelling queues no job this does nothing).

    :param client: The Mage server.
    :param pipeline_uuid: A pipeline to make the run for.
    """
    schedules = client.list_pipeline_schedules(pipeline_uuid)
    schedule = next((one for one in schedules if one.name == WAKE_UP_SCHEDULE), None)
    if schedule is None:
        schedule = client.create_pipeline_schedule(pipeline_uuid, WAKE_UP_SCHEDULE, is_active=False)
    if schedule.is_active:
        log.warning(
            "Pipeline schedule %r is active, so it cannot be used to wake Mage's worker pool.", schedule.name
        )
        return
    run = client.create_pipeline_run(schedule.id)
    client.cancel_pipeline_run(run.id)
    log.info("Asked Mage to clean up after run %s, which wakes its worker pool.", run.id)
