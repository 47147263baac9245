"""The pipeline schedule that a run is started under."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import (
    MageAuthError,
    MageError,
    MageNotFoundError,
    MageTransportError,
)
from airflow_provider_mage.api.names import did_you_mean, near_names

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineSchedule
    from airflow_provider_mage.api.pro import MageProClient

log = logging.getLogger(__name__)

# The one name under which a schedule is created: any other that a pipeline does not have is a mistake.
DEFAULT_NAME = "airflow"


def schedule_for(
    client: MageClient, pipeline_uuid: str, *, pipeline_schedule_id: int | None, name: str
) -> PipelineSchedule:
    """
    Return an active pipeline schedule of a pipeline; of the default name, it is created if need be.

    :param client: The Mage server.
    :param pipeline_uuid: The pipeline.
    :param pipeline_schedule_id: The pipeline schedule; if given, the name does not matter.
    :param name: Its name. Of several the oldest is taken, so that tasks that create it at the same time
        agree.
    :return: The pipeline schedule.
    :raises ValueError: If there is none of that name, the schedule belongs to another pipeline, or is
        inactive, so that a run under it would stay ``initial`` for ever.
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
    elif name == DEFAULT_NAME:
        schedule = look_for_schedule(client, pipeline_uuid, name)[0] or _create(client, pipeline_uuid, name)
    else:
        schedule = find_schedule(client, pipeline_uuid, name)
    if not schedule.is_active:
        raise ValueError(
            f"Pipeline schedule {schedule.id} ({schedule.name!r}) of pipeline {pipeline_uuid!r} is "
            f"{schedule.status or 'off'}, so Mage would never start the run: "
            "enable that trigger in Mage, or name another one."
        )
    return schedule


def find_schedule(client: MageClient, pipeline_uuid: str, name: str) -> PipelineSchedule:
    """
    Find a pipeline schedule by its name, of which Mage allows several in one pipeline.

    That is the oldest of that name, so that everybody finds the same one. A ValueError says that there is
    none, and what there is.
    """
    found, names = look_for_schedule(client, pipeline_uuid, name)
    if found is None:
        raise ValueError(
            f"Pipeline {pipeline_uuid!r} has no schedule named {name!r}: {did_you_mean(name, names)} Only "
            f"{DEFAULT_NAME!r} is created when it is missing; create others in Mage (its UI: triggers), of "
            "type API."
        )
    return found


def look_for_schedule(
    client: MageClient, pipeline_uuid: str, name: str
) -> tuple[PipelineSchedule | None, list[str]]:
    """Return the oldest pipeline schedule of that name, if there is one, and the names of all there are."""
    failure = None
    try:
        schedules = client.list_pipeline_schedules(pipeline_uuid)
    except MageNotFoundError as error:
        failure = _no_such_pipeline(client, pipeline_uuid, error)
    if failure is not None:
        raise failure
    found = [schedule for schedule in schedules if schedule.name == name]
    if len(found) > 1:
        log.info(
            "Pipeline %s has %s schedules named %r: using the oldest, %s.",
            pipeline_uuid,
            len(found),
            name,
            found[0].id,
        )
    return next(iter(found), None), sorted({schedule.name for schedule in schedules})


def _no_such_pipeline(client: MageClient, pipeline_uuid: str, error: MageNotFoundError) -> MageNotFoundError:
    """Say which pipeline may be meant, if that can be found out."""
    try:
        hint = did_you_mean(pipeline_uuid, client.list_pipelines())
    except MageError:
        return error
    return MageNotFoundError(
        f"Mage has no pipeline {pipeline_uuid!r}: {hint} Give it the name that it has in the "
        "address of its page.",
        code=error.code,
        type=error.type,
        reason=error.reason,
    )


def check_block(client: MageProClient, pipeline_uuid: str, block_uuid: str) -> None:
    """Raise a MageNotFoundError if a pipeline is known to have a block of almost that name only."""
    try:
        blocks = [str(block.get("uuid")) for block in client.list_blocks(pipeline_uuid)]
    except MageError:
        return
    if block_uuid not in blocks and near_names(block_uuid, blocks):
        hint = did_you_mean(block_uuid, blocks)
        raise MageNotFoundError(f"Pipeline {pipeline_uuid!r} has no block {block_uuid!r}: {hint}")


def _create(client: MageClient, pipeline_uuid: str, name: str) -> PipelineSchedule:
    created = None
    try:
        created = client.create_pipeline_schedule(pipeline_uuid, name)
        log.info("Created pipeline schedule %s (%r) of pipeline %s.", created.id, name, pipeline_uuid)
    except MageTransportError as error:
        if not error.may_have_arrived:
            raise
    except MageAuthError as error:
        if error.refused:
            raise
        # Without the role, there is still a way: an API trigger that somebody else has made.
        raise MageAuthError(
            f"Pipeline {pipeline_uuid!r} has no schedule named {name!r}, and the connection's user may not "
            "create one. Create it in Mage (its UI: triggers), of type API, or give the user the role Editor "
            f"in the project. {error}",
            what=error.what,
            code=error.code,
            type=error.type,
            reason=error.reason,
        ) from error
    # Another task may have been quicker, and an answer may have been lost: the oldest is the one.
    oldest, _ = look_for_schedule(client, pipeline_uuid, name)
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
