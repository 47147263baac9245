"""The table "what the documentation says, and what we have" names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
TABLE = TESTS.parent / "docs" / "seed-coverage.md"


def test_every_row_names_a_test_that_exists():
    last, rows = "", 0
    for line in TABLE.read_text().splitlines():
        if not line.startswith("| ") or set(line) <= set("|- "):
            continue
        named = re.findall(r"`(\S+?)::(test_\w+)`", line)
        if not named:
            assert line.startswith("| it "), f"no test in: {line}"  # a table's head
            continue
        rows += 1
        for file, name in named:
            last = last if file == "…" else file
            assert f"def {name}(" in (TESTS / last).read_text(), f"{last}::{name}"
    assert rows > 25
