"""
How an object of an answer is read: each field is checked against its type.

That is pydantic's work, which Airflow has loaded before any task begins. What an answer may hold is known for
sure of nothing: not of an id, and not of a date.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from airflow_provider_mage.api.foreign_text import without_controls

if TYPE_CHECKING:
    from typing_extensions import Self

# Digits of a setting that is a number. Longer ones cannot be meant, and Python reads no more than 4300.
LONGEST_NUMBER = 9


def parse_datetime(text: str | datetime | None) -> datetime | None:
    """
    Read a date of the API as an aware UTC datetime.

    SQLite-backed servers send UTC without a zone, PostgreSQL-backed ones ``+00:00`` (observed).
    """
    if text is None or text == "":
        return None
    if not isinstance(text, datetime):
        text = datetime.fromisoformat(_require_str(text)[:40].replace("Z", "+00:00"))
    try:
        return text.astimezone(timezone.utc) if text.tzinfo else text.replace(tzinfo=timezone.utc)
    except OverflowError as error:  # in the years 1 and 9999
        raise ValueError("the date is too far away") from error


def _require_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, not {type(value).__name__}")
    return value


def _require_word(value: str) -> str:
    if not value or not is_word(value):
        raise ValueError("it is no single word, and cannot be sent in a header")
    return value


def is_word(text: str) -> bool:
    """Tell whether a key or a token can be sent in a header: ``requests`` quotes in its error what cannot."""
    return text.isascii() and text.isprintable() and " " not in text


def or_else(instead: Any) -> BeforeValidator:
    """Take a null for a value that is not there."""
    return BeforeValidator(lambda value: instead if value is None else value)


Id = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Name = Annotated[str, Field(max_length=1000), AfterValidator(without_controls)]
OptionalName = Annotated[Name, or_else("")]
# What goes into a header.
Word = Annotated[str, Field(max_length=16_384), AfterValidator(_require_word)]
Moment = Annotated[datetime | None, BeforeValidator(parse_datetime)]


class Record:
    """One object of an answer."""

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> Self:
        """Read it, in any of Mage's formats; raises pydantic's ValidationError, which is a ValueError."""
        reader: TypeAdapter[Self] = _reader(cls)  # type: ignore[arg-type]  # a class is hashable
        return reader.validate_python(cls._fields(data))

    @classmethod
    def _fields(cls, data: Any) -> Any:
        """Name the fields as they are named here; what is no object is left to pydantic."""
        return data


@cache
def _reader(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def inside(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object in an object, of which nothing else depends; an empty one if it is none."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def whole_number(value: Any) -> int | None:
    """Read a setting that is a number, which Mage's own page stores as text if it was typed."""
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    return int(text) or None if is_number else None
