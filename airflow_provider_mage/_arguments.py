"""Arguments as Airflow hands them over: read them, or say what is wrong before anything is sent."""

from __future__ import annotations

import math
import operator
import re
import reprlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

NATIVE = "a template gives text unless the DAG has `render_template_as_native_obj=True`"
CHECK = "check the template or the task it comes from"

# What Mage's database and its files' names can hold.
LONGEST_NAME = 255
LARGEST_ID = 2**63 - 1
# About thirty years: more than any wait, and less than what `time.sleep` cannot take.
LONGEST_TIME = 1e9

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 80


class HiddenValues:
    """
    What was rendered, of which nobody who stores or prints it sees more than the names of a mapping.

    Airflow keeps and shows the rendered template fields of every task. Of what is no JSON it takes the
    ``str``, which is why this is neither a ``dict`` nor a text.

    :param value: What was rendered.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self.value, "***")) if isinstance(self.value, Mapping) else "***"


def shown(value: Any) -> str:
    """Write a value for an error: its repr, cut if it is long."""
    try:
        return _repr.repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        return f"a very large {type(value).__name__}"


def is_undefined(value: Any) -> bool:
    """
    Whether a value is what Jinja makes, natively, of a name that there is not.

    With Airflow's ``StrictUndefined`` it raises errors of its own wherever it is looked at.
    """
    return any(
        one.__name__ == "Undefined" and one.__module__.startswith("jinja2") for one in type(value).__mro__
    )


def check_defined(value: Any, name: str) -> None:
    """Raise a ValueError if a template has come to nothing in this DAG run."""
    if is_undefined(value):
        missing = value._undefined_name  # noqa: SLF001  Jinja has no other way to tell
        what = f", as there is no {missing!r}" if isinstance(missing, str) else ""
        raise ValueError(
            f"{name} is a template that is undefined in this run{what}: check it, or write a default."
        )


def read_id(value: Any, name: str) -> int | None:
    """
    Read an id.

    :param value: An integer, its text, or None.
    :param name: The argument, for the error.
    :return: The id, or None.
    :raises ValueError: If it is none of these, as a template that found no XCom is.
    """
    check_defined(value, f"`{name}`")
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else _integer_text(value) or ""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"`{name}` must be a number, not {shown(value)}: {CHECK}.")
    # Text of thousands of digits is no integer to Python.
    if len(text.lstrip("0")) > len(str(LARGEST_ID)) or int(text) > LARGEST_ID:
        raise ValueError(f"`{name}` must be a number below 2**63, not {shown(value)}: {CHECK}.")
    return int(text)


def require_id(value: Any, name: str) -> int:
    """Read an id that must be there: an integer or its text, else a ValueError that names the argument."""
    number = read_id(value, name)
    if number is None:
        raise ValueError(f"`{name}` is None: {CHECK}.")
    return number


def read_name(value: Any, name: str, *, instead: Any = None, longest: int = LONGEST_NAME) -> str:
    """
    Read a name, or an id that may be text.

    A template that is rendered natively makes a number of a name such as ``2024``, which is as good. What
    would not come back as the same text is refused: of ``2024.10`` it has made ``2024.1``.

    :param value: A text or an integer, perhaps out of a template.
    :param name: The argument, for the error.
    :param instead: What holds if there is none.
    :param longest: The most characters that it may have.
    :return: The text, without space around it.
    :raises ValueError: If it is no text, or there is none at all; ``None`` is what a template makes of a
        missing value.
    """
    check_defined(value, f"`{name}`")
    for candidate in (value, instead):
        text = "" if candidate is None else _name_text(candidate, name)
        if text and text != "None":
            return _check_name(text, name, longest)
    raise ValueError(
        f"`{name}` is missing: give it to the task, or check the template it comes from. "
        f"It is {shown(value)}."
    )


def read_optional_name(value: Any, name: str) -> str | None:
    """Read a name that need not be given: None, or as for :func:`read_name`."""
    return None if value is None else read_name(value, name)


def read_text(value: Any, name: str, *, longest: int) -> str:
    """Read a text of several lines, with the space around it; none at all is a ValueError, and so is NUL."""
    check_defined(value, f"`{name}`")
    text = _integer_text(value) or value
    if not isinstance(text, str) or not text.strip() or text.strip() == "None":
        raise ValueError(f"`{name}` must be a text, not {shown(value)}: {CHECK}.")
    if len(text) > longest:
        raise ValueError(f"`{name}` has {len(text)} characters, and may have {longest}.")
    if any(one == "\0" or unicodedata.category(one) == "Cs" for one in text):
        raise ValueError(f"`{name}` holds a NUL character, or half of one, which is no text: remove it.")
    return text


def read_names(value: Any, name: str) -> list[str]:
    """Read a list of names, in their order; of a set, in that of the alphabet. None is an empty one."""
    check_defined(value, f"`{name}`")
    if value is None:
        return []
    if isinstance(value, str):
        raise ValueError(f"`{name}` must be a list of names, not one text: {NATIVE}.")
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError(f"`{name}` must be a list of names, not {type(value).__name__}.")
    names = [read_name(one, name) for one in value]
    return sorted(names) if isinstance(value, (set, frozenset)) else names


def read_mapping(value: Any, name: str) -> dict[Any, Any]:
    """Read a dictionary, or anything like it; anything else is a ValueError that names the argument."""
    check_defined(value, f"`{name}`")
    if isinstance(value, str):
        raise ValueError(f"`{name}` must be a dictionary of names and values, not a text: {NATIVE}.")
    if not isinstance(value, Mapping):
        raise ValueError(
            f"`{name}` must be a dictionary of names and values, not {type(value).__name__}: {CHECK}."
        )
    # Not its items: those of Airflow's `params` are no values yet.
    return {key: value[key] for key in value}


def read_choice(value: Any, name: str, choices: Collection[str]) -> str:
    """Read one of some words; anything else is a ValueError that names them."""
    check_defined(value, f"`{name}`")
    value = value.value if isinstance(value, Enum) else value
    if not (isinstance(value, str) and value.strip() in choices):
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, not {shown(value)}.")
    return value.strip()


def read_switch(value: Any, name: str) -> bool:
    """Read what is True or False; a text, which would always count as true, is a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False, not {shown(value)}.")
    return value


