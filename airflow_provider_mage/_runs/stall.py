"""Runs that Mage has lost sight of: saying what is stuck, and waking the server up."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.report import describe
from airflow_provider_mage.api.errors import MageError, StalledError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)


WAKE_UP_SCHEDULE = "airflow (wakes the worker pool)"

# Seconds for which what Mage says about one run that stands still is taken to hold for others like it.
CAUSE_HOLDS_FOR = 30.0


@dataclass
class StallMemory:
    """
    What was found out, and done, about other runs of one server that stand still.

    With a thousand runs behind a limit, or behind a scheduler that has stopped, each would ask for the same.
    """

    causes: dict[tuple[PipelineRunStatus, int | None], tuple[float, str]] = field(default_factory=dict)
    woken_at: float = float("-inf")


def handle_stall(client: MageClient, run: PipelineRun, rules: RunRules, memory: StallMemory) -> None:
    """Do what the author wants done with a run that stands still; raises a StalledError to end the wait."""
    explanation = explain_stall(client, run, rules.stall_timeout, memory)
    if rules.on_stall == "fail" or run.is_orphan:
        raise StalledError(explanation)
    log.warning("%s", explanation)
    now = client.clock.monotonic()
    # It has stood still for longer: if that was of no use to this run, neither is another one so soon.
    if rules.on_stall == "repair" and now - memory.woken_at >= rules.stall_timeout:
        memory.woken_at = now
        try:
            wake_worker_pool(client, run.pipeline_uuid)
        except MageError as error:
            log.warning("Cannot wake Mage's worker pool. %s", error)


def explain_stall(client: MageClient, run: PipelineRun, seconds: float, memory: StallMemory) -> str:
    """Say what is stuck and what the server says of its scheduler, in some sentences for the log."""
    if run.is_orphan:
        return f"{describe(run)}. Its pipeline schedule was deleted, so Mage does not go on with it."
    now, kind = client.clock.monotonic(), (run.status, run.pipeline_schedule_id)
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
