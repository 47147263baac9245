"""Airflow tasks without an Airflow: what an operator does in a worker, with the least that it is handed."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mage_server import MageServer

T = TypeVar("T")
CONN_ID, HTTP_CONN_ID = "mage_default", "mage_http"
_fork: Any = multiprocessing.get_context("fork")


def connections(server: MageServer, **extra: Any) -> dict[str, str]:
    """
    Return environment variables that tell Airflow of a Mage server.

    :param server: The server.
    :param extra: The extra fields of this package's connection.
    :return: Its connection, and one of type ``http`` to the same server.
    """
    mage = {"conn_type": "mage", "host": server.url, "login": server.email, "password": server.password}
    return {
        f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps({**mage, "extra": extra}),
        f"AIRFLOW_CONN_{HTTP_CONN_ID.upper()}": json.dumps({"conn_type": "http", "host": server.url}),
    }


@dataclass(frozen=True)
class Deferred:
    """
    What Airflow stores of a task that has deferred itself.

    :param trigger: Its trigger's class and arguments.
    :param method_name: The operator's method to go on with.
    :param kwargs: What that is given beside the event.
    """

    trigger: tuple[str, dict[str, Any]]
    method_name: str
    kwargs: dict[str, Any]


class TaskInstance:
    """
    The part of a task instance that operators use, each in a DAG run of its own.

    :param on_push: Called with every XCom that is pushed.
    """

    dag_id, task_id, map_index, try_number, max_tries = "benchmark", "run", -1, 1, 0

    def __init__(self, on_push: Callable[[str, Any], object]) -> None:
        self.run_id = f"manual__{uuid.uuid4().hex}"
        self.xcom_push = on_push


def in_task_process(do: Callable[[], T]) -> T:
    """
    Do something in a process of its own, forked from this one as a worker forks those of tasks.

    So a task finds in memory what was imported, and nothing that another task has left there.

    :param do: What to do; its result must be picklable.
    :return: Its result.
    """
    receiver, sender = _fork.Pipe(duplex=False)

    def send() -> None:
        # Airflow logs to stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sender.send(do())

    process = _fork.Process(target=send)
    process.start()
    sender.close()
    try:
        result: T = receiver.recv()
    except EOFError:
        raise RuntimeError("A task has failed; see above.") from None
    finally:
        process.join()
        receiver.close()
    return result


def execute(
    operator_class: type[Any],
    arguments: Mapping[str, Any],
    *,
    on_push: Callable[[str, Any], object] = lambda key, value: None,  # noqa: ARG005
) -> Any:
    """
    Execute a task in a process of its own.

    :param operator_class: The operator's class.
    :param arguments: The operator's arguments.
    :param on_push: Called, in that process, with every XCom that is pushed.
    :return: What it returns; if it defers itself, what Airflow stores of it.
    """
    from airflow.providers.common.compat.sdk import TaskDeferred

    def do() -> Any:
        try:
            return operator_class(task_id="run", **arguments).execute(_context(on_push))
        except TaskDeferred as deferral:
            trigger = deferral.trigger.serialize()
            return Deferred(trigger, deferral.method_name, dict(deferral.kwargs or {}))

    return in_task_process(do)


def go_on(operator_class: type[Any], arguments: Mapping[str, Any], deferred: Deferred, event: Any) -> Any:
    """
    Resume a deferred task in a process of its own.

    :param operator_class: The operator's class.
    :param arguments: The operator's arguments.
    :param deferred: What Airflow has stored of the task.
    :param event: The payload of its trigger's event.
    :return: What it returns.
    """

    def do() -> Any:
        resume = getattr(operator_class(task_id="run", **arguments), deferred.method_name)
        return resume(_context(lambda key, value: None), event=event, **deferred.kwargs)  # noqa: ARG005

    return in_task_process(do)


def _context(on_push: Callable[[str, Any], object]) -> dict[str, Any]:
    """What Airflow hands to an operator in the first attempt of a task of a manual DAG run."""
    dag_run = SimpleNamespace(start_date=datetime.now(timezone.utc))
    return {"ti": TaskInstance(on_push), "dag_run": dag_run, "logical_date": None}
