"""Text that others have written, made fit to be logged, stored and shown, however long it is."""

from __future__ import annotations

import re
import reprlib
from typing import Any

EXCERPT_LENGTH = 300

# Characters of a block's error that are kept. It ends up in logs and in Airflow's database.
LONGEST_ERROR = 4000

# Characters that are looked at at all: a text may be megabytes long, and patterns take their time.
_LOOKED_AT = 10_000

# What moves a terminal's cursor, or what PostgreSQL cannot store, and the line ends and tabs among it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def excerpt(text: Any) -> str:
    """Return the beginning of a text, on one line; of what is no text, the beginning of its ``repr``."""
    looked_at = (text if isinstance(text, str) else reprlib.repr(text))[:_LOOKED_AT]
    line = re.sub(r"\s+", " ", _CONTROL.sub(" ", looked_at)).strip()
    line = line.encode("utf-8", "replace").decode()
    return line if len(line) <= EXCERPT_LENGTH else line[: EXCERPT_LENGTH - 1] + "…"


def last_line(text: str) -> str:
    """Return the last line of a text, of which no more than its end is looked at."""
    return text[-_LOOKED_AT:].rstrip().rpartition("\n")[2]


def first_lines(text: str, most: int) -> str:
    """Return the first lines of a text, and say so if there are more."""
    lines = text.split("\n")
    return text if len(lines) <= most else "\n".join([*lines[:most], "… (and more lines)"])


def shorten(text: str) -> str:
    """Return a text of some lines, cut if it is too long to be logged and stored."""
    beginning = _CONTROL_IN_LINES.sub(" ", text[:LONGEST_ERROR])
    return beginning if len(text) <= LONGEST_ERROR else f"{beginning}… ({len(text)} characters)"


def without_controls(text: str) -> str:
    """Return a name as it can be shown."""
    return _CONTROL.sub(" ", text)
