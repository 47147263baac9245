"""An operator that switches pipeline schedules on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import read_choice, read_id, read_name
from airflow_provider_mage.links import PIPELINE_URL, MagePipelineLink
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.models import PipelineSchedule

STATUSES = ("active", "inactive")


class MagePipelineScheduleOperator(MageOperator):
    """
    Activates or deactivates a pipeline schedule (Mage's UI: trigger). Nothing is sent if it is so already.

    Runs of an inactive schedule that wait to be started stay ``initial``; those that run go on. Returns the
    schedule's id.

    :param status: ``active`` or ``inactive``. (templated)
    :param pipeline_schedule_id: The pipeline schedule. (templated)
    :param pipeline_uuid: Its pipeline, if it is given by name. (templated)
    :param pipeline_schedule_name: Its name; of several with that name, the oldest is meant. (templated)
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = (
        "status",
        "pipeline_schedule_id",
        "pipeline_uuid",
        "pipeline_schedule_name",
        *MageOperator.template_fields,
    )
    operator_extra_links = (MagePipelineLink(),)

    def __init__(
        self,
        *,
        status: str,
        pipeline_schedule_id: int | str | None = None,
        pipeline_uuid: str | None = None,
        pipeline_schedule_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.pipeline_schedule_id = pipeline_schedule_id
        self.pipeline_uuid = pipeline_uuid
        self.pipeline_schedule_name = pipeline_schedule_name

    def execute(self, context: Context) -> int:
        """Find the schedule and give it the status."""
        status = read_choice(self.status, "status", STATUSES)
        schedule = self._find()
        url = self.client.pipeline_url(schedule.pipeline_uuid)
        context["ti"].xcom_push(key=PIPELINE_URL, value=url)
        name = f"Pipeline schedule {schedule.id} ({schedule.name!r}) of pipeline {schedule.pipeline_uuid}"
        if schedule.status == status:
            self.log.info("%s is %s already: nothing to do.", name, status)
        else:
            changed = self.client.update_pipeline_schedule(schedule.id, status=status)
            self.log.info("%s was %s and is %s.", name, schedule.status, changed.status)
        return schedule.id

    def _find(self) -> PipelineSchedule:
        from airflow_provider_mage._runs.schedule import find_schedule

        schedule_id = read_id(self.pipeline_schedule_id, "pipeline_schedule_id")
        if schedule_id is not None:
            return self.client.get_pipeline_schedule(schedule_id)
        if self.pipeline_uuid is None or self.pipeline_schedule_name is None:
            raise ValueError(
                "Give `pipeline_schedule_id`, or both `pipeline_uuid` and `pipeline_schedule_name`; "
                "a template may have come to None."
            )
        pipeline_uuid = read_name(self.pipeline_uuid, "pipeline_uuid")
        schedule_name = read_name(self.pipeline_schedule_name, "pipeline_schedule_name")
        return find_schedule(self.client, pipeline_uuid, schedule_name)
