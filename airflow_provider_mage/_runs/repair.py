"""Running blocks of a run again that is there already: what Mage calls a retry, in the same run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.block_state import MOST_REPAIRS, BlockState
from airflow_provider_mage.api.errors import MageError, MageTransportError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus
from airflow_provider_mage.api.records import whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)


def why_not_repaired(client: MageClient, run: PipelineRun) -> str | None:
    """
    Say, after the name of a run that is over, why a repair of it would be of no use; None if it may be.

    :param client: The Mage server.
    :param run: The run, in full detail.
    :return: Such as "was failed before it had begun".
    """
    if not run.block_runs:
        # Mage would call it completed, although nothing has run (observed).
        return f"was {run.status.value} before it had begun"
    if run.is_orphan:
        return "has lost its pipeline schedule, so Mage would not go on with it"
    if run.pipeline_schedule_id is None or run.started_at is None:
        return None
    schedule = client.get_pipeline_schedule(run.pipeline_schedule_id)
    # Mage counts from the first start, also in a repaired run (observed).
    if schedule.timeout and client.clock.time() - run.started_at.timestamp() >= schedule.timeout:
        return (
            f"is older than its pipeline schedule's timeout of {schedule.timeout:g} s, so Mage would end it "
            "at once"
        )
    return None


def ends_with_a_failed_block(client: MageClient, run: PipelineRun) -> bool:
    """
    Tell whether Mage ends a run as soon as one of its blocks has failed.

    :param client: The Mage server.
    :param run: The run.
    :return: Whether it does, which its pipeline schedule says.
    """
    if run.pipeline_schedule_id is None:
        return True
    return not client.get_pipeline_schedule(run.pipeline_schedule_id).allow_blocks_to_fail


def repair_run(client: MageClient, run: PipelineRun, from_block_uuid: str | None = None) -> PipelineRun:
    """
    Ask Mage, once, to run blocks of a run again.

    :param client: The Mage server.
    :param run: The run as it is.
    :param from_block_uuid: This block and those after it; None for all that did not complete.
    :return: The run, ``running`` again.
    :raises MageTransportError: If it stays unknown whether Mage has been asked.
    """
    clock = client.clock
    # In which a request that was given up on may still wait in front of the server's one thread.
    settling_time = 2 * client.timeout
    give_up = clock.monotonic() + client.retries.retry_for + 2 * settling_time
    while True:
        try:
            return client.retry_pipeline_run(run.id, from_block_uuid)
        except MageTransportError as error:
            if not error.may_have_arrived or clock.monotonic() > give_up:
                raise
            log.warning("Cannot tell whether Mage repairs run %s: looking at it. %s", run.id, error)
            # Repeated on a running run, a repair would set its blocks back to the start (observed).
            clock.sleep(settling_time)
            current = client.get_pipeline_run(run.id)
            if _is_repaired(current, run, from_block_uuid):
                return current


def _is_repaired(current: PipelineRun, before: PipelineRun, from_block_uuid: str | None) -> bool:
    if from_block_uuid is None:
        return current.status is not before.status or current.updated_at != before.updated_at

    def rows(run: PipelineRun) -> list[object]:
        rows = BlockState(run, from_block_uuid).rows
        return [(row.id, row.status, row.updated_at) for row in rows]

    # The run itself may change because of other blocks.
    return rows(current) != rows(before)


def repair_from(
    client: MageClient, run: PipelineRun, roots: Sequence[str], after: Sequence[str]
) -> PipelineRun:
    """
    Have Mage run blocks, and those after them, again in the same run.

    :param client: The Mage server.
    :param run: The run, in full detail.
    :param roots: The blocks.
    :param after: All blocks after them.
    :return: The run as it is now.
    :raises MageError: If Mage cannot, or would end the run at once.
    """
    obstacle = why_not_repaired(client, run) or _why_not_run(client, run, roots, after)
    if obstacle:
        raise MageError(
            f"{run.name} {obstacle}: block {roots[0]} cannot be run again in it. Clear the launch task and "
            "those after it to start a new run."
        )
    left = list(roots)
    for _ in range(MOST_REPAIRS):
        before = {name: BlockState(run, name).fingerprint for name in left}
        for name in left:
            log.info("Repairing run %s: block %s, and what is after it, runs again.", run.id, name)
            repair_run(client, run, name)
        run = client.get_pipeline_run(run.id)
        # Between two requests, Mage may have ended the run over a block that the second one was about.
        states = {name: BlockState(run, name) for name in left}
        left = [
            name
            for name, state in states.items()
            if state.end is BlockRunStatus.CANCELLED or (state.is_over and state.fingerprint == before[name])
        ]
        has_failed_anew = any(
            state.end is BlockRunStatus.FAILED and name not in left for name, state in states.items()
        )
        if not left or has_failed_anew or run.status is PipelineRunStatus.CANCELLED:
            return run
    raise MageError(f"{run.name} does not run block {left[0]} again, although Mage was asked to.")


def _why_not_run(
    client: MageClient, run: PipelineRun, roots: Sequence[str], after: Sequence[str]
) -> str | None:
    """Say, after the name of a run, why Mage would not run these blocks again; None if it should."""
    pipeline = client.get_pipeline(run.pipeline_uuid)
    rows = pipeline.get("blocks")
    timeouts = {str(row.get("uuid")): row.get("timeout") for row in rows or () if isinstance(row, Mapping)}
    known = {row.block_uuid: row.block_uuid.partition(":")[0] for row in run.block_runs}
    gone = next((name for name in (*roots, *known.values()) if name not in timeouts), None)
    if gone is not None:
        # Mage does nothing, without a word, or crashes over any such block run (observed).
        return f"has block {gone}, which its pipeline in Mage has no more"
    now = client.clock.time()
    for row in run.block_runs:
        timeout = whole_number(timeouts[known[row.block_uuid]])
        is_set_back = known[row.block_uuid] in (*roots, *after)
        # Mage counts from the first start, unless the block has failed since (observed).
        if not (timeout and is_set_back and row.started_at) or row.has_metrics:
            continue
        if now - row.started_at.timestamp() >= timeout:
            return (
                f"has block {row.block_uuid} with a timeout of {timeout} s, which Mage counts from its first "
                "start, so that it would fail at once"
            )
    return None
