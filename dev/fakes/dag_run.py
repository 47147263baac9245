"""What Airflow does with the tasks of one DAG run, in this process: order, attempts and clears."""

from __future__ import annotations

import copy
import random
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_mage import _compat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_mage.api.client import MageClient

OVER = ("success", "failed", "upstream_failed", "skipped")
RED = ("failed", "upstream_failed")


class Clock:
    """
    A time that passes only when somebody sleeps.

    :param on_second: Called for every second of it.
    """

    def __init__(self, on_second: Callable[[], object]) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
        self._on_second = on_second

    def time(self) -> float:
        """Return seconds since the epoch."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while (second := float(int(self.now) + 1)) <= until:
            self.now = second
            self._on_second()
        self.now = until

    def utc(self) -> datetime:
        """Return the time in UTC and without a zone, as the fake Mage has it."""
        return datetime(1970, 1, 1) + timedelta(seconds=self.now)  # noqa: DTZ001


class TaskInstance:
    """One task of the DAG run."""

    def __init__(self, dag_run: DagRun, operator: Any) -> None:
        self.dag_id, self.run_id, self.map_index = "groups", "manual", -1
        self.task_id = operator.task_id
        self.operator = operator
        self.dag_run = dag_run
        self.state: str | None = None
        self.try_number = 0
        self.max_tries = operator.retries or 0
        self.xcoms: dict[str, Any] = {}
        self.errors: list[Exception] = []
        """Why each attempt failed that did."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.xcoms[key] = value

    def execute(self) -> None:
        """Make one attempt, with an operator of its own, as each is a process of its own in Airflow."""
        self.xcoms.clear()
        self.state = "running"
        self.try_number += 1
        operator = copy.copy(self.operator)
        operator.__dict__["hook"] = SimpleNamespace(client=self.dag_run.client)
        started_at = datetime(2026, 1, 1, tzinfo=timezone.utc)
        try:
            operator.execute({"ti": self, "dag_run": SimpleNamespace(start_date=started_at)})
        except AirflowSkipException:
            self.state = "skipped"
        except Exception as error:  # noqa: BLE001  as Airflow
            self.errors.append(error)
            is_last = isinstance(error, AirflowFailException) or self.try_number > self.max_tries
            self.state = "failed" if is_last else "up_for_retry"
        else:
            self.state = "success"


class DagRun:
    """
    One DAG run, whose tasks run one after the other, in an order that chance decides.

    :param dag: The DAG.
    :param client: Whose time is a :class:`Clock`'s.
    :param clears_setups: Whether a clear takes setups, and what is after them, along, as Airflow 2.11 and 3.3
        do, and 3.2 does not for tasks without what is downstream of them (observed).
    :param seed: Of chance.
    """

    def __init__(self, dag: DAG, client: MageClient, *, clears_setups: bool = True, seed: int = 0) -> None:
        self.client = client
        self._clears_setups = clears_setups
        self._random = random.Random(seed)  # noqa: S311
        self.tasks = {task.task_id: TaskInstance(self, task) for task in dag.tasks}

    @property
    def states(self) -> dict[str, str | None]:
        """The tasks' states."""
        return {task_id: task.state for task_id, task in self.tasks.items()}

    @property
    def state(self) -> str:
        """The state of the DAG run when all is over: that of its last tasks, teardowns left out as a rule."""
        is_red = any(task.state in RED for task in self.tasks.values() if self._is_leaf(task.operator))
        return "failed" if is_red else "success"

    def _is_leaf(self, operator: Any) -> bool:
        def counts(one: Any) -> bool:
            return not one.is_teardown or one.on_failure_fail_dagrun

        return counts(operator) and not any(map(counts, operator.downstream_list))

    def step(self) -> bool:
        """Run one task that is due; return whether there was one."""
        while True:
            before = self.states
            due = [task for task in self.tasks.values() if self._is_due(task)]
            if due or self.states == before:
                break
        if not due:
            return False
        self._random.choice(due).execute()
        self.client.clock.sleep(self._random.choice((0, 1, 3)))
        return True

    def run(self) -> dict[str, str | None]:
        """Run all tasks that are due, and return all states."""
        while self.step():
            pass
        return self.states

    def clear(self, *task_ids: str, downstream: bool = False) -> None:
        """Let a person clear tasks."""
        cleared = set(task_ids)
        for task_id in task_ids:
            operator = self.tasks[task_id].operator
            if downstream:
                cleared |= operator.get_flat_relative_ids(upstream=False)
            if downstream or self._clears_setups:
                setups = [one for one in operator.get_flat_relatives(upstream=True) if one.is_setup]
                for setup in setups:
                    cleared |= {
                        setup.task_id,
                        *(one for one in setup.downstream_task_ids if self._is_teardown(one)),
                    }
        for task_id in cleared:
            task = self.tasks[task_id]
            if task.state is not None:
                task.state = None
                task.max_tries = task.try_number + (task.operator.retries or 0)

    def _is_teardown(self, task_id: str) -> bool:
        return bool(self.tasks[task_id].operator.is_teardown)

    def _is_due(self, task: TaskInstance) -> bool:
        if task.state not in (None, "up_for_retry"):
            return False
        if not task.operator.is_teardown:
            # Also where they are not right before it (observed).
            setups = [self.tasks[one.task_id].state for one in task.operator.get_upstreams_only_setups()]
            if any(state in RED for state in setups):
                task.state = "upstream_failed"
            elif "skipped" in setups:
                task.state = "skipped"
            if any(state != "success" for state in setups):
                return False
        if task.state == "up_for_retry":
            return True
        before = [self.tasks[task_id].state for task_id in task.operator.upstream_task_ids]
        if any(state not in OVER for state in before):
            return False
        rule = getattr(task.operator.trigger_rule, "value", task.operator.trigger_rule)
        if rule != "all_done" and any(state in RED for state in before):
            task.state = "upstream_failed"
        elif rule == "all_success" and "skipped" in before:
            task.state = "skipped"
        # What follows from that is seen in the next round.
        return task.state is None

    @contextmanager
    def airflow(self, patch: Any) -> Iterator[None]:
        """
        Be the Airflow that its tasks ask.

        :param patch: pytest's.
        """
        dag_run = self

        class XCom:
            @staticmethod
            def get_one(key: str, task_id: str, **_: Any) -> Any:
                return dag_run.tasks[task_id].xcoms.get(key)

            @staticmethod
            def set(key: str, value: Any, task_id: str, **_: Any) -> None:
                dag_run.tasks[task_id].xcoms[key] = value

        def states(_: Any, task_ids: Sequence[str]) -> dict[str, str | None]:
            return {task_id: dag_run.tasks[task_id].state for task_id in task_ids}

        with patch.context() as within:
            within.setattr(_compat, "_xcom_class", lambda: XCom)
            within.setattr(_compat, "_states_of_tasks", states)
            yield
