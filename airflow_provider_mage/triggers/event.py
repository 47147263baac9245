"""What a trigger tells the worker about its waiting, and how the worker reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mage.api.errors import from_dict, to_dict


def make_event(failure: Exception | None = None, **subject: Any) -> dict[str, Any]:
    """
    Return the payload of a trigger's one event.

    :param failure: Why the waiting has ended before what it was for; None if that is so. Airflow 2.11 shows
        an event in red that has an ``error``, even an empty one (observed).
    :param subject: What was waited for: the name of its id, and the id; and what else there is to tell.
    :return: The payload, of plain JSON values.
    """
    return {**subject, **(to_dict(failure) if failure else {})}


def read_event(event: Any, subject: str) -> tuple[Any, Exception | None]:
    """
    Return the id that a trigger's event is about, and why its waiting has ended before, if it has.

    :param event: What the trigger has sent.
    :param subject: The name of the id of what was waited for.
    :return: Both.
    :raises ValueError: If that is no event of ours.
    """
    if not isinstance(event, Mapping) or subject not in event:
        raise ValueError(f"The trigger has sent {event!r}, which is not an event of this package's trigger.")
    return event[subject], from_dict(event) if event.get("error") else None
