"""Values that have no business where they are put, and every place where they can be put."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.errors import MageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Place = tuple[str | int, ...]

LEFT_OUT = object()

ODD: dict[str, Any] = {
    "left out": LEFT_OUT,
    "null": None,
    "true": True,
    "fraction": 1.5,
    "negative": -1,
    "huge": 10**30,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "empty": "",
    "letter": "x",
    "digits": "9" * 5000,
    "half a character": "\ud800",
    "line ends": "a\r\nX: b",
    "NUL": "\0",
    "page": "<html>" * 1000,
    "list": ["x"],
    "empty list": [],
    "list of null": [None],
    "list of lists": [[]],
    "object": {"a": 1},
    "empty object": {},
    "year 1": "0001-01-01T00:00:00+14:00",
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Walk through JSON: itself, and everything in it, down to any depth."""
    yield place
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from places(item, (*place, key))


def changed(value: Any, place: Place, odd: Any) -> Any:
    """Return a copy of some JSON with something else in one place."""
    if not place:
        return {} if odd is LEFT_OUT else odd
    whole = copy.deepcopy(value)
    parent = whole
    for key in place[:-1]:
        parent = parent[key]
    if odd is LEFT_OUT:
        del parent[place[-1]]
    else:
        parent[place[-1]] = odd
    return whole


def complaint(call: Callable[[], Any], *allowed: type[BaseException]) -> str | None:
    """Call something, and say what is wrong with how it fails; None if it does not, or as it should."""
    try:
        call()
    except (MageError, *allowed) as error:
        text = str(error)
        if len(text) > 10_000 or not text.strip() or "\0" in text:
            return f"{type(error).__name__} says {len(text)} characters: {text[:200]!r}"
        text.encode()  # a half character could not be stored
        return None
    except Exception as error:  # noqa: BLE001  that is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None
