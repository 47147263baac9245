"""An operator that switches pipeline schedules on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_mage._arguments import read_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineSchedule

STATUSES = ("active", "inactive")


class MagePipelineScheduleOperator(BaseOperator):
    """
    Activates or deactivates a pipeline schedule (Mage's UI: trigger). Nothing is sent if it is so already.

    Runs of an inactive schedule that wait to be started stay ``initial``; those that run go on. Returns the
    schedule's id.

    :param status: ``active`` or ``inactive``. (templated)
    :param pipeline_schedule_id: The pipeline schedule. (templated)
    :param pipeline_uuid: Its pipeline, if it is given by name. (templated)
    :param pipeline_schedule_name: Its name; it must be the only one of that name. (templated)
    :param mage_conn_id: The Airflow connection. (templated)
    :param kwargs: Those of every operator.
    """

    template_fields: Sequence[str] = (
        "status",
        "pipeline_schedule_id",
        "pipeline_uuid",
        "pipeline_schedule_name",
        "mage_conn_id",
    )
    ui_color = "#e8e0ff"

    def __init__(
        self,
        *,
        status: str,
        pipeline_schedule_id: int | str | None = None,
        pipeline_uuid: str | None = None,
        pipeline_schedule_name: str | None = None,
        mage_conn_id: str = "mage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.pipeline_schedule_id = pipeline_schedule_id
        self.pipeline_uuid = pipeline_uuid
        self.pipeline_schedule_name = pipeline_schedule_name
        self.mage_conn_id = mage_conn_id

    def execute(self, context: Context) -> int:  # noqa: ARG002  # Airflow's signature
        """Find the schedule and give it the status."""
        from airflow_provider_mage.hooks.mage import MageHook

        if self.status not in STATUSES:
            raise ValueError(f"`status` must be {' or '.join(STATUSES)}, not {self.status!r}.")
        client = MageHook(self.mage_conn_id).client
        schedule = self._find(client)
        name = f"Pipeline schedule {schedule.id} ({schedule.name!r}) of pipeline {schedule.pipeline_uuid}"
        if schedule.status == self.status:
            self.log.info("%s is %s already: nothing to do.", name, self.status)
        else:
            changed = client.update_pipeline_schedule(schedule.id, status=self.status)
            self.log.info("%s was %s and is %s.", name, schedule.status, changed.status)
        return schedule.id

    def _find(self, client: MageClient) -> PipelineSchedule:
        schedule_id = read_id(self.pipeline_schedule_id, "pipeline_schedule_id")
        if schedule_id is not None:
            return client.get_pipeline_schedule(schedule_id)
        if not (self.pipeline_uuid and self.pipeline_schedule_name):
            raise ValueError(
                "Give `pipeline_schedule_id`, or both `pipeline_uuid` and `pipeline_schedule_name`."
            )
        schedules = client.list_pipeline_schedules(self.pipeline_uuid)
        found = [schedule for schedule in schedules if schedule.name == self.pipeline_schedule_name]
        if len(found) != 1:
            raise ValueError(
                f"Pipeline {self.pipeline_uuid!r} has {len(found)} schedules named "
                f"{self.pipeline_schedule_name!r}: give `pipeline_schedule_id`."
            )
        return found[0]
