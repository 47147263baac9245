"""
The logs of a run's blocks in the log of its task, while they run.

Mage sends a whole file each time, and answers nobody else meanwhile. So a block is asked for when it has
ended, or every half a minute while it runs, many blocks in one request, and a run six times a minute at most.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.log_lines import lines_of, tell
from airflow_provider_mage.api.errors import MageAnswerError, MageError
from airflow_provider_mage.api.logs import MOST_FILES, Mark
from airflow_provider_mage.api.models import BlockRunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.logs import LogFile, LogRecord
    from airflow_provider_mage.api.models import BlockRun, PipelineRun

log = logging.getLogger(__name__)

# Seconds between two requests while the run goes on. It leaves some for its end.
BEAT = 15.0
# Seconds between two readings of the log of a block that runs.
RUNNING_BEAT = 30.0
WINDOW, MOST_REQUESTS = 60.0, 6
# A callback may still be writing when its block has ended.
SETTLED_AFTER = 2.0
# Records that are told before it is stored that they were.
PORTION = 200
SMALLER_BATCH = 4
# Files whose marks are kept. More than that have the children of a dynamic block alone.
MOST_MARKS = 200

_OVER = (BlockRunStatus.COMPLETED, BlockRunStatus.FAILED, BlockRunStatus.CANCELLED)


@dataclass(frozen=True)
class ReadLogs:
    """
    To do: read the logs of some blocks, and tell what is new in them.

    :param run: Their run.
    :param stream: What was told already.
    :param block_run_ids: The blocks.
    :param ended: Those of them that will write no more.
    """

    run: PipelineRun
    stream: LogStream
    block_run_ids: tuple[int, ...]
    ended: frozenset[int]


class LogStream:
    """
    What of a run's logs is to be read when, and what of them was told already.

    Where that was stored last it goes on after a triggerer has died: no record is left out, and those of the
    last :data:`PORTION` may be told twice.

    :param most_lines: The most lines to tell.
    :param cursor: What an earlier one has stored.
    :param save: Stores how far it has come, as plain JSON.
    """

    def __init__(
        self,
        most_lines: int,
        cursor: Mapping[str, Any] | None = None,
        save: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        cursor = cursor or {}
        self._save = save
        self._left = most_lines - cursor.get("told", 0)
        self._most_lines = most_lines
        self._left_out: int = cursor.get("left_out", 0)
        self._marks = {name: Mark(*mark) for name, mark in cursor.get("marks", {}).items()}
        self._done: set[int] = set(cursor.get("done", ()))
        self._asked_at: list[float] = list(cursor.get("asked_at", ()))
        self._read_at: dict[int, float] = {}
        self._ended_at: dict[int, float] = {}
        self._run: PipelineRun | None = None
        self._batch = MOST_FILES
        self._has_warned = False

    def see(self, run: PipelineRun, now: float) -> None:
        """Take note of the run, in full detail; an orphan does not say of which pipeline it is."""
        if not run.pipeline_uuid:
            return
        self._run = run
        for block in run.block_runs:
            if _may_have_a_log(block) and block.status in _OVER:
                self._ended_at.setdefault(block.id, now)
            else:
                # Of a run that was repaired, a block may begin again.
                self._ended_at.pop(block.id, None)
                self._done.discard(block.id)

    def next_step(self, now: float) -> ReadLogs | None:
        """Return what is to be done now, if there is anything."""
        if self._run is None or now < self.may_ask_at(now):
            return None
        due = [block for block in self._run.block_runs if self._is_due(block, now)]
        if not due:
            return None
        # What has ended comes first. Of an end that was just seen, SQLite knows the second only (observed).
        due.sort(key=lambda block: (self._ended_at.get(block.id, now), _start(block), block.id))
        ids = tuple(block.id for block in due[: self._batch])
        self._asked_at = [*self._asked_at[1 - MOST_REQUESTS :], now]
        self._read_at.update(dict.fromkeys(ids, now))
        ended = {
            block_id for block_id in ids if block_id in self._ended_at and self._is_settled(block_id, now)
        }
        return ReadLogs(self._run, self, ids, frozenset(ended))

    def may_ask_at(self, now: float) -> float:
        """Return the time from which on Mage may be asked again."""
        recent = [moment for moment in self._asked_at if moment > now - WINDOW]
        moments = [recent[0] + WINDOW] if len(recent) >= MOST_REQUESTS else []
        if recent and self._run is not None and not self._run.status.is_terminal:
            moments.append(recent[-1] + BEAT)
        return max(moments, default=now)

    @property
    def is_behind(self) -> bool:
        """Whether a block has ended whose log was not read since."""
        return any(block_id not in self._done for block_id in self._ended_at)

    def read(self, client: MageClient, step: ReadLogs) -> None:
        """Do a step. Whatever is wrong with the logs, it is told once, and changes nothing else."""
        try:
            files = client.list_log_files(step.run.pipeline_uuid, step.run.id, step.block_run_ids)
        except MageError as error:
            self._miss(step, error)
            return
        known = {block.id for block in step.run.block_runs}
        order = {block_id: number for number, block_id in enumerate(step.block_run_ids)}
        # Mage sends the block that began last first.
        for file in sorted(files, key=lambda file: order.get(_first_block(file), len(order))):
            self._tell_file(file, known)
        self._done |= step.ended
        self._save(self._cursor())

    def _miss(self, step: ReadLogs, error: MageError) -> None:
        if isinstance(error, MageAnswerError) and error.is_too_large and self._batch > 1:
            self._batch = max(1, self._batch // SMALLER_BATCH)
            return
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "Cannot read the log of run %s in Mage; the task goes on without. %s", step.run.id, error
            )
        # While the run goes on, the next look may be luckier; its end is not held up.
        if step.run.status.is_terminal or not error.may_pass:
            self._done |= step.ended

    def close(self, url: str) -> None:
        """Say, at the end, what was left out, and where that is."""
        if self._left_out:
            log.info(
                "%s more lines were written than the %s that `max_log_lines` allows: %s",
                self._left_out,
                self._most_lines,
                url,
            )
            self._left_out = 0

    def _is_due(self, block: BlockRun, now: float) -> bool:
        if block.id in self._done or not _may_have_a_log(block):
            return False
        if block.id in self._ended_at:
            return True
        return now - self._read_at.get(block.id, now - RUNNING_BEAT) >= RUNNING_BEAT

    def _is_settled(self, block_id: int, now: float) -> bool:
        is_over = self._run is not None and self._run.status.is_terminal
        return is_over or now - self._ended_at[block_id] >= SETTLED_AFTER

    def _tell_file(self, file: LogFile, known: set[int]) -> None:
        while True:
            records, mark = file.read(self._marks.get(file.name), most=PORTION)
            if not records:
                return
            # Two runs of one execution date share their files (observed).
            own = [
                record for record in records if record.block_run_id in known or record.block_run_id is None
            ]
            self._tell(own, file.name)
            # The order of a dictionary is that of the last change.
            self._marks.pop(file.name, None)
            self._marks[file.name] = mark
            self._save(self._cursor())

    def _tell(self, records: list[LogRecord], name: str) -> None:
        # Blocks whose names differ in signs alone share a file, too (observed).
        by_block: dict[str, list[tuple[int, str]]] = {}
        for record in records:
            by_block.setdefault(record.block_uuid or name.removesuffix(".log"), []).extend(lines_of(record))
        for block_uuid, lines in by_block.items():
            told = lines[: max(0, self._left)]
            if told:
                tell(block_uuid, told)
            self._left -= len(told)
            self._left_out += len(lines) - len(told)

    def _cursor(self) -> dict[str, Any]:
        while len(self._marks) > MOST_MARKS:
            self._marks.pop(next(iter(self._marks)))
        return {
            "told": self._most_lines - self._left,
            "left_out": self._left_out,
            "marks": {name: [mark.lines, mark.sign] for name, mark in self._marks.items()},
            "done": sorted(self._done),
            "asked_at": self._asked_at,
        }


def _start(block: BlockRun) -> float:
    return block.started_at.timestamp() if block.started_at else 0.0


def _first_block(file: LogFile) -> int:
    records, _ = file.read(most=1)
    return (records[0].block_run_id or 0) if records else 0


def _may_have_a_log(block: BlockRun) -> bool:
    return block.status is BlockRunStatus.RUNNING or (block.status in _OVER and block.started_at is not None)
