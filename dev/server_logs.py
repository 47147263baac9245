"""What the servers of a test wrote while it ran, for the report of one that fails (tests/conftest.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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
    :param troubles: a list that the server's harness adds to, see `ask_patiently`
    :param read_from: where the present test began in the file
    """

    name: str
    path: Path
    troubles: list[str] = field(default_factory=list)
    read_from: int = 0


_watched: list[Watched] = []


def watch(name: str, path: Path, troubles: list[str] | None = None) -> None:
    """
    Show a log with failing tests, as long as its file is there.

    :param name: what its server is called
    :param path: the file
    :param troubles: what the server answered when it had to be asked again
    """
    if all(log.path != path for log in _watched):
        _watched.append(Watched(name, path, [] if troubles is None else troubles))


def mark() -> None:
    """From here on the logs are the present test's."""
    _watched[:] = [log for log in _watched if log.path.parent.exists()]
    for log in _watched:
        log.read_from = log.path.stat().st_size if log.path.exists() else 0


def written() -> Iterator[tuple[str, str]]:
    """
    What has been written since `mark`, and what was answered at any time, as much is begun before its test.

    :yield: a heading, and the last lines below it
    """
    seen: set[int] = set()
    for log in _watched:
        if log.path.exists() and (lines := last_lines(log.path, log.read_from)):
            yield f"{log.name} wrote ({log.path.name})", "\n".join(lines)
        # an Airflow's components share one list
        if id(log.troubles) not in seen and log.troubles:
            yield f"{log.name} had to be asked again", "\n".join(log.troubles[-LINES:])
        seen.add(id(log.troubles))


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
