"""Which attempt of which Airflow task a Mage run belongs to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True)
class TaskAttempt:
    """
    One attempt of one task of one DAG run.

    :param clear_generation: Stays the same from retry to retry, and moves when a person clears the finished
        task.
    :param is_durable: Whether the attempts of one generation share a run key, and with it a Mage run.
    :param not_before: No attempt of this task can have begun earlier; None if unknown.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    clear_generation: int
    is_durable: bool = True
    logical_date: datetime | None = None
    not_before: datetime | None = None

    @classmethod
    def from_context(cls, context: Mapping[str, Any], *, retries: int, is_durable: bool) -> TaskAttempt:
        """
        Read the attempt that is being executed.

        :param context: The task's context.
        :param retries: The task's ``retries``. Airflow sets ``max_tries`` to ``try_number + retries`` on a
            clear and leaves it alone on a retry (both lines, observed), so their difference counts the
            clears.
        :param is_durable: See the class.
        :return: The attempt.
        """
        ti = context["ti"]
        dag_run = context.get("dag_run")
        # Airflow 2.11 can be told to run at once what is dated in the future.
        due_at = getattr(dag_run, "run_after", None) or context.get("data_interval_end")
        moments = [moment for moment in (due_at, getattr(dag_run, "start_date", None)) if moment]
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            clear_generation=max(0, (ti.max_tries or 0) - retries),
            is_durable=is_durable,
            logical_date=context.get("logical_date"),
            not_before=min(moments, default=None),
        )

    @property
    def is_retry(self) -> bool:
        """Whether an earlier attempt may have left a Mage run with this attempt's key."""
        return self.is_durable and self.try_number > self.clear_generation + 1

    @property
    def run_key(self) -> str:
        """The same for all attempts that may share a Mage run, and for no others."""
        parts: list[str | int] = [
            self.dag_id,
            self.run_id,
            self.task_id,
            self.map_index,
            self.clear_generation,
        ]
        if not self.is_durable:
            parts.append(self.try_number)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def as_variable(self) -> dict[str, Any]:
        """Return what every run carries as its variable ``airflow``."""
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
            "try_number": self.try_number,
            "logical_date": self.logical_date.isoformat() if self.logical_date else None,
            "run_key": self.run_key,
        }
