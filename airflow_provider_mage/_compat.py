"""The one place where this package asks which Airflow it runs on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

try:
    from airflow.providers.common.compat.sdk import mask_secret
except (ImportError, AttributeError):  # common-compat before 1.22, the newest for Python 3.10 among them
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[import-not-found,no-redef]

__all__ = [
    "is_dag_run_active",
    "is_deferral_timeout",
    "mask_secret",
    "read_variable",
    "task_was_acted_on",
    "write_variable",
]

ANSWER_WITHIN = 5.0
"""
Seconds to find out why a trigger was cancelled; a triggerer that is shutting down may give no answer
(observed).
"""

log = logging.getLogger(__name__)


def is_deferral_timeout(next_method: str, next_kwargs: dict[str, Any] | None) -> bool:
    """
    Whether a deferred task is being resumed because its deferral took too long.

    :param next_method: What Airflow is about to call.
    :param next_kwargs: And with what.
    :return: Whether that is so; False for a trigger that failed.
    """
    error = str((next_kwargs or {}).get("error", ""))
    return next_method == "__fail__" and "timeout" in error.lower()


async def task_was_acted_on(trigger: BaseTrigger) -> bool:
    """
    Tell, in a trigger that was cancelled, whether a person has marked or cleared its task.

    Always False from Airflow 3.3 on, which calls the trigger's ``on_kill`` in that case. Before, the task
    instance is looked up: if it is still deferred, the triggerer is being restarted, and somebody else will
    wait on.

    :param trigger: The trigger.
    :return: Whether that is so, as far as it can be found out.
    """
    from airflow.triggers.base import BaseTrigger

    task_instance = getattr(trigger, "task_instance", None)
    if task_instance is None or hasattr(BaseTrigger, "on_kill"):
        return False
    try:
        state = await asyncio.wait_for(_task_state(task_instance), ANSWER_WITHIN)
    # Whatever it is: a run that goes on can still be cancelled, but not the other way round.
    except Exception as error:  # noqa: BLE001
        log.warning(
            "It cannot be found out why the trigger was cancelled, so its run is left alone. %s", error
        )
        return False
    return state != "deferred"


async def _task_state(task_instance: Any) -> str:
    from asgiref.sync import sync_to_async

    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return await sync_to_async(_task_state_from_database)(task_instance)
    states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=task_instance.map_index,
    )
    task_id, map_index = task_instance.task_id, task_instance.map_index
    return str(states[task_instance.run_id][task_id if map_index < 0 else f"{task_id}_{map_index}"])


def _task_state_from_database(task_instance: Any) -> str:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        state = (
            session.query(TaskInstance.state)
            .filter(
                TaskInstance.dag_id == task_instance.dag_id,
                TaskInstance.task_id == task_instance.task_id,
                TaskInstance.run_id == task_instance.run_id,
                TaskInstance.map_index == task_instance.map_index,
                # After a clear, the next attempt may be deferred already (observed).
                TaskInstance.try_number == task_instance.try_number,
            )
            .scalar()
        )
    return str(getattr(state, "value", state))


def read_variable(key: str) -> str | None:
    """
    Read an Airflow Variable.

    :param key: Its key.
    :return: Its text; None if there is none.
    """
    from airflow.providers.common.compat.sdk import Variable

    name = "default_var" if "default_var" in inspect.signature(Variable.get).parameters else "default"
    default: dict[str, Any] = {name: None}
    text: str | None = Variable.get(key, **default)
    return text


def write_variable(key: str, value: str | None, description: str = "") -> None:
    """
    Store an Airflow Variable, or delete it.

    :param key: Its key.
    :param value: Its text; None to delete it.
    :param description: What people see beside it.
    """
    from airflow.providers.common.compat.sdk import Variable

    if value is None:
        Variable.delete(key)
    else:
        Variable.set(key, value, description=description)


def is_dag_run_active(dag_id: str, run_id: str) -> bool:
    """
    Tell, in a task, whether a DAG run still goes on.

    :param dag_id: Its DAG.
    :param run_id: The run.
    :return: Whether it is queued or running; False also if it was deleted.
    """
    states = ["queued", "running"]
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return _count_dag_runs_in_database(dag_id, run_id, states) > 0
    return RuntimeTaskInstance.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=states) > 0


def _count_dag_runs_in_database(dag_id: str, run_id: str, states: list[str]) -> int:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        return int(
            session.query(DagRun)
            .filter(DagRun.dag_id == dag_id, DagRun.run_id == run_id, DagRun.state.in_(states))
            .count()
        )
