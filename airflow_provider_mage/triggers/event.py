"""What a trigger tells the worker about its waiting, and how the worker reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mage._runs.stall import StalledError
from airflow_provider_mage.api import errors
from airflow_provider_mage.api.errors import MageError


def make_event(failure: Exception | None = None, **subject: Any) -> dict[str, Any]:
    """
    Return the payload of a trigger's one event.

    :param failure: Why the waiting has ended before what it was for; None if that is so.
    :param subject: What was waited for: the name of its id, and the id.
    :return: The payload, of plain JSON values.
    """
    return {
        **subject,
        "error": type(failure).__name__ if failure else None,
        "message": str(failure) if failure else None,
    }


def read_event(event: Any, subject: str) -> tuple[Any, Exception | None]:
    """
    Read the payload of a trigger's event.

    :param event: What the trigger has sent.
    :param subject: The name of the id of what was waited for.
    :return: The id, and why the waiting has ended before what it was for, if it has.
    :raises ValueError: If that is no event of ours.
    """
    if not isinstance(event, Mapping) or not {subject, "error", "message"} <= event.keys():
        raise ValueError(f"The trigger has sent {event!r}, which is not an event of this package's trigger.")
    if event["error"] is None:
        return event[subject], None
    known = {"TimeoutError": TimeoutError, "StalledError": StalledError, **vars(errors)}
    return event[subject], known.get(event["error"], MageError)(event["message"])
