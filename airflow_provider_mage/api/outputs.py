"""
What blocks have returned, as far as Mage tells.

Mage shows outputs as it shows them to people, and without their types: of a number it gives the text, of a
dictionary a table of one row, of a list each element as an output of its own (all observed). So what comes
back is what the answer most likely stands for:

- a table is a list of records, and one of a single row the record itself, as it is for a dictionary;
- a text that reads as a number, as True or False, or as JSON is that;
- several outputs are a list, and none at all is None: the block has returned None or an empty list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from airflow_provider_mage.api.answer import Answer
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.logs import MageLogs
from airflow_provider_mage.api.models import BlockRunStatus
from airflow_provider_mage.api.records import Record, inside, or_else

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import BlockRun

# What Mage shows of an object that it could not write down as anything else (observed).
_OBJECT = ["module", "name", "type", "uuid", "hash", "variable_type"]
# The one column of what a child of a dynamic block has returned, and of a list in a list (observed).
_OF_CHILD, _OF_LIST = ["output"], [0]


@dataclass(frozen=True)
class Output(Record):
    """One output of a block run, as Mage sends it: a text, or the first 1,000 rows of a table."""

    text_data: Any = None
    columns: Annotated[list[Any], or_else([])] = ()  # type: ignore[assignment]
    rows: Annotated[list[list[Any]], or_else([])] = ()  # type: ignore[assignment]
    # Of what is no table, these two are anything at all on 0.9.70 (observed).
    shape: Any = None
    type: Any = None

    @classmethod
    def _fields(cls, data: Any) -> Any:
        table = inside(data, "sample_data") if isinstance(data, dict) else {}
        return {**data, "columns": table.get("columns"), "rows": table.get("rows")} if table else data

    @property
    def is_table(self) -> bool:
        """Whether it is one, be it empty."""
        return self.type == "table" or bool(self.columns)

    def value(self, name: str) -> Any:
        """
        Return what it stands for.

        :param name: Whose output it is, as the beginning of a sentence.
        :return: A dictionary, a list, a number, a text, True or False.
        :raises MageError: If it is a table of which Mage does not send all, or an object that is no data.
        """
        if not self.is_table:
            return _read_text(self.text_data)
        if self.columns == _OBJECT:
            raise MageError(
                f"{name} has returned an object of a kind that Mage does not show: let it return numbers, "
                "texts, lists, dictionaries or a table."
            )
        shape = self.shape if isinstance(self.shape, list) else []
        count = shape[0] if shape and isinstance(shape[0], int) else len(self.rows)
        if count > len(self.rows) and self.columns:
            raise MageError(
                f"{name} has returned a table of {count} rows, of which Mage sends {len(self.rows)}: let it "
                "store the table, and return where that is."
            )
        if self.columns == _OF_LIST and shape[1:] == [0]:
            return [row[0] if row else None for row in self.rows]
        records = [dict(zip(map(str, self.columns), row, strict=False)) for row in self.rows]
        if not self.columns:
            return {} if count == 1 else []
        return records[0] if count == 1 and records else records


class MageOutputs(MageLogs):
    """
    Reads what blocks have returned.

    Errors are those of :class:`~airflow_provider_mage.api.client.MageClient`, which is one of these.

    :param session: The authenticated conversation with the server.
    """

    def read_output(self, block_run: BlockRun) -> Any:
        """
        Read what a block run has returned (:mod:`airflow_provider_mage.api.outputs` has the rules).

        :param block_run: The block run.
        :return: Plain JSON; None of a block that has not completed, of which Mage may show anything.
        :raises MageError: If Mage does not send all of it, or nothing of which it is a value.
        """
        if block_run.status is not BlockRunStatus.COMPLETED:
            return None
        name = f"Block {block_run.block_uuid}"
        # Not with `sample_count`, at which 0.9.80 breaks for each table (observed).
        answer = self.session.get("block_runs", block_run.id, "outputs")
        # One that made no sense would be missed: none is left out.
        outputs = [
            Answer({"output": row}, answer.request).one("output", Output) for row in answer.members("outputs")
        ]
        if ":" in block_run.block_uuid and outputs and outputs[0].columns == _OF_CHILD:
            # Behind it come empty ones, as many as the dynamic block has outputs (observed).
            return next((row[0] for row in outputs[0].rows if row), None)
        values = [output.value(name) for output in outputs]
        return values[0] if len(values) == 1 else values or None


def _read_text(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if text in ("True", "False"):
        return text == "True"
    if not text[:1].isdigit() and text[:1] not in ("-", "{", "["):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # Not what would be written in another way, such as 007 or 1e5.
    return value if isinstance(value, (dict, list)) or str(value) == text else text
