"""How Mage's database shows in what Mage answers; tests/contract runs on each of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

STATUSES = ("initial", "running", "completed", "failed", "cancelled")
"""Of a run, in the order in which Mage declares them."""


class SQLite:
    """What Mage makes for itself."""

    name = "sqlite"
    is_strict = False
    """Whether text for a number, or an unknown status, is an error and not just found nowhere."""
    gives_ids_again = True

    def date(self, moment: datetime) -> datetime:
        """Return a date as it is kept: an offset is dropped, and nothing converted."""
        return moment.replace(tzinfo=None)

    def stamp(self, now: datetime, transaction_began: datetime) -> datetime:
        """Return what it fills in for ``created_at`` and ``updated_at``: whole seconds."""
        return now.replace(microsecond=0)

    def is_since(self, date: datetime, since: datetime) -> bool:
        """Compare text: "...:38" comes before "...:38.000000"."""
        return date > since

    def rank(self, value: Any) -> Any:
        """Return what to sort by: NULL comes first, and a status by its letters."""
        return (value is not None, value or 0)


class PostgreSQL(SQLite):
    """What Mage is on where it matters."""

    name = "postgresql"
    is_strict = True
    gives_ids_again = False

    def date(self, moment: datetime) -> datetime:
        """Return a date as it is kept: a moment. One without an offset is in UTC."""
        return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)

    def stamp(self, now: datetime, transaction_began: datetime) -> datetime:
        """Return its ``now()``, which is when the transaction began."""
        return self.date(transaction_began)

    def is_since(self, date: datetime, since: datetime) -> bool:
        """Compare moments."""
        return date >= since

    def rank(self, value: Any) -> Any:
        """Return what to sort by: NULL comes last, and a status by the order in which they are declared."""
        return (value is None, STATUSES.index(value) if value in STATUSES else value or 0)


DATABASES = {each.name: each for each in (SQLite(), PostgreSQL())}
