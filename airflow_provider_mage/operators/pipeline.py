"""The operator that runs a pipeline."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import conf

from airflow_provider_mage._arguments import (
    read_choice,
    read_count,
    read_datetime,
    read_id,
    read_name,
    read_optional_name,
    read_seconds,
    read_switch,
    read_switch_or,
)
from airflow_provider_mage._compat import count, measure
from airflow_provider_mage._runs.changes import describe_end
from airflow_provider_mage._runs.identity import Claim
from airflow_provider_mage._runs.log_stream import LOG_CURSOR, LogStream
from airflow_provider_mage._runs.outputs import USUAL_BYTES, read_output
from airflow_provider_mage._runs.report import KILLED_REASON, failure_of
from airflow_provider_mage._runs.rules import ON_FAILURE, ON_STALL, USUAL_LINES, RunRules
from airflow_provider_mage._runs.schedule import DEFAULT_NAME, schedule_for
from airflow_provider_mage._runs.stall import StallMemory
from airflow_provider_mage._runs.start import RunRequest, obtain_run
from airflow_provider_mage._runs.variables import run_variables
from airflow_provider_mage._runs.watch import RunWatch, act
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage._waiting.drive import wait
from airflow_provider_mage.api.errors import MagePipelineRunFailed, StalledError
from airflow_provider_mage.api.retries import ONCE, RetryPolicy
from airflow_provider_mage.links import (
    PIPELINE_RUN_ID,
    PIPELINE_RUN_URL,
    PIPELINE_URL,
    RUN_LINKS,
    tell_failure,
)
from airflow_provider_mage.operators.base import MageOperator
from airflow_provider_mage.operators.cancel import MageCancelPipelineRunOperator
from airflow_provider_mage.operators.killable import KillableRunOperator
from airflow_provider_mage.triggers.event import read_event

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

# The second one by its public name.
__all__ = ["MageCancelPipelineRunOperator", "MageTriggerPipelineOperator"]


class MageTriggerPipelineOperator(KillableRunOperator):
    """
    Runs a Mage pipeline, and is green only if Mage says ``completed``.

    Pushes ``pipeline_run_id`` and ``pipeline_run_url`` to XCom before it waits, and returns the run's id, or
    what ``output_block`` has returned.

    :param pipeline_uuid: The pipeline. (templated)
    :param variables: What the run's blocks get, by name: JSON, dates, and the output of mapped tasks. Every
        run also gets ``airflow``, which says which task started it, and the DAG run's data interval, if it
        has a length, as ``interval_start_datetime`` and ``interval_end_datetime``. (templated)
    :param pipeline_schedule_id: The pipeline schedule (Mage's UI: trigger) to run under. (templated)
    :param pipeline_schedule_name: Its name, if no id is given. The default one, ``airflow``, is created once,
        as an active one of type ``api``, if the pipeline has none of that name; any other has to exist.
        (templated)
    :param execution_date: What Mage shows the blocks as ``execution_date``, ``ds`` and ``hr``: a date or its
        ISO form; by default the time of the start. Two runs of one schedule with one date overwrite each
        other's outputs. (templated)
    :param wait_for_completion: Whether the task lasts as long as the run; otherwise it ends with the run's
        start.
    :param deferrable: Whether the triggerer waits, so that the wait takes up no worker; by default as
        Airflow's configuration says (``[operators] default_deferrable``).
    :param poll_interval: The longest pause between two looks at the run, in seconds or as a timedelta, like
        all times here.
    :param timeout: How long to wait before the task fails; by default only ``execution_timeout`` limits it.
    :param durable: Whether a retry goes on with the run of the attempt before: reattaches to it if it is
        active, and takes it as the result if it has completed. A task that a person clears always starts a
        new run.
    :param retry_from_failure: Whether a retry after a failed run repairs that very run, from the blocks that
        did not complete, instead of starting a new one. A run that was cancelled is never repaired.
    :param cancel_on_kill: Whether the run is cancelled when the task is killed, cleared, marked, or runs out
        of time.
    :param max_unreachable: How long Mage may be out of reach before the task fails, from its start on; a run
        is left alone then.
    :param stall_timeout: How long nothing may change, with no block running, before a run counts as
        stalled. Of many deferred tasks, each notices it later: by up to half a minute for every 40 of them.
    :param on_stall: What to do about a run that does not go on. ``repair`` makes Mage find a job that it has
        lost, after a minute and without touching any block, fails and cancels a run one of whose blocks has
        died three times, and otherwise warns in the log and goes on waiting. ``warn`` does only the latter,
        ``fail`` fails and cancels whatever has stalled. A run whose pipeline or pipeline schedule was deleted
        fails in any case.
    :param stream_logs: Whether what the blocks write into Mage's log is told in the task's log while they
        run. ``on_failure`` tells the last lines of a block that has failed, False nothing but why.
    :param max_log_lines: The most lines of that.
    :param output_block: A block whose output is the task's result instead of the run's id. A table comes as a
        list of records, one of a single row as that record (:mod:`airflow_provider_mage.api.outputs`).
        (templated)
    :param max_output_bytes: The most bytes that it may have as JSON; more is an error.
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = (
        "pipeline_uuid",
        "variables",
        "pipeline_schedule_id",
        "pipeline_schedule_name",
        "execution_date",
        "output_block",
        *MageOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"variables": "json"}
    operator_extra_links = RUN_LINKS

    def __init__(
        self,
        *,
        pipeline_uuid: str,
        variables: Mapping[str, Any] | None = None,
        pipeline_schedule_id: int | str | None = None,
        pipeline_schedule_name: str = DEFAULT_NAME,
        execution_date: datetime | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 10.0,
        timeout: float | timedelta | None = None,
        durable: bool = True,
        retry_from_failure: bool = False,
        cancel_on_kill: bool = True,
        max_unreachable: float | timedelta = 600.0,
        stall_timeout: float | timedelta = 300.0,
        on_stall: str = "repair",
        stream_logs: bool | str = ON_FAILURE,
        max_log_lines: int = USUAL_LINES,
        output_block: str | None = None,
        max_output_bytes: int = USUAL_BYTES,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            durable=read_switch(durable, "durable"),
            cancel_on_kill=read_switch(cancel_on_kill, "cancel_on_kill"),
            timeout=None if timeout is None else read_seconds(timeout, "timeout"),
            **kwargs,
        )
        self.pipeline_uuid = pipeline_uuid
        self.variables = variables
        self.pipeline_schedule_id = pipeline_schedule_id
        self.pipeline_schedule_name = pipeline_schedule_name
        self.execution_date = execution_date
        self.wait_for_completion = read_switch(wait_for_completion, "wait_for_completion")
        self.deferrable = read_switch(deferrable, "deferrable")
        self.poll_interval = read_seconds(poll_interval, "poll_interval")
        self.retry_from_failure = read_switch(retry_from_failure, "retry_from_failure")
        self.max_unreachable = read_seconds(max_unreachable, "max_unreachable", least=0.0)
        self.stall_timeout = read_seconds(stall_timeout, "stall_timeout")
        self.on_stall = read_choice(on_stall, "on_stall", ON_STALL)
        self.stream_logs = read_switch_or(stream_logs, "stream_logs", ON_FAILURE)
        self.max_log_lines = read_count(max_log_lines, "max_log_lines") or USUAL_LINES
        self.output_block = output_block
        self.max_output_bytes = read_count(max_output_bytes, "max_output_bytes") or USUAL_BYTES

    def execute(self, context: Context) -> Any:
        """Obtain the run that stands for this task, and wait for its end."""
        rules = self._rules(None)  # which may be wrong: so before anything is sent
        client = self.client.with_retries(RetryPolicy(self.max_unreachable))
        self._request = self._make_request(context, client)
        obtained = obtain_run(client, self._request, retry_from_failure=self.retry_from_failure)
        count(f"run.{obtained.how}")
        run, self._claim = obtained.run, obtained.claim
        self._pipeline_run_id = run.id
        self.on_obtained(context, client, run)
        if self.wait_for_completion:
            if self.timeout is not None:
                rules = replace(rules, deadline=client.clock.time() + self.timeout)
            if self.deferrable and not run.status.is_terminal:
                if rules.stream_logs is True:
                    # Airflow 3 would log an error if the triggerer looked for one that is not there.
                    context["ti"].xcom_push(key=LOG_CURSOR, value={})
                self._defer(run, rules)
            self._wait(run, rules, context)
        return self._result(run.id)

    def on_obtained(self, context: Context, client: MageClient, run: PipelineRun) -> None:
        """Say which run it is, before anything else is done about it."""
        pipeline_uuid = read_name(self.pipeline_uuid, "pipeline_uuid")
        url = client.pipeline_run_url(pipeline_uuid, run.id)
        context["ti"].xcom_push(key=PIPELINE_RUN_ID, value=run.id)
        context["ti"].xcom_push(key=PIPELINE_RUN_URL, value=url)
        context["ti"].xcom_push(key=PIPELINE_URL, value=client.pipeline_url(pipeline_uuid))
        self.log.info("Run %s of pipeline %s: %s", run.id, pipeline_uuid, url)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        deadline: float | None = None,
        claim: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """Go on after the trigger has waited, with what the deferral has stored; return the task's result."""
        self._claim = Claim.from_dict(claim)
        self._pipeline_run_id, failure = read_event(event, "pipeline_run_id")
        if isinstance(failure, (TimeoutError, StalledError)):
            raise self._give_up(failure)
        if failure:
            self._fail(failure, context)
        if "status" in event:
            said = event.get("outcome", f"Run {self._pipeline_run_id} {event['status']}")
            self.log.info("%s.", said)
            count("run.completed")
            return self._result(self._pipeline_run_id)
        # A trigger of version 0.1.0 does not say how the run has ended.
        client = self.client.with_retries(RetryPolicy(self.max_unreachable))
        run = client.get_pipeline_run(self._pipeline_run_id)
        if not run.status.is_terminal:
            self._defer(run, self._rules(deadline))
        self._judge(run, context, old_errors=None)
        return self._result(run.id)

    def _rules(self, deadline: float | None) -> RunRules:
        # Each option is an argument of the operator's under the same name.
        return RunRules.from_dict({**vars(self), "deadline": deadline})

    def _make_request(self, context: Context, client: MageClient) -> RunRequest:
        # All that is templated is read here, before anything is sent.
        if read_optional_name(self.output_block, "output_block") and not self.wait_for_completion:
            raise ValueError("`output_block` needs `wait_for_completion`: only a run that is over has one.")
        pipeline_uuid = read_name(self.pipeline_uuid, "pipeline_uuid")
        schedule_id = read_id(self.pipeline_schedule_id, "pipeline_schedule_id")
        name = DEFAULT_NAME
        if schedule_id is None:
            name = read_name(self.pipeline_schedule_name, "pipeline_schedule_name")
        execution_date = read_datetime(self.execution_date, "execution_date")
        identity = self._identity(context)
        variables = run_variables(
            self.variables,
            identity,
            interval_start=context.get("data_interval_start"),
            interval_end=context.get("data_interval_end"),
        )
        schedule = schedule_for(client, pipeline_uuid, pipeline_schedule_id=schedule_id, name=name)
        return RunRequest(schedule.id, identity, variables, execution_date, pipeline_uuid)

    def _defer(self, run: PipelineRun, rules: RunRules) -> None:
        from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger

        claim = self._claim.to_dict() if self._claim else None
        self.defer(
            trigger=MagePipelineRunTrigger(
                read_name(self.mage_conn_id, "mage_conn_id"),
                run.id,
                **asdict(rules),
                cancel_on_kill=self.cancel_on_kill,
                created_after=run.created_at.timestamp() if run.created_at else None,
                claim=claim,
            ),
            method_name="execute_complete",
            kwargs={"deadline": rules.deadline, "claim": claim},
            # Airflow 3.3 enforces a deferred task's execution_timeout only if it is told so here (observed).
            timeout=self.execution_timeout,
        )

    def _wait(self, run: PipelineRun, rules: RunRules, context: Context) -> None:
        client, memory = self.client.with_retries(ONCE), StallMemory()
        logs = LogStream(rules.max_log_lines) if rules.stream_logs is True else None
        ask, watch = Connected(self.reconnect, client).ask, RunWatch(run.id, rules, self._claim, logs)
        began = client.clock.monotonic()
        try:
            run = wait(
                watch,
                look=lambda: ask(lambda client: client.get_pipeline_run(run.id)),
                act=lambda step: ask(lambda client: act(client, step, memory)),
                clock=client.clock,
                first=run,
            )
        except (TimeoutError, StalledError) as error:
            raise self._give_up(error) from None  # which says all that this one says
        measure("run.wait", client.clock.monotonic() - began)
        if logs is not None:
            logs.close(client.log_url(run.pipeline_uuid, run.id))
        self._judge(run, context, old_errors=watch.old_errors)

    def _judge(self, run: PipelineRun, context: Context, *, old_errors: Collection[int] | None) -> None:
        client = self.client.with_retries(ONCE)
        failure = failure_of(
            run,
            client.pipeline_run_url(read_name(self.pipeline_uuid, "pipeline_uuid"), run.id),
            client,
            old_errors=old_errors,
            reason=KILLED_REASON if self._is_killed else "",
            last_lines=self._rules(None).last_log_lines,
        )
        if failure:
            self._fail(failure, context)
        self.log.info("%s.", describe_end(run))
        count("run.completed")

    def _result(self, pipeline_run_id: int | None) -> Any:
        block_uuid = read_optional_name(self.output_block, "output_block")
        if block_uuid is None or pipeline_run_id is None:
            return pipeline_run_id
        client = self.client.with_retries(RetryPolicy(self.max_unreachable))
        return read_output(client, pipeline_run_id, block_uuid, self.max_output_bytes)

    def _fail(self, failure: Exception, context: Context) -> NoReturn:
        if isinstance(failure, MagePipelineRunFailed):
            count("run.failed")
        tell_failure(context["ti"], failure)
        raise failure
