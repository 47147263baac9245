"""Leaving nothing behind."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.transport import Clock

log = logging.getLogger(__name__)

CONFIRM_FOR = 10.0

KILL_PATIENCE = 10.0
"""Seconds for which the cancelling of a killed task tries to reach Mage, before Airflow kills it for good."""


def cancel_run(client: MageClient, pipeline_run_id: int, *, clock: Clock = time) -> bool:
    """
    Cancel a run and see that it is over. Never raises, so that it cannot hide why it was called.

    :param client: The Mage server.
    :param pipeline_run_id: The run; one that is over stays as it is.
    :param clock: The time.
    :return: Whether the run is known to be over.
    """
    try:
        run = client.cancel_pipeline_run(pipeline_run_id)
        give_up = clock.monotonic() + CONFIRM_FOR
        while not run.status.is_terminal and clock.monotonic() < give_up:
            clock.sleep(1.0)
            run = client.get_pipeline_run(pipeline_run_id, short=True)
    except MageError as error:
        log.warning("Run %s could not be cancelled, so it may still be running. %s", pipeline_run_id, error)
        return False
    if run.status.is_terminal:
        log.info("Run %s is over: %s.", pipeline_run_id, run.status.value)
    else:
        log.warning("Mage was told to cancel run %s, but still says %s.", pipeline_run_id, run.status.value)
    return run.status.is_terminal
