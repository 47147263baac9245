"""What Mage has written into its logs about a run and its blocks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from airflow_provider_mage.api.answer import Answer
from airflow_provider_mage.api.authoring import MageAuthoring
from airflow_provider_mage.api.foreign_text import excerpt, shorten
from airflow_provider_mage.api.records import Name, OptionalName, Record
from airflow_provider_mage.api.tracebacks import CodeLine, find_code_line, find_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_FILES = 20
"""So many block runs' logs, and no more, are in one answer of Mage's (observed)."""

# The folder of what Mage has logged while somebody tried a block in its editor: it comes with every answer.
_EDITOR = "edit_pipeline"
_LEVELS = {
    "DEBUG": logging.DEBUG,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "EXCEPTION": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}
LONGEST_UUID = 64


@dataclass(frozen=True)
class LogRecord:
    """
    One record of a log of Mage's.

    It has no time: Mage writes two, in time zones that depend on the server's (observed).

    A block's ``print`` makes one for each text that it writes: of ``print("a", 1)``, two (observed).

    :param message: Its text, cut if it is long.
    :param level: As those of :mod:`logging`.
    :param uuid: What no other record has; empty for a line that is none of Mage's records.
    :param block_run_id: The block run that it is about; None if it is about none.
    :param block_uuid: That one's block.
    :param error: The exception that Mage has written with it, such as ``ValueError: no rows``.
    :param code_line: Where in its author's code that was raised.
    """

    message: str
    level: int = logging.INFO
    uuid: str = ""
    block_run_id: int | None = None
    block_uuid: str = ""
    error: str | None = None
    code_line: CodeLine | None = None


@dataclass(frozen=True)
class Mark:
    """
    How far a log file was read.

    :param lines: So many of its lines.
    :param sign: What is in the last of these, and in no other: the uuid of its record.
    """

    lines: int = 0
    sign: str = ""


@dataclass(frozen=True)
class LogFile(Record):
    """
    One file of a run's logs, as far as Mage has written it.

    :param name: Its name, which is the same for as long as the run goes on.
    :param path: Where it is on the server.
    :param content: All of it. Of a log of more than 20 MiB, Mage shows the newest piece only (observed).
    """

    name: Name
    path: OptionalName = ""
    content: str = field(default="", repr=False)

    @cached_property
    def _lines(self) -> list[str]:
        # What is behind the last line end is still being written.
        return self.content.split("\n")[:-1]

    def read(self, mark: Mark | None = None, most: int | None = None) -> tuple[list[LogRecord], Mark]:
        """
        Return the records after a mark, in their order, and the mark after them.

        :param mark: What an earlier reading has returned; None to read from the beginning.
        :param most: The most records to return; None for all.
        :return: Both. A line that is still being written is left for the next reading.
        """
        end = mark or Mark()
        first = _after(self._lines, end)
        records: list[LogRecord] = []
        is_told = first > 0 and _has_error(_read_line(self._lines[first - 1]))
        for number in range(first + 1, len(self._lines) + 1):
            if most is not None and len(records) >= most:
                break
            line = self._lines[number - 1]
            record = _read_line(line)
            if record is not None:
                records.append(record)
                is_told = _has_error(record)
                end = Mark(number, record.uuid or line[:LONGEST_UUID])
            elif not is_told and line.strip():
                # Behind a record with an exception come the lines of its traceback, which it holds as well.
                records.append(LogRecord(shorten(line)))
                end = Mark(number, line[:LONGEST_UUID])
        return records, end


class MageLogs(MageAuthoring):
    """
    Reads the logs of runs.

    Errors are those of :class:`~airflow_provider_mage.api.client.MageClient`, which is one of these.

    :param session: The authenticated conversation with the server.
    """

    def list_log_files(
        self, pipeline_uuid: str, pipeline_run_id: int, block_run_ids: Iterable[int] = ()
    ) -> list[LogFile]:
        """
        Read the logs of block runs, or of a run itself.

        Mage sends whole files each time: 1 to 33 KB for a block that prints little (observed).

        :param pipeline_uuid: The pipeline.
        :param pipeline_run_id: The run. Of an orphan, Mage shows no logs (observed).
        :param block_run_ids: The block runs, at most :data:`MOST_FILES`; none to read what Mage's scheduler
            has written about the run.
        :return: A file for each that Mage knows, in no order.
        """
        ids = ",".join(map(str, block_run_ids))
        # Without the brackets, Mage filters nothing (observed).
        params: dict[str, Any] = {"pipeline_run_id[]": pipeline_run_id}
        if ids:
            params["block_run_id[]"] = ids
        else:
            # Else the logs of all blocks come along.
            params["_limit"] = 1
        answer = self.session.get("pipelines", pipeline_uuid, "logs", **params)
        if not answer.members("logs"):
            return []
        logs = Answer({"logs": answer["logs"][0]}, answer.request).inside("logs")
        name = "block_run_logs" if ids else "pipeline_run_logs"
        return [
            file
            for file in self._rows(logs, name, LogFile.from_api)
            if _EDITOR not in file.path.replace("\\", "/").split("/")
        ]


def _after(lines: list[str], mark: Mark) -> int:
    """Return the number of lines that were read before."""
    if not mark.lines:
        return 0
    if mark.lines <= len(lines) and mark.sign in lines[mark.lines - 1]:
        return mark.lines
    # Mage has begun a new file: what was read before is in an old one, or further up in this.
    return next((number + 1 for number in reversed(range(len(lines))) if mark.sign in lines[number]), 0)


def _has_error(record: LogRecord | None) -> bool:
    return record is not None and record.error is not None


def _read_line(line: str) -> LogRecord | None:
    """Read a line of a log: the time, a blank, and an object. None if it is anything else."""
    text = line.partition(" ")[2]
    if not text.startswith("{"):
        return None
    try:
        row = from_json(text)
    except ValueError:
        return None
    message, level, uuid = row.get("message"), row.get("level"), row.get("uuid")
    block_run_id, block_uuid = row.get("block_run_id"), row.get("block_uuid")
    return LogRecord(
        shorten(message) if isinstance(message, str) else excerpt(message),
        level=_LEVELS.get(level, logging.INFO) if isinstance(level, str) else logging.INFO,
        uuid=uuid if isinstance(uuid, str) and len(uuid) <= LONGEST_UUID else "",
        block_run_id=block_run_id if type(block_run_id) is int else None,
        block_uuid=excerpt(block_uuid) if isinstance(block_uuid, str) else "",
        error=find_reason(row.get("error_stacktrace"), row.get("error")) if row.get("error") else None,
        code_line=find_code_line(row.get("error")),
    )
