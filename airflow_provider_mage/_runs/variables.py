"""The variables that a run is given: the author's, checked before anything is sent, and ours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_mage._runs.identity import RunIdentity

AIRFLOW = "airflow"

# Names that Mage overwrites before a block sees them (observed), and ours.
_INSTEAD = {
    AIRFLOW: "it tells the blocks which task started them",
    "env": "give it another name",
    "event": "give it another name",
    "ds": "set the operator's `execution_date`",
    "hr": "set the operator's `execution_date`",
    "execution_date": "set the operator's `execution_date`",
    "execution_partition": "Mage derives it from schedule and `execution_date`",
    "pipeline_run_id": "blocks get the id of their own run under this name",
    "trigger_name": "set the operator's `pipeline_schedule_name`",
}


def run_variables(
    author: Mapping[str, Any] | None,
    identity: RunIdentity,
    *,
    interval_start: datetime | None = None,
    interval_end: datetime | None = None,
) -> dict[str, Any]:
    """
    Put together everything that a run is to be given: the author's variables, and whose run it is.

    The DAG run's data interval goes along unless the author has set it. A name that is reserved, or a value
    that JSON cannot hold, is a ValueError.
    """
    variables = check_variables(author)
    if interval_start is not None:
        variables.setdefault("interval_start_datetime", interval_start.isoformat())
    if interval_end is not None:
        variables.setdefault("interval_end_datetime", interval_end.isoformat())
    variables[AIRFLOW] = identity.as_variable()
    return variables


def check_variables(author: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of the author's variables, or raise a ValueError if a run cannot be given them."""
    variables = check_values(author)
    for name in variables:
        if name in _INSTEAD:
            raise ValueError(
                f"The variable name {name!r} is reserved, as Mage sets it itself: {_INSTEAD[name]}."
            )
    return variables


def check_values(author: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of the author's variables, or raise a ValueError if JSON cannot hold one of them."""
    if author is None:
        return {}
    if not isinstance(author, Mapping):
        raise ValueError(
            f"`variables` must be a dictionary of names and values, not {type(author).__name__}."
        )
    for name, value in author.items():
        if not isinstance(name, str):
            raise ValueError(f"Variable names must be strings; {name!r} is {type(name).__name__}.")
        try:
            _check_json(value, name)
        except RecursionError as error:
            raise ValueError(f"Variable {name} contains itself, which JSON cannot hold.") from error
    return dict(author)


def _check_json(value: Any, where: str) -> None:
    """Raise an error that names the spot, rather than JSON's own, which does not."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Variable {where} is {value}, which JSON cannot hold: use None or a string.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(
                    f"Variable {where} has the key {key!r}, but JSON's keys are strings: use {str(key)!r}."
                )
            _check_json(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    else:
        try:
            json.dumps(value)
        except TypeError as error:
            raise ValueError(
                f"Variable {where} is of type {type(value).__name__}, which JSON cannot hold: "
                "convert it first, for instance with str() or .isoformat()."
            ) from error
