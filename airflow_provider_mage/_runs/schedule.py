"""The pipeline schedule that a run is started under."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineSchedule

log = logging.getLogger(__name__)


def schedule_for(
    client: MageClient, pipeline_uuid: str, *, pipeline_schedule_id: int | None, name: str
) -> PipelineSchedule:
    """
    Return an active pipeline schedule of a pipeline, creating it if it is named and does not exist.

    :param client: The Mage server.
    :param pipeline_uuid: The pipeline.
    :param pipeline_schedule_id: The pipeline schedule; if given, the name does not matter.
    :param name: Its name. Of several the oldest is taken, so that tasks that create it at the same time
        agree.
    :return: The pipeline schedule.
    :raises ValueError: If the schedule belongs to another pipeline, or is inactive, so that a run under it
        would stay ``initial`` for ever.
    :raises MageNotFoundError: If there is no such pipeline or schedule id.
    """
    if pipeline_schedule_id is not None:
        schedule = client.get_pipeline_schedule(pipeline_schedule_id)
        if schedule.pipeline_uuid != pipeline_uuid:
            raise ValueError(
                f"Pipeline schedule {schedule.id} ({schedule.name!r}) belongs to pipeline "
                f"{schedule.pipeline_uuid!r}, not to {pipeline_uuid!r}: "
                "give the id of one of its own schedules."
            )
    else:
        schedule = find_schedule(client, pipeline_uuid, name) or _create(client, pipeline_uuid, name)
    if not schedule.is_active:
        raise ValueError(
            f"Pipeline schedule {schedule.id} ({schedule.name!r}) of pipeline {pipeline_uuid!r} is "
            f"{schedule.status or 'off'}, so Mage would never start the run: "
            "enable that trigger in Mage, or name another one."
        )
    return schedule


def find_schedule(client: MageClient, pipeline_uuid: str, name: str) -> PipelineSchedule | None:
    """
    Find a pipeline schedule by its name, of which Mage allows several in one pipeline.

    That is the oldest of that name, so that everybody finds the same one; None if there is none.
    """
    found = [schedule for schedule in client.list_pipeline_schedules(pipeline_uuid) if schedule.name == name]
    if len(found) > 1:
        log.info(
            "Pipeline %s has %s schedules named %r: using the oldest, %s.",
            pipeline_uuid,
            len(found),
            name,
            found[0].id,
        )
    return found[0] if found else None


def _create(client: MageClient, pipeline_uuid: str, name: str) -> PipelineSchedule:
    created = None
    try:
        created = client.create_pipeline_schedule(pipeline_uuid, name)
        log.info("Created pipeline schedule %s (%r) of pipeline %s.", created.id, name, pipeline_uuid)
    except MageTransportError as error:
        if not error.may_have_arrived:
            raise
    # Another task may have been quicker, and an answer may have been lost: the oldest is the one.
    oldest = find_schedule(client, pipeline_uuid, name)
    if oldest is None:
        return created or client.create_pipeline_schedule(pipeline_uuid, name)
    if created is not None and created.id != oldest.id:
        _delete_surplus(client, created)
    return oldest


def _delete_surplus(client: MageClient, schedule: PipelineSchedule) -> None:
    try:
        client.delete_pipeline_schedule(schedule.id)
    except MageError as error:
        log.warning("Pipeline schedule %s is not needed, but could not be deleted. %s", schedule.id, error)
