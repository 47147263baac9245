"""Names that nobody knows, and the ones that may be meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# So many names in an error.
MOST_NAMES = 10


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that are almost the given one, the nearest first."""
    by_folded = {one.casefold(): one for one in names}
    return [by_folded[one] for one in difflib.get_close_matches(name.casefold(), by_folded)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """
    Ask whether one of the names that there are is meant, or list them.

    :param name: What was asked for.
    :param names: What there is.
    :return: The end of a sentence.
    """
    listed = list(names)
    near = near_names(name, listed)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if not listed:
        return "there is none at all."
    rest = len(listed) - MOST_NAMES
    return f"there is {', '.join(map(repr, listed[:MOST_NAMES]))}{f', and {rest} more' if rest > 0 else ''}."
