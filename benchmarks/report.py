"""Where the benchmarks write what they have measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REPORT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def write_section(name: str, text: str) -> None:
    """
    Replace one generated part of ``docs/benchmarks.md``, which is marked by comments that name it.

    :param name: The part.
    :param text: Its new text, in Markdown.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    report = REPORT.read_text(encoding="utf-8")
    part = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not part.search(report):
        raise ValueError(f"{REPORT.name} has no place marked {begin!r}.")
    REPORT.write_text(part.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", report), encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    Write a Markdown table.

    :param head: The columns' names.
    :param rows: The cells of each row; those of numbers stand to the right.
    :return: The table.
    """
    cells = [list(row) for row in rows]
    lines = [list(head), [_alignment(column) for column in zip(*cells, strict=True)], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _alignment(cells: Sequence[str]) -> str:
    return "---:" if all(cell[:1].isdigit() or not cell for cell in cells) else "---"
