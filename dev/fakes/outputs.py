"""How Mage shows what a block has returned: without types, as it shows it to people (observed on 0.9.80)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

MOST_ROWS = 1000
OBJECT = ["module", "name", "type", "uuid", "hash", "variable_type"]


@dataclass(frozen=True)
class Table:
    """A data frame."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = field(default=())


def shown(value: Any, *, knows_tables: bool) -> list[dict[str, Any]]:
    """
    Show the return value of a block.

    :param value: What it has returned.
    :param knows_tables: Whether a dictionary is shown as a table, and not as JSON, as on 0.9.70.
    """
    if value is None:
        return []
    values = value if isinstance(value, (list, tuple)) else [value]
    return [_output(one, number, knows_tables=knows_tables) for number, one in enumerate(values)]


def _output(value: Any, number: int, *, knows_tables: bool) -> dict[str, Any]:
    name = f"output_{number}"
    if isinstance(value, Table):
        rows = [list(row) for row in value.rows]
        return _table(name, list(value.columns), rows[:MOST_ROWS], [len(rows), len(value.columns)])
    if isinstance(value, dict) and knows_tables:
        return _table(name, list(value), [list(value.values())] if value else [], [1, len(value)])
    if isinstance(value, (list, tuple)) and knows_tables:
        return _table(name, [0], [[one] for one in value], [len(value), 0])
    if type(value) is object:
        row = ["builtins", "object", "instance", "builtins.object", "0x1", "custom_object"]
        return _table(name, OBJECT, [row], [1, len(OBJECT)])
    text = json.dumps(value) if isinstance(value, (dict, list, tuple)) else str(value)
    return _row(name, type="text", text_data=text)


def _table(name: str, columns: list[Any], rows: list[Any], shape: list[int]) -> dict[str, Any]:
    return _row(name, type="table", sample_data={"columns": columns, "rows": rows}, shape=shape)


def _row(name: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("outputs", "sample_data", "shape", "text_data", "type"))
    return {**empty, **more, "variable_uuid": name}
