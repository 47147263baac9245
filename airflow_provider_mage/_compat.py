"""The one place where this package asks which Airflow it runs on."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from airflow.triggers.base import BaseTrigger

    from airflow_provider_mage.triggers.threads import Call

try:
    from airflow.providers.common.compat.sdk import mask_secret
except (ImportError, AttributeError):  # common-compat before 1.22, the newest for Python 3.10 among them
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:
        from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[import-not-found,no-redef]

__all__ = [
    "call_in_thread",
    "calls_on_kill",
    "count",
    "has_flask_forms",
    "is_dag_run_active",
    "is_deferral_timeout",
    "is_still_deferred",
    "mask_secret",
    "measure",
    "read_variable",
    "read_xcom",
    "read_xcom_of",
    "states_of_tasks",
    "write_variable",
    "write_xcom",
    "write_xcom_of",
]

# Seconds to find out why a trigger was cancelled; a triggerer that is shutting down may give no answer
# (observed).
ANSWER_WITHIN = 5.0

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


async def call_in_thread(
    executor: ThreadPoolExecutor, function: Callable[..., Answer], *args: Any, **options: Any
) -> Answer:
    """Call a function in a thread of an executor; in a triggerer, it may ask Airflow for something there."""
    if _asks_by_way_of_the_loop():
        from asgiref.sync import sync_to_async

        return await sync_to_async(function, thread_sensitive=False, executor=executor)(*args, **options)
    # Airflow sorts log lines by context: they go to the log of the task on whose behalf this is.
    run = partial(copy_context().run, function, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(executor, run)


def _asks_by_way_of_the_loop() -> bool:
    """
    Whether a triggerer's thread has to be known to asgiref to ask Airflow for something, as on 3.1.

    There, Airflow guards its line to the supervisor with a lock of asyncio's. In a thread that asgiref does
    not know it asks in another event loop, and the lock that two loops wait for ends the whole triggerer
    (observed on 3.1.8: "is bound to a different event loop").
    """
    decoder = getattr(sys.modules.get("airflow.jobs.triggerer_job_runner"), "TriggerCommsDecoder", None)
    return decoder is not None and not hasattr(decoder, "start_reader")


def has_flask_forms() -> bool:
    """Whether connections are edited in forms of wtforms fields, as on Airflow 2."""
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    return not AIRFLOW_V_3_0_PLUS


def is_deferral_timeout(next_method: str, next_kwargs: dict[str, Any] | None) -> bool:
    """Whether Airflow is about to resume a task with this because its deferral took too long."""
    error = str((next_kwargs or {}).get("error", ""))
    return next_method == "__fail__" and "timeout" in error.lower()


def calls_on_kill() -> bool:
    """Whether Airflow calls a trigger's ``on_kill`` when a person acts on its task, as 3.3 and later do."""
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


async def is_still_deferred(trigger: BaseTrigger, call: Call, **xcom: Any) -> bool:
    """
    Tell, in a trigger that is cancelled, whether its task waits on, in this triggerer or in another one.

    Before Airflow 3.3, a trigger is cancelled in the same way when a person acts on its task and when the
    triggerer is restarted. From 3.3 on, ``on_kill`` tells these apart, but a triggerer that was late, and
    lost its triggers to another one, calls that as well (observed on 3.3.2).

    The answer is yes, too, if it cannot be found out: what goes on can still be cancelled, but not the other
    way round.
    """
    task_instance = getattr(trigger, "task_instance", None)
    if task_instance is None:
        return True
    try:
        is_deferred = await asyncio.wait_for(call(_is_deferred, task_instance, xcom), ANSWER_WITHIN)
    except Exception as error:  # noqa: BLE001  whatever it is
        log.warning("Cannot find out why the trigger was cancelled; nothing is cancelled in Mage. %s", error)
        return True
    if is_deferred:
        log.info("The task still waits, here or in another triggerer: nothing is cancelled in Mage.")
    return is_deferred


def _is_deferred(task_instance: Any, xcom: Mapping[str, Any]) -> bool:
    task_id = task_instance.task_id
    try:
        states = _states_from_supervisor(task_instance, [task_id])
    except ImportError:
        return _task_state_from_database(task_instance) == "deferred"
    # Of a DAG run that was deleted meanwhile, there is none.
    if str(states[task_id]) != "deferred":
        return False
    # Airflow 3 does not tell a triggerer which attempt is deferred. After a clear it may be the next one,
    # which has pushed something else than this one.
    where = _place_of(task_instance)
    return all(_xcom_class().get_one(key=key, **where) in (None, value) for key, value in xcom.items())


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


def count(what: str) -> None:
    """Add one to a counter of Airflow's own metrics, below ``mage``."""
    _tell_metrics("incr", what)


def measure(what: str, seconds: float) -> None:
    """Tell Airflow's own metrics how long something took."""
    # What a number means there depends on a setting of Airflow 2.11's; a timedelta means the same.
    _tell_metrics("timing", what, timedelta(seconds=seconds))


