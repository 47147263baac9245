"""What a task that stands for a run does when it is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import get_current_context

from airflow_provider_mage._compat import count, is_deferral_timeout
from airflow_provider_mage._runs.cancel import cancel_run, describe_fate
from airflow_provider_mage._runs.duplicates import cancel_duplicates
from airflow_provider_mage._runs.identity import Claim, RunIdentity
from airflow_provider_mage._runs.start import runs_left_behind
from airflow_provider_mage.api.errors import StalledError
from airflow_provider_mage.api.models import PipelineRunStatus
from airflow_provider_mage.api.retries import KILLED
from airflow_provider_mage.links import PIPELINE_RUN_ID
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._runs.start import RunRequest
    from airflow_provider_mage.api.client import MageClient


class KillableRunOperator(MageOperator):
    """
    A task that stands for one run, and leaves nothing behind on any of the ways in which Airflow may end it.

    :param durable: Whether the attempts of the task share a run.
    :param cancel_on_kill: Whether the run is cancelled when the task is killed, cleared, marked, or runs out
        of time.
    :param timeout: How long to wait for the run.
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    def __init__(self, *, durable: bool, cancel_on_kill: bool, timeout: float | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.timeout = timeout
        self._request: RunRequest | None = None
        self._pipeline_run_id: int | None = None
        self._claim: Claim | None = None
        self._is_killed = False

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Cancel the run if the deferral took too long, of which Airflow tells us in no other way."""
        if not is_deferral_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        fate = self._cancel()
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            limit = self.execution_timeout
            seconds = f" of {limit.total_seconds():g} s" if limit else ""
            raise type(error)(f"The execution_timeout{seconds} is over; {fate}.") from error

    def on_kill(self) -> None:
        """Cancel the run, also one that was asked for but not answered yet."""
        self._is_killed = True
        self.log.info("This task was killed; %s.", self._cancel())

    def _cancel(self) -> str:
        """Cancel the run if the author wishes, and say, after a semicolon, what has become of it."""
        subject = "its run" if self._pipeline_run_id is None else f"run {self._pipeline_run_id}"
        if not self.cancel_on_kill:
            return f"{subject} was left alone, as `cancel_on_kill` says"
        fates = []
        try:
            client = self.client.with_retries(KILLED)
            # Airflow 3 gives a task 5 s to end. A server that is slow to answer is told at once: what it has
            # got it will do. Whose run it is, this instance knows if it has obtained it itself.
            unsure = self._claim if self._request is None else None
            for pipeline_run_id in self._runs_to_cancel(client):
                status = cancel_run(client, pipeline_run_id, unsure)
                if status is PipelineRunStatus.CANCELLED:
                    count("run.cancelled")
                fates.append(describe_fate(pipeline_run_id, status))
                if self._claim is not None and self._claim.checks_at:
                    cancel_duplicates(client, pipeline_run_id, self._claim)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not hide why the task was killed
            self.log.warning("Cannot look for the task's run; it may still be running. %s", error)
            return f"{subject} could not be looked for, and may still be going on: see the log"
        return " and ".join(fates) or "no run of it was found"

    def _give_up(self, error: Exception) -> Exception:
        """Cancel the run, and return the error that says so, of the same kind as why it is given up."""
        fate = self._cancel()
        if isinstance(error, TimeoutError):
            over = "The time is over" if self.timeout is None else f"{self.timeout:g} s are over"
            return TimeoutError(f"{over}; {fate}. Last seen: {str(error).removeprefix('Timed out: ')}")
        return StalledError(f"{error} {fate[:1].upper()}{fate[1:]}.")

    def _runs_to_cancel(self, client: MageClient) -> list[int]:
        if self._pipeline_run_id is not None:
            return [self._pipeline_run_id]
        if self._request is not None:
            return [run.id for run in runs_left_behind(client, self._request, patience=KILLED.retry_for)]
        # Resumed only to be killed: this instance has never seen its run.
        context = get_current_context()
        ti = context["ti"]
        self._claim = Claim(self._identity(context))
        pipeline_run_id = ti.xcom_pull(task_ids=ti.task_id, key=PIPELINE_RUN_ID, map_indexes=ti.map_index)
        return [] if pipeline_run_id is None else [int(pipeline_run_id)]

    def _identity(self, context: Context) -> RunIdentity:
        return RunIdentity.from_context(context, retries=self.retries or 0, is_durable=self.durable)
