"""What Airflow does around one task, in this process: its attempts, its deferral, its clear."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import traceback
from contextlib import nullcontext
from datetime import datetime, timezone
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow 2.11 and 3.1
    from airflow.exceptions import AirflowRescheduleException
try:
    from airflow.sdk.execution_time.context import set_current_context
except ImportError:
    from airflow.models.taskinstance import set_current_context  # type: ignore[attr-defined,no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import BaseOperator


def add_connection(conn_id: str, server: Any, url: str, **extra: Any) -> str:
    """
    Store a connection to a Mage server.

    :param server: Whose user logs in.
    :param url: Where the connection leads, such as to a proxy in front of it.
    :param extra: Extra fields; by default nothing is kept for other processes.
    :return: Its id.
    """
    connection = {
        "conn_type": "mage",
        "host": url,
        "login": server.email,
        "password": server.password,
        "extra": {"share_login": False, **extra},
    }
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
    return conn_id


class TaskInstance:
    """
    A task instance that lives here instead of in Airflow's database.

    Every attempt, every return from a deferral and every look after a reschedule gets an operator of its own,
    as each is a process of its own in Airflow.

    :param make_operator: Makes the operator, as parsing the DAG file does.
    :param run_id: The DAG run.
    :param started_at: When that was started; by default now.
    """

    def __init__(
        self,
        make_operator: Callable[[], BaseOperator],
        run_id: str = "manual",
        started_at: datetime | None = None,
    ) -> None:
        self.make_operator = make_operator
        self.operator = make_operator()
        self.dag_id = "faults"
        self.run_id = run_id
        self.task_id = self.operator.task_id
        self.map_index = -1
        self.try_number = 0
        self.max_tries = self.operator.retries or 0
        self.xcoms: dict[str, Any] = {}
        self.errors: list[Exception] = []
        """Why each attempt failed that did."""
        self.first_reschedule_date: datetime | None = None
        self.started_at = started_at or datetime.now(timezone.utc)

    def get_first_reschedule_date(self, _: Any) -> datetime | None:
        """Say since when this attempt is being rescheduled, as Airflow 3 asks for it."""
        return self.first_reschedule_date

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, **_: Any) -> Any:
        """Return a value of this very task."""
        assert task_ids == self.task_id
        return self.xcoms.get(key)

    @property
    def context(self) -> Any:
        """What Airflow hands to the operator."""
        return {"ti": self, "dag_run": SimpleNamespace(start_date=self.started_at)}

    def attempt(self) -> Any:
        """Run the next attempt, its deferrals included, and return what it returns."""
        self.try_number += 1
        self.first_reschedule_date = None
        self.xcoms.clear()
        step: str | None = None
        arguments: dict[str, Any] = {}
        while True:
            self.operator = self.make_operator()
            try:
                with self._current():
                    self.operator.render_template_fields(self.context)
                    if step is None:
                        return self.operator.execute(self.context)
                    return self.operator.resume_execution(step, arguments, self.context)
            except TaskDeferred as deferral:
                step, arguments = await_trigger(deferral)
            except AirflowRescheduleException as later:
                now = datetime.now(timezone.utc)
                self.first_reschedule_date = self.first_reschedule_date or now
                time.sleep(max(0.0, (later.reschedule_date - now).total_seconds()))

    def _current(self) -> Any:
        """Airflow keeps the context for the process, which runs one task; here, threads run several."""
        is_alone = threading.current_thread() is threading.main_thread()
        return set_current_context(self.context) if is_alone else nullcontext()

    def run(self) -> Any:
        """Run attempts until one is green or none is left, and return its result or raise its error."""
        while True:
            try:
                return self.attempt()
            except Exception as error:
                self.errors.append(error)
                if self.try_number > self.max_tries:
                    raise

    def clear(self) -> None:
        """Let a person clear the finished task."""
        self.max_tries = self.try_number + (self.operator.retries or 0)


def await_trigger(deferral: TaskDeferred) -> tuple[str, dict[str, Any]]:
    """Run a trigger until its event, or its failure, and return with what Airflow resumes the task then."""
    try:
        payload = asyncio.run(first_event(deferral.trigger))
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001  as the triggerer
        return "__fail__", {"error": "Trigger failure", "traceback": traceback.format_exception(error)}
    return deferral.method_name, {**(deferral.kwargs or {}), "event": payload}


async def first_event(trigger: Any) -> Any:
    """Run a trigger as the triggerer does, from what is stored of it, and return the payload of its event."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    async for event in getattr(import_module(module), name)(**arguments).run():
        return event.payload
    raise AssertionError(f"{path} ended without an event")