def read_switch_or(value: Any, name: str, word: str) -> bool | str:
    """Read what is True, False or one word; anything else is a ValueError."""
    check_defined(value, f"`{name}`")
    if not (isinstance(value, bool) or (isinstance(value, str) and value == word)):
        raise ValueError(f"`{name}` must be True, False or {word!r}, not {shown(value)}.")
    return value if isinstance(value, bool) else word


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
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if is_number and least <= seconds <= LONGEST_TIME:
        return float(seconds)
    if is_number and LONGEST_TIME < seconds < math.inf:
        raise ValueError(f"`{name}` must be at most {LONGEST_TIME:.0f} seconds, not {shown(value)}.")
    raise ValueError(f"`{name}` must be a positive number of seconds or a timedelta, not {shown(value)}.")


def read_datetime(value: Any, name: str) -> datetime | None:
    """
    Read a datetime, a date, its ISO form, or None.

    :param value: One of these; ``{{ ds_nodash }}``, natively a number such as 20260131, is one, too.
    :param name: The argument, for the error.
    :return: A datetime, at midnight if it was a date; None if there is none.
    :raises ValueError: If it is no date, or one that has no counterpart in UTC.
    """
    check_defined(value, f"`{name}`")
    if value is None:
        return None
    moment = _moment(value)
    if moment is None:
        raise ValueError(
            f"`{name}` must be a date in ISO form, such as 2026-01-31T06:00:00+00:00, not {shown(value)}."
        )
    return moment


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, datetime):
            # pandas' NaT is a datetime that is not equal to itself. At the ends of the calendar there are
            # dates that are none in UTC.
            return value if value == value and (not value.tzinfo or value.astimezone(timezone.utc)) else None  # noqa: PLR0124
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001  a date has no zone
        text = value.strip() if isinstance(value, str) else _integer_text(value) or ""
        if re.fullmatch(r"\d{8}", text, re.ASCII):
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        elif not isinstance(value, str):
            return None
        return _moment(datetime.fromisoformat(text.replace("Z", "+00:00")))
    except (ValueError, OverflowError):
        return None


def _integer_text(value: Any) -> str | None:
    """Write an integer, one of numpy's too; None if it is something else, or too long to be written."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        return None
    try:
        return str(operator.index(value))
    except (TypeError, ValueError):
        return None


def _name_text(value: Any, name: str) -> str:
    value = value.value if isinstance(value, Enum) else value
    text = str(value) if isinstance(value, (str, UUID)) else _integer_text(value)
    if text is None:
        raise ValueError(
            f"`{name}` must be a text, not {type(value).__name__} ({shown(value)}): write it in quotes, or "
            "check the template it comes from."
        )
    return text.strip()


def _check_name(text: str, name: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"`{name}` has {len(text)} characters, and may have {longest}: {shown(text)}.")
    if text in (".", "..") or any(unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise ValueError(f"`{name}` cannot be {shown(text)}: nothing in Mage has such a name.")
    return text
