"""
A Mage server's own database, SQLite or PostgreSQL, for a benchmark to put runs into.

Runs that are rows cost nothing by themselves, so that what is measured is the waiting alone.
"""

from __future__ import annotations

import json
import random
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import column, delete, func, select, table, update

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mage_server import MageServer

SCHEDULE = "benchmark"
"""The name of the pipeline schedule that the runs belong to."""

FINISHED_RUNS = 20_000
FINISHED_WITHIN = timedelta(hours=12)
"""
A server that has seen many runs: all of them ended within the time that the feed of ended runs looks back,
so that no bound makes it cheaper.
"""

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
        self._server = server
        self._last_id = 0
        self.schedule_id = self.add_schedule(SCHEDULE)

    def add_schedule(self, name: str) -> int:
        """
        Add an active schedule of type ``api`` to the pipeline.

        :param name: Its name.
        :return: Its id.
        """
        schedule = {"name": name, "schedule_type": "api", "status": "active"}
        path = f"/pipelines/{self._pipeline_uuid}/pipeline_schedules"
        answer = self._server.request("POST", path, {"pipeline_schedule": schedule})
        return int(answer["pipeline_schedule"]["id"])

    def add_finished(self, count: int = FINISHED_RUNS, *, within: timedelta = FINISHED_WITHIN) -> None:
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

    def run_again(self, run_ids: Sequence[int]) -> None:
        """Let runs be running, since they were created, whatever they are now."""
        now = datetime.now(timezone.utc)
        running = {"status": "RUNNING", "updated_at": _text(now), "completed_at": None}
        with self._engine.begin() as connection:
            connection.execute(delete(_blocks).where(_blocks.c.pipeline_run_id.in_(run_ids)))
            connection.execute(
                _blocks.insert(), [row for run_id in run_ids for row in _block_rows(run_id, "RUNNING", now)]
            )
            connection.execute(update(_runs).where(_runs.c.id.in_(run_ids)).values(**running))

    def complete(self, *run_ids: int) -> float:
        """
        Let runs end as Mage does, all at one moment.

        :param run_ids: The runs.
        :return: Their ``completed_at``, as in ``time.time()``.
        """
        moment = time.time()
        now = datetime.fromtimestamp(moment, timezone.utc)
        with self._engine.begin() as connection:
            ended = {"status": "COMPLETED", "updated_at": _text(now)}
            connection.execute(update(_blocks).where(_blocks.c.pipeline_run_id.in_(run_ids)).values(**ended))
            ended["completed_at"] = f"{now:%Y-%m-%d %H:%M:%S.%f}"
            connection.execute(update(_runs).where(_runs.c.id.in_(run_ids)).values(**ended))
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
                        "pipeline_schedule_id": self.schedule_id,
                        "pipeline_uuid": self._pipeline_uuid,
                        "execution_date": _text(moment),
                        "status": status,
                        "variables": json.dumps({"orders": random.randrange(100)}),  # noqa: S311
                        "passed_sla": False,
                        "executor_type": "LOCAL_PYTHON",
                    }
                )
                blocks += _block_rows(run_id, status, moment)
            connection.execute(_runs.insert(), runs)
            connection.execute(_blocks.insert(), blocks)
            if connection.dialect.name == "postgresql":
                # Else Mage would give the next run that it starts an id that is taken.
                sequence = func.pg_get_serial_sequence(_runs.name, "id")
                connection.execute(select(func.setval(sequence, run_id)))
        self._last_id = run_id
        return range(first_id, run_id + 1)


def _block_rows(run_id: int, status: str, moment: datetime) -> list[dict[str, Any]]:
    return [
        {
            "created_at": _text(moment),
            "updated_at": _text(moment),
            "pipeline_run_id": run_id,
            "block_uuid": block_uuid,
            "status": status,
        }
        for block_uuid in BLOCKS
    ]


def _text(moment: datetime) -> str:
    """Write a time as Mage's SQLite has it, which PostgreSQL understands too."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
