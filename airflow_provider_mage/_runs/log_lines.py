"""Records of Mage's logs, as they are told in the log of an Airflow task."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from airflow_provider_mage.api.foreign_text import first_lines
from airflow_provider_mage.api.secrets import star

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_mage.api.logs import LogRecord
    from airflow_provider_mage.api.tracebacks import CodeLine

log = logging.getLogger(__name__)

LAST_LINES = 20
"""So many lines of a block that has failed are told, if nothing else was asked for."""

# What Mage's executor writes about itself (observed).
STARTED = "Start executing block"
FINISHED = "Finish executing block"
FAILED = "Failed to execute block "
TRIED = "Exception thrown when attempting to run <function "

_MOST_ERROR_LINES = 12

Line = tuple[int, str]
"""A level, and a text without line ends."""


def lines_of(record: LogRecord) -> list[Line]:
    """
    Return what is told of a record: what the block has written, and its exceptions, without the tracebacks.

    Nothing is told of what the lines about the run say anyway, that a block has begun or is done.
    """
    if record.message.startswith((STARTED, FINISHED)):
        return []
    lines = [] if record.message.startswith(FAILED) else record.message.split("\n")
    if record.error is not None:
        if record.message.startswith(TRIED):
            attempt = re.search(r"attempt (\d{1,4}) of (\d{1,4})$", record.message[-40:])
            if attempt is None or int(attempt[1]) >= int(attempt[2]):
                return []  # the last one is told once more, as the failure
            lines = [f"Attempt {attempt[1]} of {attempt[2]} failed:"]
        lines += first_lines(record.error, _MOST_ERROR_LINES).split("\n")
        if record.code_line is not None:
            lines.append(f"  {describe_code_line(record.code_line)}")
    return [(record.level, line) for line in lines]


def describe_code_line(line: CodeLine) -> str:
    """Say where in its author's code a block broke."""
    of_what = "of its code" if line.is_of_block else f"of {line.file}"
    in_what = f", in {line.function}" if line.function not in ("", "<module>") else ""
    return f"at line {line.number} {of_what}{in_what}" + (f": {line.text}" if line.text else "")


def tell_last_lines(block_uuid: str, records: Sequence[LogRecord], most: int) -> None:
    """
    Write the last lines of a block into the log of the task; its exception is told elsewhere.

    :param block_uuid: The block.
    :param records: What it has written.
    :param most: How many lines.
    """
    lines = [line for record in records if not record.message.startswith(FAILED) for line in lines_of(record)]
    told = lines[-most:] if most > 0 else []
    if told:
        left_out = f", the last {len(told)} of {len(lines)} lines" if len(told) < len(lines) else ""
        tell(block_uuid, told, left_out)


def tell(block_uuid: str, lines: Sequence[Line], which: str = "") -> None:
    """Write lines of a block into the log of the task, as a group that Airflow's UI folds."""
    log.info("::group::Mage log of block %s%s", block_uuid, which)
    for level, line in lines:
        # In front of each line, so that what a block writes is no mark of a group.
        log.log(level, "[%s] %s", block_uuid, star(line))
    log.info("::endgroup::")
