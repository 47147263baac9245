"""What the servers of a test wrote while it ran, for the report of one that fails (tests/conftest.py)."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LINES = 30
READ_BYTES = 4_000_000
"""A longer part of a log is read from its end: at DEBUG, Airflow writes a lot."""

COLOUR = re.compile(r"\x1b\[[\d;]*m")
BEGINS = re.compile(r"\[?\d{4}-\d\d-\d\d[ T]")
IS_DEBUG = re.compile(r"\[debug +\]|\bDEBUG\b")


@dataclass
class Watched:
    """
    One log file, and where the present test began in it.

    :param name: what its server is called
    :param path: the file
    :param read_from: where the present test began in the file
    """

    name: str
    path: Path
    read_from: int = 0


_watched: list[Watched] = []
_notes: defaultdict[str, list[str]] = defaultdict(list)


def watch(name: str, path: Path) -> None:
    """
    Show a log with failing tests, as long as its file is there.

    :param name: what its server is called
    :param path: the file
    """
    if all(log.path != path for log in _watched):
        _watched.append(Watched(name, path))


def note(name: str, what_was_said: str) -> None:
    """
    Show with failing tests what a server answered when it had to be asked again.

    :param name: what the server is called
    :param what_was_said: see `ask_patiently`
    """
    _notes[name].append(what_was_said)


def mark() -> None:
    """From here on the logs are the present test's."""
    _watched[:] = [log for log in _watched if log.path.parent.exists()]
    for log in _watched:
        log.read_from = log.path.stat().st_size if log.path.exists() else 0


def written() -> Iterator[tuple[str, str]]:
    """
    What has been written since `mark`, and all notes, as much is begun before its test.

    :yield: a heading, and the last lines below it
    """
    for log in _watched:
        if log.path.exists() and (lines := last_lines(log.path, log.read_from)):
            yield f"{log.name} wrote ({log.path.name})", "\n".join(lines)
    for name, notes in _notes.items():
        yield f"{name} had to be asked again", "\n".join(notes[-LINES:])


def last_lines(path: Path, read_from: int, count: int = LINES) -> list[str]:
    """
    The last lines of a log, without the records of level DEBUG.

    :param path: the file
    :param read_from: where to begin
    :param count: how many lines at most
    :return: the lines
    """
    with path.open("rb") as file:
        file.seek(max(read_from, path.stat().st_size - READ_BYTES))
        text = file.read().decode(errors="replace")
    return list(_without_debug(COLOUR.sub("", text).splitlines()))[-count:]


def _without_debug(lines: Iterable[str]) -> Iterator[str]:
    """
    Leave out records of level DEBUG, and the lines that continue them.

    :param lines: of a log
    :yield: the other lines
    """
    is_debug = False
    for line in lines:
        if BEGINS.match(line):
            is_debug = bool(IS_DEBUG.search(line[:200]))
        if not is_debug and line.strip():
            yield line
