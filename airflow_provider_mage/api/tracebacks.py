"""Tracebacks that Mage sends as text: the block's own exception, and the line of its author's code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider_mage.api.foreign_text import excerpt, shorten

# Mage executes a block's code as a string, so that Python knows no name and no text of it (observed).
OF_BLOCK = "<string>"

# Characters of a traceback in which frames are looked for: they come first, and a message may be megabytes.
_LOOKED_AT = 50_000
_HEADER = "Traceback (most recent call last):"
# Those of an exception group are framed with `|`.
_FRAME = re.compile(r'^[ |]*File "([^"\n]{1,500})", line (\d{1,9})(?:, in ([^\n]{1,200}))?$', re.MULTILINE)
# Mage's own code, what is installed, and Python.
_NOT_THE_AUTHORS = re.compile(
    r"[/\\](mage_ai|site-packages|dist-packages|lib[/\\]python3\.\d+)[/\\]|^<(?!string>)"
)


@dataclass(frozen=True)
class CodeLine:
    """
    Where in its author's code a block broke.

    :param file: Its path on the server; :data:`OF_BLOCK` is the block itself.
    :param number: The line's number, from 1.
    :param function: The function that it is in; empty if Python does not say.
    :param text: The line itself, if it is known.
    """

    file: str
    number: int
    function: str = ""
    text: str = ""

    @property
    def is_of_block(self) -> bool:
        """Whether it is in the block's own code, rather than in another file of the project."""
        return self.file == OF_BLOCK


def find_code_line(traceback: Any) -> CodeLine | None:
    """
    Return the innermost line of a traceback that is neither Mage's nor of what is installed.

    :param traceback: As Python formats it; the last one of a chain counts, if there is such a line in it.
    :return: The line; None if there is none, as of SQL.
    """
    traceback = _unwrap(traceback)
    if not isinstance(traceback, str):
        return None
    looked_at = traceback[:_LOOKED_AT]
    for part in (looked_at.rpartition(_HEADER)[2], looked_at):
        frames = [frame for frame in _FRAME.finditer(part) if not _NOT_THE_AUTHORS.search(frame[1])]
        if len(frames) > 1 and frames[-1][1] == OF_BLOCK and not frames[-1][3]:
            frames.pop()  # a syntax error in a text that the block's code has evaluated
        if frames:
            last = frames[-1]
            text = part[last.end() :].lstrip("\n").partition("\n")[0]
            # What follows without being indented is the exception.
            is_code = last[1] != OF_BLOCK and text.startswith("    ")
            return CodeLine(
                excerpt(last[1]), int(last[2]), excerpt(last[3] or ""), excerpt(text) if is_code else ""
            )
    return None


def find_reason(text: Any, traceback: Any) -> str | None:
    """
    Return a block's own exception with its type, such as ``ValueError: no rows``.

    :param text: ``str(exception)``, whole, but without its type.
    :param traceback: Its traceback, whose end repeats it with the type in front.
    :return: The exception, cut if it is long; None if neither says anything.
    """
    text, traceback = _as_text(text), _as_text(traceback)
    told = _exception_part(traceback)
    if not text:
        return shorten(told) or None
    # The last one: a note, or another exception's text, may come after or before. No pattern is tried on a
    # text that may be megabytes long, as that takes seconds.
    at = traceback.rfind(f": {text}")
    line = traceback[max(0, at - 200) : max(0, at)].rpartition("\n")[2] if at >= 0 else told[:200]
    # That of an exception group is framed.
    kind = re.match(r"[^\W\d][\w.<>]*(?=$|:)", line.lstrip(" |"))
    return (f"{kind[0]}: " if kind else "") + shorten(text)


def find_printed_error(text: str) -> str | None:
    """Return the exception of the last traceback in a text, such as ``AssertionError: output is not two``."""
    _, header, traceback = text.rpartition(_HEADER)
    return excerpt(_exception_part(traceback).partition("\n")[0]) or None if header else None


def _exception_part(traceback: str) -> str:
    """Return what a traceback says after its frames, or its last line if it has none."""
    looked_at = traceback[:_LOOKED_AT]
    frames = list(_FRAME.finditer(looked_at, max(0, looked_at.rfind(_HEADER))))
    # Behind a frame come its code and marks below that, further in than the exception.
    found = (
        re.compile(r"^(?:  \| )?(?=\S)", re.MULTILINE).search(traceback, frames[-1].end() + 1)
        if frames
        else None
    )
    return traceback[found.end() :] if found else traceback.rpartition("\n")[2]


def _unwrap(value: Any) -> Any:
    """Take a text out of the list in which 0.9.70 has it in its logs (observed)."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _as_text(value: Any) -> str:
    value = _unwrap(value)
    return value.strip() if isinstance(value, str) else "" if value is None else excerpt(value)
