"""
The logs of a run's blocks in the log of its task, while they run.

Mage sends a whole file each time, and answers nobody else meanwhile. So a block is asked for when it has
ended, or every half a minute while it runs, many blocks in one request, and a run six times a minute at most.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.log_lines import lines_of, tell
from airflow_provider_mage.api.errors import MageAnswerError, MageError
from airflow_provider_mage.api.logs import MOST_FILES, Mark
from airflow_provider_mage.api.models import BlockRunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_mage._runs.log_lines import Line
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.logs import LogFile
    from airflow_provider_mage.api.models import BlockRun, PipelineRun

log = logging.getLogger(__name__)

# Seconds between two requests while the run goes on. It leaves some for its end.
BEAT = 15.0
# Seconds between two readings of the log of a block that runs.
RUNNING_BEAT = 30.0
WINDOW, MOST_REQUESTS = 60.0, 6
# A callback may still be writing when its block has ended.
SETTLED_AFTER = 2.0
SMALLER_BATCH = 4
# Files whose marks are kept. More than that have the children of a dynamic block alone.
MOST_MARKS = 200

# Where it matters which lines were told, they are told in portions, of so many records and so many seconds
# apart, and a portion counts as told only a moment later. What a triggerer logs goes through buffers of its
# own, and is lost with them if it is killed (observed on 3.3.2, where XComs overtake it).
PORTION = 500
PACE = 2.0
IN_BUFFERS = 0.5

# Under which name a task keeps, in Airflow, how far it has come.
LOG_CURSOR = "mage_log_cursor"

_OVER = (BlockRunStatus.COMPLETED, BlockRunStatus.FAILED, BlockRunStatus.CANCELLED)


@dataclass(frozen=True)
class LogStep:
    """
    To do: read logs, tell what was read, or store what was told.

    :param stream: Whose step it is.
    :param what: ``read``, ``tell`` or ``save``.
    :param run: The run whose logs are to be read.
    :param block_run_ids: The blocks.
    :param ended: Those of them that will write no more.
    """

    stream: LogStream
    what: str
    run: PipelineRun
    block_run_ids: tuple[int, ...] = ()
    ended: frozenset[int] = frozenset()

    def do(self, client: MageClient) -> None:
        """Do it; raises no MageError."""
        self.stream.do(client, self)


@dataclass(frozen=True)
class _Portion:
    """Lines of a block that wait to be told or counted, and how far the file was read that has them."""

    block_uuid: str
    lines: list[Line]
    left_out: int
    file_name: str
    mark: Mark


class LogStream:
    """
    What of a run's logs is to be read when, and what of them was told already.

    After a triggerer has died, another one goes on where that was stored last: no record is left out, and
    those of one portion may be told twice, if it died in the half second between telling and storing.

    :param most_lines: The most lines to tell.
    :param cursor: What an earlier one has stored.
    :param save: Stores how far it has come, as plain JSON; None where nobody will go on, and each line is
        told at once.
    """

    def __init__(
        self,
        most_lines: int,
        cursor: Mapping[str, Any] | None = None,
        save: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        cursor = cursor or {}
        self._save = save
        self._most_lines = most_lines
        self._told: int = cursor.get("told", 0)
        self._left_out: int = cursor.get("left_out", 0)
        self._marks = {name: Mark(*mark) for name, mark in cursor.get("marks", {}).items()}
        self._done: set[int] = set(cursor.get("done", ()))
        self._asked_at: list[float] = list(cursor.get("asked_at", ()))
        self._pending: deque[_Portion] = deque()
        self._read_marks = dict(self._marks)
        self._read_at: dict[int, float] = {}
        self._ended_at: dict[int, float] = {}
        self._tell_at = self._save_at = 0.0
        self._is_unsaved = False
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

    def next_step(self, now: float) -> LogStep | None:
        """Return what is to be done now, if there is anything."""
        if self._run is None:
            return None
        if self._is_unsaved and now >= self._save_at:
            return LogStep(self, "save", self._run)
        if self._pending:
            if now < self._tell_at:
                return None
            self._tell_at, self._save_at = now + PACE, now + IN_BUFFERS
            return LogStep(self, "tell", self._run)
        return self._next_reading(self._run, now)

    def _next_reading(self, run: PipelineRun, now: float) -> LogStep | None:
        due = [block for block in run.block_runs if self._is_due(block, now)]
        if not due or now < self._may_ask_at(now):
            return None
        # What has ended comes first. Of an end that was just seen, SQLite knows the second only (observed).
        due.sort(key=lambda block: (self._ended_at.get(block.id, now), _start(block), block.id))
        ids = tuple(block.id for block in due[: self._batch])
        self._asked_at = [*self._asked_at[1 - MOST_REQUESTS :], now]
        self._read_at.update(dict.fromkeys(ids, now))
        ended = {one for one in ids if one in self._ended_at and self._is_settled(one, now)}
        return LogStep(self, "read", run, ids, frozenset(ended))

    def wake_at(self, now: float) -> float:
        """Return the time of the next step, as far as that is known."""
        moments = [self._save_at] if self._is_unsaved else []
        if self._pending:
            moments.append(self._tell_at)
        return max(now, min(moments)) if moments else self._may_ask_at(now)

    def _may_ask_at(self, now: float) -> float:
        recent = [moment for moment in self._asked_at if moment > now - WINDOW]
        moments = [recent[0] + WINDOW] if len(recent) >= MOST_REQUESTS else []
        if recent and self._run is not None and not self._run.status.is_terminal:
            moments.append(recent[-1] + BEAT)
        return max(moments, default=now)

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be read, told or stored of blocks that have ended."""
        is_read = all(block_id in self._done for block_id in self._ended_at)
        return not is_read or bool(self._pending) or self._is_unsaved

    def do(self, client: MageClient, step: LogStep) -> None:
        """Do a step. Whatever is wrong with the logs, it is told once, and changes nothing else."""
        if step.what == "read":
            self._read(client, step)
        elif step.what == "tell":
            self._tell(PORTION)
        else:
            self._store()

    def close(self, url: str) -> None:
        """Tell at once what still waits, and say what was left out, and where that is."""
        self._tell(None)
        self._store()
        if self._left_out:
            log.info(
                "%s more lines were written than the %s that `max_log_lines` allows: %s",
                self._left_out,
                self._most_lines,
                url,
            )

    def _read(self, client: MageClient, step: LogStep) -> None:
        try:
            files = client.list_log_files(step.run.pipeline_uuid, step.run.id, step.block_run_ids)
        except MageError as error:
            self._miss(step, error)
            return
        known = {block.id for block in step.run.block_runs}
        order = {block_id: number for number, block_id in enumerate(step.block_run_ids)}
        # Mage sends the block that began last first.
        for file in sorted(files, key=lambda file: order.get(_first_block(file), len(order))):
            self._take(file, known)
        self._done |= step.ended
        if self._save is None:
            self._tell(None)
        self._is_unsaved = not self._pending and self._save is not None

    def _miss(self, step: LogStep, error: MageError) -> None:
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

    def _is_due(self, block: BlockRun, now: float) -> bool:
        if block.id in self._done or not _may_have_a_log(block):
            return False
        if block.id in self._ended_at:
            return True
        return now - self._read_at.get(block.id, now - RUNNING_BEAT) >= RUNNING_BEAT

    def _is_settled(self, block_id: int, now: float) -> bool:
        is_over = self._run is not None and self._run.status.is_terminal
        return is_over or now - self._ended_at[block_id] >= SETTLED_AFTER

    def _take(self, file: LogFile, known: set[int]) -> None:
        """Put what is new in a file to what is to be told, within the limit."""
        while True:
            records, mark = file.read(self._read_marks.get(file.name), most=PORTION)
            if not records:
                return
            self._read_marks[file.name] = mark
            # Two runs of one execution date share their files, and so do blocks whose names differ in signs
            # alone (observed).
            by_block: dict[str, list[Line]] = {}
            for record in records:
                if record.block_run_id is None or record.block_run_id in known:
                    name = record.block_uuid or file.name.removesuffix(".log")
                    by_block.setdefault(name, []).extend(lines_of(record))
            for name, lines in by_block.items():
                waiting = sum(len(portion.lines) for portion in self._pending)
                room = max(0, self._most_lines - self._told - waiting)
                left_out = len(lines[room:])
                self._pending.append(_Portion(name, lines[:room], left_out, file.name, mark))

    def _tell(self, most: int | None) -> None:
        """Tell what waits to be told, so many lines of it at most; None for all."""
        count = 0
        while self._pending and (most is None or count == 0 or count + len(self._pending[0].lines) <= most):
            portion = self._pending.popleft()
            if portion.lines:
                tell(portion.block_uuid, portion.lines)
            count += len(portion.lines)
            self._told += len(portion.lines)
            self._left_out += portion.left_out
            # The order of a dictionary is that of the last change.
            self._marks.pop(portion.file_name, None)
            self._marks[portion.file_name] = portion.mark
        self._is_unsaved = self._save is not None

    def _store(self) -> None:
        self._is_unsaved = False
        if self._save is None:
            return
        while len(self._marks) > MOST_MARKS:
            self._marks.pop(next(iter(self._marks)))
        self._save(
            {
                "told": self._told,
                "left_out": self._left_out,
                "marks": {name: [mark.lines, mark.sign] for name, mark in self._marks.items()},
                # What waits to be told is to be read again by whoever goes on.
                "done": [] if self._pending else sorted(self._done),
                "asked_at": self._asked_at,
            }
        )


def _start(block: BlockRun) -> float:
    return block.started_at.timestamp() if block.started_at else 0.0


def _first_block(file: LogFile) -> int:
    records, _ = file.read(most=1)
    return (records[0].block_run_id or 0) if records else 0


def _may_have_a_log(block: BlockRun) -> bool:
    return block.status is BlockRunStatus.RUNNING or (block.status in _OVER and block.started_at is not None)
