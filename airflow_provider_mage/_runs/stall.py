"""Runs that stand still: saying why, as far as there is evidence, and doing what the author wants done."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.changes import describe
from airflow_provider_mage._runs.lost_job import (
    is_lost,
    is_queued,
    may_be_lost,
    runs_of_idle_server,
    wake_worker_pool,
    why_not_woken,
)
from airflow_provider_mage._runs.progress import FALLS, childless_blocks, queued_blocks
from airflow_provider_mage.api.errors import MageError, MageNotFoundError, StalledError
from airflow_provider_mage.api.models import PipelineRunStatus
from airflow_provider_mage.api.records import inside, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_mage._runs.rules import RunRules
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun, ServerStatus

log = logging.getLogger(__name__)

# Seconds for which what Mage says about one run that stands still is taken to hold for others like it.
CAUSE_HOLDS_FOR = 30.0

# Seconds after which a worker pool that was to be woken surely is: Mage's scheduler looks every ten.
WOKEN_WITHIN = 30.0


@dataclass(frozen=True)
class HandleStall:
    """
    To do: find out why a run stands still, and do what the author wants done about it.

    :param run: The run.
    :param rules: What the author wants.
    :param seconds: How long nothing has changed.
    :param fallen: The block whose process has ended too often, if that is what is wrong.
    """

    run: PipelineRun
    rules: RunRules
    seconds: float = 0.0
    fallen: str | None = None


@dataclass(frozen=True)
class Cause:
    """
    Why a run stands still.

    :param text: That, in sentences.
    :param is_final: Whether nothing can make it go on.
    :param server: If Mage has lost a job of it: what Mage says of itself.
    """

    text: str
    is_final: bool = False
    server: ServerStatus | None = None


@dataclass
class StallMemory:
    """
    What was found out, and done, about other runs of one server that stand still.

    With a thousand runs behind a limit, or behind a scheduler that has stopped, each would ask for the same.
    """

    causes: dict[tuple[Any, ...], tuple[float, Cause]] = field(default_factory=dict)
    busy_at: float = float("-inf")
    woken_at: float = float("-inf")
    version: str | None = None


def handle_stall(client: MageClient, step: HandleStall, memory: StallMemory) -> None:
    """Do what the author wants done with a run that stands still; raises a StalledError to end the wait."""
    run, rules = step.run, step.rules
    if step.fallen:
        text = (
            f"{describe(run)}. The process of block {step.fallen} has ended {FALLS} times without a result "
            "(killed, out of memory, or an executor that cannot be imported), and Mage starts it again each "
            "time; the server's own output says more."
        )
        if rules.on_stall != "warn":
            raise StalledError(text)
        log.warning("%s", text)
        return
    is_stalled = step.seconds >= rules.stall_timeout
    if not is_stalled and _is_busy(client, memory):
        return
    cause = _find_cause(client, run, memory)
    if not (is_stalled or cause.server):
        return  # it was only to be seen whether a job is lost
    text = f"Nothing has changed for {round(step.seconds, 1):g} s: {describe(run)}. {cause.text}"
    if cause.is_final or (is_stalled and rules.on_stall == "fail"):
        raise StalledError(text)
    log.warning("%s", text)
    if cause.server and rules.on_stall == "repair":
        _wake(client, run, cause.server, memory)


def warn_of_stream(client: MageClient, run: PipelineRun) -> None:
    """Say that a run never ends, if it is a stream's."""
    try:
        pipeline = client.get_pipeline(run.pipeline_uuid)
    except MageError as error:
        log.info("Cannot tell whether pipeline %s is a stream. %s", run.pipeline_uuid, error)
        return
    if pipeline.get("type") == "streaming":
        log.warning(
            "Pipeline %s is a stream: its runs never end by themselves, whether or not their source can be "
            "reached. This task waits until somebody cancels run %s, or until its time is over; with "
            "`wait_for_completion=False` it would end here.",
            run.pipeline_uuid,
            run.id,
        )