def _tell_metrics(kind: str, what: str, *value: Any) -> None:
    try:
        from airflow.providers.common.compat.sdk import Stats

        getattr(Stats, kind)(f"mage.{what}", *value)
    except Exception as error:  # noqa: BLE001  a number that nobody gets is no reason to fail
        log.debug("Airflow's metrics do not take %s. %s", what, error)


def read_xcom(trigger: BaseTrigger, key: str) -> Any:
    """Return what the waiting task has stored under a key, in a thread of a triggerer; None if nothing."""
    where = _xcom_of(trigger)
    try:
        return _xcom_class().get_one(key=key, **where) if where else None
    except Exception as error:  # noqa: BLE001  whatever it is
        log.debug("The XCom %s cannot be read. %s", key, error)
        return None


def write_xcom(trigger: BaseTrigger, key: str, value: Any) -> None:
    """Store something for the waiting task under a key, in a thread of a triggerer, if that is possible."""
    where = _xcom_of(trigger)
    try:
        if where:
            _xcom_class().set(key=key, value=value, **where)
    except Exception as error:  # noqa: BLE001  whatever it is
        log.debug("The XCom %s cannot be stored. %s", key, error)


def _xcom_class() -> Any:
    try:
        from airflow.sdk.execution_time.xcom import XCom
    except ImportError:
        from airflow.models.xcom import XCom  # type: ignore[no-redef]
    return XCom


def _xcom_of(trigger: BaseTrigger) -> dict[str, Any]:
    ti = getattr(trigger, "task_instance", None)
    return {} if ti is None else _place_of(ti)


def _place_of(ti: Any) -> dict[str, Any]:
    map_index = -1 if ti.map_index is None else ti.map_index
    return {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": map_index}


def read_xcom_of(ti: Any, task_id: str, key: str) -> Any:
    """Return, in a task, what is stored with a task of the same DAG run and map index; None if nothing is."""
    return _xcom_class().get_one(key=key, **{**_place_of(ti), "task_id": task_id})


def write_xcom_of(ti: Any, task_id: str, key: str, value: Any) -> None:
    """
    Store something, in a task, with a task of the same DAG run and map index.

    Airflow deletes it when that task is executed again (observed on 2.11.2, 3.2.2 and 3.3.2).
    """
    _xcom_class().set(key=key, value=value, **{**_place_of(ti), "task_id": task_id})


def states_of_tasks(ti: Any, task_ids: Collection[str]) -> dict[str, str | None]:
    """Return, in a task, the states of tasks of its DAG run and map index; None for one that is to run."""
    found = _states_of_tasks(ti, task_ids)
    # On 2.11 a member of an enum, on 3.x a text.
    texts = {task_id: getattr(state, "value", state) for task_id, state in found.items()}
    return {task_id: texts.get(task_id) for task_id in task_ids}


def _states_of_tasks(ti: Any, task_ids: Collection[str]) -> Mapping[str, Any]:
    try:
        return _states_from_supervisor(ti, task_ids)
    except ImportError:
        return _states_from_database(ti, task_ids)


def _states_from_supervisor(ti: Any, task_ids: Collection[str]) -> Mapping[str, Any]:
    """Ask as one does on Airflow 3; elsewhere, that is an ImportError."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    map_index = _place_of(ti)["map_index"]
    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=list(task_ids), run_ids=[ti.run_id], map_index=map_index
    ).get(ti.run_id, {})
    # The name of a mapped task has its index behind it.
    suffix = "" if map_index < 0 else f"_{map_index}"
    return {task_id: states.get(f"{task_id}{suffix}") for task_id in task_ids}


def _states_from_database(ti: Any, task_ids: Collection[str]) -> Mapping[str, Any]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.query(TaskInstance.task_id, TaskInstance.state).filter(
            TaskInstance.dag_id == ti.dag_id,
            TaskInstance.run_id == ti.run_id,
            TaskInstance.map_index == _place_of(ti)["map_index"],
            TaskInstance.task_id.in_(list(task_ids)),
        )
        return dict(rows.all())


def read_variable(key: str) -> str | None:
    """Return the text of an Airflow Variable; None if there is none."""
    from airflow.providers.common.compat.sdk import Variable

    name = "default_var" if "default_var" in inspect.signature(Variable.get).parameters else "default"
    default: dict[str, Any] = {name: None}
    text: str | None = Variable.get(key, **default)
    return text


def write_variable(key: str, value: str | None, description: str = "") -> None:
    """Store the text of an Airflow Variable, or, if it is None, delete that."""
    from airflow.providers.common.compat.sdk import Variable

    if value is None:
        Variable.delete(key)
    else:
        Variable.set(key, value, description=description)


def is_dag_run_active(dag_id: str, run_id: str) -> bool:
    """Tell, in a task, whether a DAG run is queued or running; False also if it was deleted."""
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
