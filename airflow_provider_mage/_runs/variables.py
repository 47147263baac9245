"""The variables that a run is given: the author's, checked before anything is sent, and ours."""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow_provider_mage._arguments import check_defined, read_mapping, shown

if TYPE_CHECKING:
    from airflow_provider_mage._runs.identity import RunIdentity

log = logging.getLogger(__name__)

AIRFLOW = "airflow"

_BLOCKS_OWN = "give it another name"
_EXECUTION_DATE = "set the operator's `execution_date`"

# Names that Mage overwrites in each block that it runs, in some kinds of blocks at least, or that it crashes
# over (observed on 0.9.80; the same in the source of 0.9.70).
_OF_BLOCKS = {
    "block_uuid": "blocks get their own name under this one",
    "configuration": _BLOCKS_OWN,
    "dynamic_block_index": _BLOCKS_OWN,
    "logger": _BLOCKS_OWN,
    "parent_block_uuid": _BLOCKS_OWN,
    "pipeline_run": _BLOCKS_OWN,
    "pipeline_uuid": "blocks get the name of their own pipeline under this one",
    "remote_blocks": "it names the outputs of other pipelines that a block is to load",
    "repo_path": _BLOCKS_OWN,
    "retry": _BLOCKS_OWN,
}

# Those of a whole run, and ours.
_OF_RUNS = {
    **_OF_BLOCKS,
    AIRFLOW: "it tells the blocks which task started them",
    "env": _BLOCKS_OWN,
    "event": _BLOCKS_OWN,
    "ds": _EXECUTION_DATE,
    "hr": _EXECUTION_DATE,
    "execution_date": _EXECUTION_DATE,
    "execution_partition": "Mage derives it from schedule and `execution_date`",
    "pipeline_run_id": "blocks get the id of their own run under this name",
    "trigger_name": "set the operator's `pipeline_schedule_name`",
}

INTERVAL = ("interval_start_datetime", "interval_end_datetime")

# Mage's web server takes ten times as much, but each look for a run's duplicates reads the variables of ten
# runs, and Mage answers nobody else meanwhile.
LARGEST = 10_000_000
# Python, and so Mage, reads no longer integers out of JSON.
MOST_BITS = 14_000

# Types that JSON has no counterpart for, and what to do about it.
_ADVICE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((set, frozenset), "it has no order: use sorted() or list()"),
    ((bytes, bytearray, memoryview), "use .decode()"),
    (Decimal, "use str(), which keeps its digits, or float()"),
    (timedelta, "use .total_seconds()"),
    (Iterable, "use list(), .tolist() or .to_dict()"),
)


def run_variables(
    author: Mapping[str, Any] | None,
    identity: RunIdentity,
    *,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
) -> dict[str, Any]:
    """
    Put together everything that a run is to be given: the author's variables, and whose run it is.

    The DAG run's data interval goes along unless the author has set it, or it has no length. A name that is
    reserved, or a value that JSON cannot hold, is a ValueError.
    """
    variables = check_variables(author)
    if interval_start is not None and interval_start == interval_end:
        _tell_no_interval(variables, interval_start)
        interval_start = interval_end = None
    for name, moment in zip(INTERVAL, (interval_start, interval_end), strict=True):
        if moment is not None:
            variables.setdefault(name, moment.isoformat())
    variables[AIRFLOW] = identity.as_variable()
    return variables


def check_variables(author: Any) -> dict[str, Any]:
    """Return the author's variables as JSON, or raise a ValueError if a run cannot be given them."""
    return _check(author, _OF_RUNS)


def check_block_variables(author: Any) -> dict[str, Any]:
    """Return the variables of a single block as JSON, or raise a ValueError if it cannot be given them."""
    return _check(author, _OF_BLOCKS)