def _wake(client: MageClient, run: PipelineRun, server: ServerStatus, memory: StallMemory) -> None:
    now = client.clock.monotonic()
    # One job wakes the pool for all, once Mage's scheduler has come round to it.
    if now - memory.woken_at < WOKEN_WITHIN:
        return
    memory.woken_at = now
    try:
        if memory.version is None:
            memory.version = client.get_version()
        obstacle = why_not_woken(server, memory.version)
        if obstacle is None:
            wake_worker_pool(client, run.pipeline_uuid)
        else:
            log.warning("%s", obstacle)
    except MageError as error:
        log.warning("Cannot wake Mage's worker pool. %s", error)


def _find_cause(client: MageClient, run: PipelineRun, memory: StallMemory) -> Cause:
    if run.is_orphan:
        return Cause("Its pipeline schedule was deleted, so Mage does not go on with it.", is_final=True)
    childless = childless_blocks(run)
    if childless:
        return Cause(
            f"Block {childless[0]} looks for the items of its dynamic block, which seems to have given none."
        )
    now, kind = client.clock.monotonic(), (run.status, run.pipeline_schedule_id, *queued_blocks(run))
    found_at, cause = memory.causes.get(kind, (float("-inf"), Cause("")))
    if now - found_at > CAUSE_HOLDS_FOR:
        try:
            cause = _ask_for_cause(client, run, memory)
        except MageError as error:
            cause = Cause(f"No cause is known, as Mage could not be asked. {error}")
        memory.causes[kind] = now, cause
    return cause


def _is_busy(client: MageClient, memory: StallMemory) -> bool:
    """Whether something was running on the server a moment ago: then it has lost no job."""
    return client.clock.monotonic() - memory.busy_at < CAUSE_HOLDS_FOR


def _ask_for_cause(client: MageClient, run: PipelineRun, memory: StallMemory) -> Cause:
    server = client.get_status()
    if server.scheduler_status != "running":
        return Cause(
            f"Mage says that its scheduler is {server.scheduler_status}: unless another process runs it, "
            "nothing will start before somebody starts it."
        )
    try:
        pipeline = client.get_pipeline(run.pipeline_uuid) if run.pipeline_uuid else {}
    except MageNotFoundError:
        return Cause(
            f"Pipeline {run.pipeline_uuid} was deleted in Mage, which does not go on with its runs.",
            is_final=True,
        )
    if run.status is PipelineRunStatus.INITIAL:
        cause = _why_not_started(client, run, inside(pipeline, "concurrency_config"))
        if cause:
            return Cause(cause)
    elif may_be_lost(run) and is_queued(run, pipeline) and not _is_busy(client, memory):
        runs = runs_of_idle_server(client)
        if runs is None:
            memory.busy_at = client.clock.monotonic()
        elif is_lost(run, runs):
            return Cause(
                "Nothing is running on the server, and its scheduler is: Mage has lost a job, which starts "
                "as soon as any other is queued.",
                server=server,
            )
    return Cause("Mage says that its scheduler is running. No cause is known.")


def _why_not_started(client: MageClient, run: PipelineRun, config: Mapping[str, Any]) -> str | None:
    """Say what keeps a run ``initial``: a schedule that is off, or a limit that is reached."""
    if run.pipeline_schedule_id is None:
        return None
    schedule = client.get_pipeline_schedule(run.pipeline_schedule_id)
    name = f"pipeline schedule {schedule.id} ({schedule.name!r})"
    if not schedule.is_active:
        return f"Its {name} is {schedule.status}: enable it."
    limit_of_schedule = schedule.run_limit or whole_number(config.get("pipeline_run_limit"))
    limit_of_pipeline = whole_number(config.get("pipeline_run_limit_all_triggers"))
    if not (limit_of_schedule or limit_of_pipeline):
        return None
    running = client.list_pipeline_runs(pipeline_uuid=run.pipeline_uuid, statuses=[PipelineRunStatus.RUNNING])
    own = [one for one in running if one.pipeline_schedule_id == schedule.id]
    for owner, limit, runs in (
        (name, limit_of_schedule, own),
        (f"pipeline {run.pipeline_uuid}", limit_of_pipeline, running),
    ):
        if limit and len(runs) >= limit:
            return f"A limit holds it back: {limit} at once for {owner}, and {len(runs)} are running."
    return None
