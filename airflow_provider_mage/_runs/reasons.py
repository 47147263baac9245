"""
Why blocks have failed.

Mage tells a block's exception in two places. In the run's own detail it is written once for each block run,
and never again; not at all for the child of a dynamic block, for a hook, for a run in one process, and for a
pipeline whose block runs could not even be made (observed). The logs have all of them, so they come first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.log_lines import FAILED, STARTED
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.foreign_text import excerpt
from airflow_provider_mage.api.tracebacks import find_code_line, find_printed_error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.logs import LogRecord
    from airflow_provider_mage.api.models import BlockRun, PipelineRun
    from airflow_provider_mage.api.tracebacks import CodeLine

log = logging.getLogger(__name__)

# Seconds after the failure of a run in which Mage writes why.
WRITTEN_WITHIN = 3.0

MOST_BLOCKS = 3
"""Of so many failed blocks the reasons are told: a dynamic block may have thousands of children."""

_TESTS_FAILED = "Failed to pass tests for block"

_PRINTS_LOOKED_AT = 100


@dataclass(frozen=True)
class Reason:
    """
    What is known about why a block, or a run, has failed.

    :param error: The exception, such as ``ValueError: no rows``; None if nobody says it.
    :param code_line: Where in its author's code it was raised.
    :param records: What was written into the log since the block was started last.
    """

    error: str | None = None
    code_line: CodeLine | None = None
    records: tuple[LogRecord, ...] = ()


def find_reasons(
    client: MageClient | None,
    run: PipelineRun,
    failed: Sequence[BlockRun],
    old_errors: Collection[int] | None,
    *,
    needs_log: bool = True,
) -> dict[int, Reason]:
    """
    Find out why blocks have failed, as far as that can be found out; raises no MageError.

    :param client: The Mage server: it gets one request for the logs, and one for the code of each block.
        Without it, what the run says is all.
    :param run: The run, in full detail.
    :param failed: Those of its blocks that are looked into.
    :param old_errors: As for :func:`~airflow_provider_mage._runs.report.failure_of`.
    :param needs_log: Whether what the blocks have written is wanted, too, even if the run says all else.
    :return: The reasons, by the ids of the block runs.
    """
    fresh = {
        block.id: Reason(block.error, block.code_line)
        for block in failed
        if block.error and old_errors is not None and block.id not in old_errors
    }
    records = (
        _read_logs(client, run, [block.id for block in failed])
        if needs_log or len(fresh) < len(failed)
        else []
    )
    reasons = {}
    for block in failed:
        reason = _reason_in([record for record in records if record.block_run_id == block.id])
        if reason.error is None:
            reason = replace(fresh.get(block.id, reason), records=reason.records)
        reasons[block.id] = _with_code(client, run, block, reason)
    return reasons


def find_reason_of_run(client: MageClient | None, run: PipelineRun) -> Reason:
    """Find out why a run has failed none of whose blocks has, as :func:`find_reasons` does."""
    reason = _reason_in(_read_logs(client, run, []))
    if reason.error is None and client is not None and not run.block_runs:
        # Where it cannot make the block runs, Mage fails the run first and then writes why (observed).
        client.clock.sleep(WRITTEN_WITHIN)
        reason = _reason_in(_read_logs(client, run, []))
    return reason


def _read_logs(client: MageClient | None, run: PipelineRun, block_run_ids: list[int]) -> list[LogRecord]:
    # An orphan does not say of which pipeline it is, and Mage shows no log of it.
    if client is None or not run.pipeline_uuid:
        return []
    try:
        files = client.list_log_files(run.pipeline_uuid, run.id, block_run_ids)
    except MageError as error:
        log.warning("Cannot read why run %s has failed in Mage's log. %s", run.id, error)
        return []
    return [record for file in files for record in file.read()[0]]


def _reason_in(records: Sequence[LogRecord]) -> Reason:
    """Find the newest exception in a log."""
    # What is above is of earlier attempts.
    starts = [number for number, record in enumerate(records) if record.message.startswith(STARTED)]
    own = records[starts[-1] :] if starts else records
    errors = [record for record in own if record.error]
    # A callback that has failed comes behind, and does not change what becomes of the block.
    found = next((record for record in reversed(errors) if record.message.startswith(FAILED)), None)
    found = found or (errors[-1] if errors else None)
    reason = Reason(records=tuple(own))
    if found is None:
        return reason
    reason = replace(reason, error=found.error, code_line=found.code_line)
    return _of_test(reason) if _TESTS_FAILED in str(found.error)[:100] else reason


def _of_test(reason: Reason) -> Reason:
    """Of a `@test` that has failed, Mage prints the traceback into the log, line by line (observed)."""
    printed = "\n".join(record.message for record in reason.records[-_PRINTS_LOOKED_AT:] if not record.error)
    error = find_printed_error(printed)
    return replace(
        reason,
        error=f"{reason.error} ({error})" if error else reason.error,
        code_line=find_code_line(printed) or reason.code_line,
    )


def _with_code(client: MageClient | None, run: PipelineRun, block: BlockRun, reason: Reason) -> Reason:
    """Add the text of the line, which Python does not know of a block's own code, as it is in Mage now."""
    line = reason.code_line
    if client is None or line is None or line.text or not line.is_of_block:
        return reason
    try:
        # Children of a dynamic block are named behind its own name.
        code = client.get_block(run.pipeline_uuid, block.block_uuid.partition(":")[0]).get("content")
    except MageError as error:
        log.debug("Cannot read the code of block %s. %s", block.block_uuid, error)
        return reason
    lines = code.split("\n") if isinstance(code, str) else []
    text = excerpt(lines[line.number - 1]) if 0 < line.number <= len(lines) else ""
    return replace(reason, code_line=replace(line, text=text))
