"""Templated arguments arrive as text: read them, or say what is wrong before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any


class HiddenValues(Mapping[str, Any]):
    """
    Values by name, of which nobody who stores or prints them sees more than the names.

    Airflow keeps and shows the rendered template fields of every task. Of what is no JSON it takes the
    ``str``, which is why this is no ``dict``.

    :param values: The values.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self._values, "***"))


def read_id(value: Any, name: str) -> int | None:
    """
    Read an id.

    :param value: An integer, its text, or None.
    :param name: The argument, for the error.
    :return: The id, or None.
    :raises ValueError: If it is none of these, as a template that found no XCom is.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    text = str(value).strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError(
            f"`{name}` must be a number, not {value!r}: check the template or the task it comes from."
        )
    return int(text)


def require_id(value: Any, name: str) -> int:
    """Read an id that must be there: an integer or its text, else a ValueError that names the argument."""
    number = read_id(value, name)
    if number is None:
        raise ValueError(f"`{name}` is None: check the template or the task it comes from.")
    return number


def read_name(value: Any, name: str, *, instead: Any = None) -> str:
    """
    Read a name or an id that may be text.

    :param value: A text or a number, perhaps out of a template.
    :param name: The argument, for the error.
    :param instead: What holds if there is none.
    :return: The text, without space around it.
    :raises ValueError: If there is none at all; ``None`` is what a template makes of a missing value.
    """
    for candidate in (value, instead):
        text = "" if candidate is None else str(candidate).strip()
        if text and text != "None":
            return text
    raise ValueError(f"`{name}` is missing: give it to the task, or check the template it comes from.")


def read_count(value: Any, name: str) -> int | None:
    """Read an integer above 0, its text, or None; anything else is a ValueError that names the argument."""
    count = read_id(value, name)
    if count == 0:
        raise ValueError(f"`{name}` must be at least 1.")
    return count


def read_seconds(value: Any, name: str, *, least: float = 0.001) -> float:
    """
    Read how long something is to take.

    :param value: A number of seconds, or a timedelta.
    :param name: The argument, for the error.
    :param least: The fewest seconds there can be.
    :return: Seconds.
    :raises ValueError: If it is neither, or less than that.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not least <= seconds < math.inf:
        raise ValueError(f"`{name}` must be a positive number of seconds or a timedelta, not {value!r}.")
    return float(seconds)


def read_datetime(value: Any, name: str) -> datetime | None:
    """Read a datetime, its ISO form, or None; anything else is a ValueError that names the argument."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a date in ISO form, such as 2026-01-31T06:00:00+00:00, not {value!r}."
        ) from error
