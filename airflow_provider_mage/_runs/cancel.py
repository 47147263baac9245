"""Leaving nothing behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage._runs.identity import Claim
    from airflow_provider_mage.api.client import MageClient

log = logging.getLogger(__name__)

CONFIRM_FOR = 10.0


def cancel_run(
    client: MageClient, pipeline_run_id: int, claim: Claim | None = None
) -> PipelineRunStatus | None:
    """
    Cancel a run and see that it is over. Never raises, so that it cannot hide why it was called.

    :param client: The Mage server.
    :param pipeline_run_id: The run; one that is over stays as it is.
    :param claim: Whose run it has to be; None for anybody's.
    :return: How the run is known to be over, ``unknown`` if it is no longer this task's; None if it may be
        going on.
    """
    clock = client.clock
    try:
        if claim is not None and not claim.owns(client.get_pipeline_run(pipeline_run_id)):
            log.warning("Run %s belongs to another task now, so it is left alone.", pipeline_run_id)
            return PipelineRunStatus.UNKNOWN
        run = client.cancel_pipeline_run(pipeline_run_id)
        give_up = clock.monotonic() + CONFIRM_FOR
        while not run.status.is_terminal and clock.monotonic() < give_up:
            # Said again, as Mage's scheduler writes `running` over it if it picks the run up in that very
            # moment (observed on PostgreSQL).
            clock.sleep(1.0)
            run = client.cancel_pipeline_run(pipeline_run_id)
    except Exception as error:  # noqa: BLE001  whatever it is
        log.warning("Cannot cancel run %s; it may still be running. %s", pipeline_run_id, error)
        return None
    if run.status.is_terminal:
        log.info("Run %s is over: %s.", pipeline_run_id, run.status.value)
    else:
        log.warning("Mage was told to cancel run %s, but still says %s.", pipeline_run_id, run.status.value)
    return run.status if run.status.is_terminal else None


def describe_fate(pipeline_run_id: int, status: PipelineRunStatus | None) -> str:
    """Say what has become of a run that was to be cancelled, in the middle of a sentence."""
    name = f"run {pipeline_run_id}"
    if status is None:
        return f"{name} could not be cancelled, and may still be going on: see the log"
    if status is PipelineRunStatus.UNKNOWN:
        return f"{name} is no longer this task's"
    if status is PipelineRunStatus.CANCELLED:
        return f"{name} was cancelled"
    return f"{name} had {status.value} by then"
