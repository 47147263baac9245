"""
A Mage server's own database, SQLite or PostgreSQL, for a benchmark to put runs into.

Runs that are rows cost nothing by themselves, so that what is measured is the waiting alone.
"""

from __future__ import annotations

import json
import random
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from sqlalchemy import column, delete, func, select, table, update

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mage_server import MageServer

BLOCKS = ("load_orders", "enrich_orders", "export_orders")

_runs = table(
    "pipeline_run",
    *map(
        column,
        [
            "id",
            "created_at",
            "updated_at",
            "completed_at",
            "pipeline_schedule_id",
            "pipeline_uuid",
            "execution_date",
            "status",
            "variables",
            "passed_sla",
            "executor_type",
        ],
    ),
)
_blocks = table(
    "block_run", *map(column, ["created_at", "updated_at", "pipeline_run_id", "block_uuid", "status"])
)


class MageDatabase:
    """
    Puts runs with three blocks each into a Mage server's database, and lets them end.

    :param server: The server.
    :param pipeline_uuid: The pipeline whose runs they are.
    """

    def __init__(self, server: MageServer, pipeline_uuid: str) -> None:
        self._engine = server.database
        self._pipeline_uuid = pipeline_uuid
        schedule = {"name": "benchmark", "schedule_type": "api", "status": "active"}
        path = f"/pipelines/{pipeline_uuid}/pipeline_schedules"
        answer = server.request("POST", path, {"pipeline_schedule": schedule})
        self._schedule_id = answer["pipeline_schedule"]["id"]
        self._last_id = 0

    def add_finished(self, count: int, *, within: timedelta) -> None:
        """Add runs that have completed, one after the other, in the time up to now."""
        now = datetime.now(timezone.utc)
        self._add("COMPLETED", [now - within * (count - number) / count for number in range(count)])

    def add_running(self, count: int) -> range:
        """
        Add runs that are running since now.

        :param count: How many.
        :return: Their ids, which no run before had.
        """
        return self._add("RUNNING", [datetime.now(timezone.utc)] * count)

    def complete(self, run_id: int) -> float:
        """
        Let a run end as Mage does.

        :param run_id: The run.
        :return: Its ``completed_at``, as in ``time.time()``.
        """
        moment = time.time()
        now = datetime.fromtimestamp(moment, timezone.utc)
        with self._engine.begin() as connection:
            ended = {"status": "COMPLETED", "updated_at": _text(now)}
            connection.execute(update(_blocks).where(_blocks.c.pipeline_run_id == run_id).values(**ended))
            ended["completed_at"] = f"{now:%Y-%m-%d %H:%M:%S.%f}"
            connection.execute(update(_runs).where(_runs.c.id == run_id).values(**ended))
        return moment

    def remove(self, run_ids: range) -> None:
        """Remove runs, however they ended."""
        first, last = run_ids[0], run_ids[-1]
        with self._engine.begin() as connection:
            connection.execute(delete(_blocks).where(_blocks.c.pipeline_run_id.between(first, last)))
            connection.execute(delete(_runs).where(_runs.c.id.between(first, last)))

    def _add(self, status: str, moments: Iterable[datetime]) -> range:
        runs, blocks = [], []
        with self._engine.begin() as connection:
            last_id = connection.scalar(select(func.max(_runs.c.id))) or 0
            first_id = run_id = max(self._last_id, last_id) + 1
            for run_id, moment in enumerate(moments, start=first_id):
                runs.append(
                    {
                        "id": run_id,
                        "created_at": _text(moment),
                        "updated_at": _text(moment),
                        "pipeline_schedule_id": self._schedule_id,
                        "pipeline_uuid": self._pipeline_uuid,
                        "execution_date": _text(moment),
                        "status": status,
                        "variables": json.dumps({"orders": random.randrange(100)}),  # noqa: S311
                        "passed_sla": False,
                        "executor_type": "LOCAL_PYTHON",
                    }
                )
                blocks += [
                    {
                        "created_at": _text(moment),
                        "updated_at": _text(moment),
                        "pipeline_run_id": run_id,
                        "block_uuid": block_uuid,
                        "status": status,
                    }
                    for block_uuid in BLOCKS
                ]
            connection.execute(_runs.insert(), runs)
            connection.execute(_blocks.insert(), blocks)
        self._last_id = run_id
        return range(first_id, run_id + 1)


def _text(moment: datetime) -> str:
    """Write a time as Mage's SQLite has it, which PostgreSQL understands too."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