def to_json(value: Any, where: str) -> Any:  # noqa: C901, PLR0911  one line a type
    """
    Return a value as JSON can hold it, with nothing lost.

    :param value: Any value, such as what Airflow makes of the output of mapped tasks.
    :param where: What and where it is, for the error.
    :return: Dictionaries, lists, texts, finite numbers, booleans and None.
    :raises ValueError: If something would be lost, or had to be guessed.
    """
    check_defined(value, where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return to_json(value.value, where)
    if isinstance(value, str):
        return _check_text(str(value), where)
    if isinstance(value, int):
        return _check_integer(int(value), where)
    if isinstance(value, float):
        return _check_float(float(value), where)
    if isinstance(value, Mapping):
        return {_check_key(key, where): to_json(value[key], f"{where}[{shown(key)}]") for key in value}
    if isinstance(value, (date, time)):
        return _check_moment(value, where)
    if isinstance(value, (UUID, PurePath)):
        return _check_text(str(value), where)
    if isinstance(value, (Sequence, deque)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [to_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if _is_number_of_numpy(value):
        return to_json(value.item(), where)
    advice = next(
        (advice for types, advice in _ADVICE if isinstance(value, types)),
        "convert it first, for instance with str()",
    )
    raise ValueError(f"{where} is of type {type(value).__name__}, which JSON cannot hold: {advice}.")


def _check(author: Any, reserved: Mapping[str, str]) -> dict[str, Any]:
    if author is None:
        return {}
    variables = read_mapping(author, "variables")
    for name in variables:
        if not isinstance(name, str):
            raise ValueError(f"Variable names must be strings; {shown(name)} is {type(name).__name__}.")
        _check_text(name, f"The variable name {shown(name)}")
        if name in reserved:
            raise ValueError(
                f"The variable name {name!r} is reserved, as Mage sets it itself: {reserved[name]}."
            )
    try:
        checked = {str(name): to_json(value, f"Variable {name[:80]}") for name, value in variables.items()}
        size = len(json.dumps(checked))
    except RecursionError as error:
        raise ValueError(
            "`variables` contain themselves, or are nested too deeply, which JSON cannot hold."
        ) from error
    if size > LARGEST:
        raise ValueError(
            f"`variables` are {size / 1e6:.1f} MB as JSON, and may be {LARGEST / 1e6:.0f} MB: put the data "
            "where the blocks can read them, and give them the address."
        )
    return checked


def _check_key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise ValueError(
            f"{where} has the key {shown(key)}, but JSON's keys are strings: use {shown(str(key))}."
        )
    return _check_text(str(key), f"The key {shown(key)} of {where}")


def _check_text(text: str, where: str) -> str:
    if "\0" in text:
        raise ValueError(f"{where} holds a NUL character, which Mage's database may not keep: remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} holds half a character ({shown(text[error.start])}), which is no text: decode it anew."
        ) from error
    return text


def _check_integer(number: int, where: str) -> int:
    if number.bit_length() > MOST_BITS:
        raise ValueError(f"{where} has more than 4,000 digits, which Mage cannot read: use str().")
    return number


def _check_float(number: float, where: str) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{where} is {number}, which JSON cannot hold: use None or a string.")
    return number


def _check_moment(moment: date | time, where: str) -> str:
    if moment != moment:  # noqa: PLR0124  pandas' NaT is a datetime that is not equal to itself
        raise ValueError(f"{where} is {shown(moment)}, which JSON cannot hold: use None or a string.")
    return moment.isoformat()


def _is_number_of_numpy(value: Any) -> bool:
    # Its dates are not among these: their plain form is a number without a unit.
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return kind in ("b", "i", "u", "f") and getattr(value, "shape", None) == () and _is_plain(value.item())


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _tell_no_interval(variables: Mapping[str, Any], moment: datetime) -> None:
    left_out = [name for name in INTERVAL if name not in variables]
    if left_out:
        log.info(
            "The DAG run's data interval has no length (%s): blocks would load nothing, so they get no %s.",
            moment.isoformat(),
            " and no ".join(left_out),
        )
