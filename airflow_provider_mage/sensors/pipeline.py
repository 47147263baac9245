"""A sensor that waits for a pipeline run."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import read_name, require_id
from airflow_provider_mage._runs.changes import Changes, describe_end
from airflow_provider_mage._runs.report import failure_of
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage.api.errors import MageError, MagePipelineRunFailed
from airflow_provider_mage.api.retries import ONCE
from airflow_provider_mage.links import PIPELINE_RUN_URL, PIPELINE_URL, RUN_LINKS, tell_failure
from airflow_provider_mage.sensors.deferrable import DeferrableSensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.hooks.mage import MageHook


class MagePipelineRunSensor(DeferrableSensor):
    """
    Waits until a pipeline run is over, and succeeds only if Mage says ``completed``.

    A Mage that cannot be reached for a while is not a failed run: the sensor says so in its log and looks
    again, for as long as its ``timeout`` allows. ``soft_fail`` skips the task when that time is over,
    ``never_fail`` on any failure, in every mode alike.

    :param pipeline_run_id: The run, for instance from the XCom of a
        :class:`~airflow_provider_mage.operators.pipeline.MageTriggerPipelineOperator`. (templated)
    :param mage_conn_id: The Airflow connection. (templated)
    :param kwargs: ``deferrable``, as in :class:`~airflow_provider_mage.sensors.deferrable.DeferrableSensor`,
        and those of every sensor.
    """

    template_fields: Sequence[str] = ("pipeline_run_id", "mage_conn_id")
    operator_extra_links = RUN_LINKS
    ui_color = "#e8e0ff"

    def __init__(
        self,
        pipeline_run_id: int | str,
        *,
        mage_conn_id: str = "mage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_run_id = pipeline_run_id
        self.mage_conn_id = mage_conn_id
        self._created_at: datetime | None = None
        self._changes: Changes | None = None

    @cached_property
    def hook(self) -> MageHook:
        """The connection to Mage."""
        from airflow_provider_mage.hooks.mage import MageHook

        return MageHook(read_name(self.mage_conn_id, "mage_conn_id"))

    @cached_property
    def _connected(self) -> Connected[MageClient]:
        return Connected(self._connect)

    def _connect(self) -> MageClient:
        self.__dict__.pop("hook", None)  # the connection may have changed
        return self.hook.client.with_retries(ONCE)

    def poke(self, context: Context) -> bool:
        """Look at the run once."""
        try:
            return self._look(context)
        except MageError as error:
            if not error.may_pass:
                raise
            self.log.warning(
                "Cannot reach Mage; the state of run %s is unknown. Retrying. %s", self.pipeline_run_id, error
            )
            return False

    def execute_complete(self, context: Context, event: Any = None, deadline: float | None = None) -> None:
        """Go on after the trigger has waited, until the ``deadline``, as in ``time.time()``."""
        try:
            pipeline_run_id = self._read_event(event, "pipeline_run_id")
        except MagePipelineRunFailed as failure:
            tell_failure(context["ti"], failure)
            raise
        # A trigger of version 0.1.0 does not say how the run has ended.
        if "status" in event:
            self.log.info("%s.", event.get("outcome", f"Run {pipeline_run_id} completed"))
        elif not self._look(context):
            self._defer(deadline)

    def _look(self, context: Context) -> bool:
        pipeline_run_id = require_id(self.pipeline_run_id, "pipeline_run_id")
        run = self._connected.ask(lambda client: client.get_pipeline_run(pipeline_run_id))
        # By Mage's clock: the feed of ended runs need not go back any further.
        self._created_at = run.created_at
        url = self.hook.client.pipeline_run_url(run.pipeline_uuid, run.id)
        if self._changes is None:
            self._changes = Changes()
            context["ti"].xcom_push(key=PIPELINE_RUN_URL, value=url)
            if run.pipeline_uuid:
                pipeline_url = self.hook.client.pipeline_url(run.pipeline_uuid)
                context["ti"].xcom_push(key=PIPELINE_URL, value=pipeline_url)
            self.log.info("%s: %s", run.name, url)
        for line in self._changes.see(run, time.time()):
            self.log.info("%s", line)
        if not run.status.is_terminal:
            return False
        # Nobody here has watched the run from its start.
        failure = self._connected.ask(lambda client: failure_of(run, url, client, old_errors=None))
        if failure:
            tell_failure(context["ti"], failure)
            raise failure
        self.log.info("%s.", describe_end(run))
        return True

    def _defer(self, deadline: float | None) -> None:
        from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger

        self.defer(
            trigger=MagePipelineRunTrigger(
                read_name(self.mage_conn_id, "mage_conn_id"),
                require_id(self.pipeline_run_id, "pipeline_run_id"),
                float(self.poke_interval),
                deadline=deadline,
                # As in poke mode, only the sensor's own time-out ends a wait for a Mage that is out of reach.
                max_unreachable=float(self.timeout),
                # It is somebody else's run, and nothing is done about it in the other modes either.
                on_stall="warn",
                cancel_on_kill=False,
                created_after=self._created_at.timestamp() if self._created_at else None,
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline},
            timeout=self.execution_timeout,
        )
