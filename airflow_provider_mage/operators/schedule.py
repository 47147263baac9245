"""An operator that switches pipeline schedules on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import read_id
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

    def execute(self, context: Context) -> int:  # noqa: ARG002  # Airflow's signature
        """Find the schedule and give it the status."""
        if self.status not in STATUSES:
            raise ValueError(f"`status` must be {' or '.join(STATUSES)}, not {self.status!r}.")
        schedule = self._find()
        name = f"Pipeline schedule {schedule.id} ({schedule.name!r}) of pipeline {schedule.pipeline_uuid}"
        if schedule.status == self.status:
            self.log.info("%s is %s already: nothing to do.", name, self.status)
        else:
            changed = self.client.update_pipeline_schedule(schedule.id, status=self.status)
            self.log.info("%s was %s and is %s.", name, schedule.status, changed.status)
        return schedule.id

    def _find(self) -> PipelineSchedule:
        from airflow_provider_mage._runs.schedule import find_schedule

        schedule_id = read_id(self.pipeline_schedule_id, "pipeline_schedule_id")
        if schedule_id is not None:
            return self.client.get_pipeline_schedule(schedule_id)
        if not (self.pipeline_uuid and self.pipeline_schedule_name):
            raise ValueError(
                "Give `pipeline_schedule_id`, or both `pipeline_uuid` and `pipeline_schedule_name`."
            )
        found = find_schedule(self.client, self.pipeline_uuid, self.pipeline_schedule_name)
        if found is None:
            raise ValueError(
                f"Pipeline {self.pipeline_uuid!r} has no schedule named {self.pipeline_schedule_name!r}: "
                "check the name, or give `pipeline_schedule_id`."
            )
        return found
