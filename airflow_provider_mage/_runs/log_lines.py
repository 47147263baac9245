"""Lines of Mage's logs, as they are told in the log of an Airflow task."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.reasons import FAILED, STARTED
from airflow_provider_mage.api.secrets import star

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_mage.api.logs import LogRecord

log = logging.getLogger(__name__)

LAST_LINES = 20
"""So many lines of a block that has failed are told, if nothing else was asked for."""

# What Mage's executor writes about itself, and, of an exception, what is told of the block anyway.
_NOISE = (STARTED, FAILED, "Exception thrown when attempting to run <function ")


def tell_last_lines(block_uuid: str, records: Sequence[LogRecord], most: int) -> None:
    """
    Write the last lines of a block into the log of the task, in a group that Airflow's UI folds.

    :param block_uuid: The block.
    :param records: What it has written.
    :param most: How many lines.
    """
    lines = [
        (record.level, line)
        for record in records
        if not record.message.startswith(_NOISE)
        for line in record.message.split("\n")
    ]
    told = lines[-most:] if most > 0 else []
    if not told:
        return
    left_out = f", the last {len(told)} of {len(lines)} lines" if len(told) < len(lines) else ""
    log.info("::group::What block %s wrote%s", block_uuid, left_out)
    for level, line in told:
        log.log(level, "[%s] %s", block_uuid, star(line))
    log.info("::endgroup::")
