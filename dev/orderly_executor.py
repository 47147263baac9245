"""Airflow's LocalExecutor, in which a task that is due again waits for the end of its former process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload
    from airflow.executors.workloads.types import WorkloadKey, WorkloadState

ENDS = ("success", "failed")


class OrderlyExecutor(LocalExecutor):
    """
    Keeps one process of an attempt at a time.

    A deferred or rescheduled task goes on within the same attempt, so both of its processes have one key.
    When Airflow 3.3 hears of the end of the first while the second is queued or runs, it takes that for the
    end of the second and fails the task (apache/airflow#71172, #72716). That happens to whatever task is due
    again at once, sooner on a busy machine, and proves nothing about the operators that are tested here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._at_work: set[WorkloadKey] = set()

    def _get_workloads_to_schedule(self, open_slots: int) -> list[tuple[WorkloadKey, ExecutorWorkload]]:
        # what is left out here stays queued
        due = [
            (key, workload)
            for key, workload in super()._get_workloads_to_schedule(open_slots)
            if key not in self._at_work
        ]
        self._at_work.update(key for key, _ in due)
        return due

    def change_state(
        self, key: WorkloadKey, state: WorkloadState, info: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """
        Take note of what an attempt's process has come to.

        :param key: whose process
        :param state: what it is in
        :param info: more about it
        :param args: left to Airflow
        :param kwargs: left to Airflow
        """
        if state in ENDS:
            self._at_work.discard(key)
        super().change_state(key, state, info, *args, **kwargs)
