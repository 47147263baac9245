"""What an Airflow for tests or the demo does with its SQLite file: nobody needs it after a power failure."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

__all__: list[str] = []


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: Any, _record: Any) -> None:
    # A commit holds the only write lock until the disk says that it has it. On a slow disk the five processes
    # that write wait for one another for longer than any time-out, and Airflow answers "database is locked".
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not block the writer
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()
