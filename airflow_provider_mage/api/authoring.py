"""The part of the Mage API about what there is to run: pipelines, their blocks, and when they are run."""

from __future__ import annotations

from typing import Any

from airflow_provider_mage.api.answer import as_object
from airflow_provider_mage.api.base_client import BaseClient
from airflow_provider_mage.api.errors import MageAuthError
from airflow_provider_mage.api.models import PipelineSchedule


class MageAuthoring(BaseClient):
    """
    Creates, changes and deletes pipelines, blocks and pipeline schedules.

    Pipelines and blocks are large and differ from version to version, so they go in and out as Mage sends
    them. Errors are those of :class:`~airflow_provider_mage.api.client.MageClient`, which is one of these.

    :param session: The authenticated conversation with the server.
    """

    api_path = "/api"

    def create_pipeline(self, name: str, pipeline_type: str = "python", **fields: Any) -> dict[str, Any]:
        """
        Create a pipeline. Mage makes its ``uuid`` out of the name.

        :param name: Its name.
        :param pipeline_type: ``python``, ``streaming``, ``integration`` or ``pyspark``.
        :param fields: Anything else that Mage takes, such as ``description`` or ``tags``.
        :return: The new pipeline.
        """
        body = {"pipeline": {"name": name, "type": pipeline_type, **fields}}
        return self.session.post("pipelines", json=body).member("pipeline")

    def update_pipeline(self, pipeline_uuid: str, **fields: Any) -> dict[str, Any]:
        """
        Change a pipeline; ``status`` changes all its pipeline schedules at once (observed).

        A MageNotFoundError says that there is none of that name.
        """
        return self.session.put("pipelines", pipeline_uuid, json={"pipeline": fields}).member("pipeline")

    def delete_pipeline(self, pipeline_uuid: str) -> None:
        """Delete a pipeline with its pipeline schedules, or raise a MageNotFoundError."""
        self.session.request("DELETE", "pipelines", pipeline_uuid)

    def list_blocks(self, pipeline_uuid: str) -> list[dict[str, Any]]:
        """Read the blocks of a pipeline, without their code."""
        answer = self.session.get("pipelines", pipeline_uuid)
        return list(self._rows(answer.inside("pipeline"), "blocks", as_object))

    def get_block(self, pipeline_uuid: str, block_uuid: str) -> dict[str, Any]:
        """Read a block of a pipeline, with its code in ``content``."""
        return self.session.get("pipelines", pipeline_uuid, "blocks", block_uuid).member("block")

    def create_block(
        self, pipeline_uuid: str, name: str, block_type: str, *, content: str = "", **fields: Any
    ) -> dict[str, Any]:
        """
        Create a block in a pipeline.

        :param pipeline_uuid: The pipeline.
        :param name: Its name, of which Mage makes its ``uuid``.
        :param block_type: ``data_loader``, ``transformer``, ``data_exporter``, ``custom``, …
        :param content: Its code.
        :param fields: Anything else that Mage takes, such as ``language`` or ``upstream_blocks``.
        :return: The new block.
        :raises MageNotFoundError: If there is no such pipeline.
        """
        block = {"name": name, "type": block_type, "language": "python", "content": content, **fields}
        answer = self.session.post("pipelines", pipeline_uuid, "blocks", json={"block": block})
        return answer.member("block")

    def update_block(self, pipeline_uuid: str, block_uuid: str, **fields: Any) -> dict[str, Any]:
        """
        Change a block's name, type, configuration or neighbours.

        Its code is left alone, even if it is given (observed): that is for :meth:`update_block_content`.
        """
        answer = self.session.put("pipelines", pipeline_uuid, "blocks", block_uuid, json={"block": fields})
        return answer.member("block")

    def update_block_content(self, pipeline_uuid: str, block_uuid: str, content: str) -> None:
        """Replace the code of a block of a pipeline."""
        body = {"pipeline": {"blocks": [{"uuid": block_uuid, "content": content}]}}
        self.session.request("PUT", "pipelines", pipeline_uuid, json=body, params={"update_content": "true"})

    def delete_block(self, pipeline_uuid: str, block_uuid: str) -> None:
        """Take a block out of a pipeline, and delete it if no other has it."""
        self.session.request("DELETE", "pipelines", pipeline_uuid, "blocks", block_uuid)

    # Pipeline schedules

    def list_pipeline_schedules(self, pipeline_uuid: str) -> list[PipelineSchedule]:
        """Read the pipeline schedules of a pipeline, the oldest first."""
        try:
            rows = list(
                self._read_list(
                    "pipelines", pipeline_uuid, "pipeline_schedules", read=PipelineSchedule.from_api
                )
            )
        except MageAuthError as error:
            if error.refused:
                raise
            # Mage judges this list by the roles in the project; those in the pipeline let a user see the
            # pipeline itself, and its schedules with it (observed).
            answer = self.session.get("pipelines", pipeline_uuid, include_schedules=1)
            rows = list(self._rows(answer.inside("pipeline"), "schedules", PipelineSchedule.from_api))
        schedules = {schedule.id: schedule for schedule in rows}
        return [schedules[schedule_id] for schedule_id in sorted(schedules)]

    def get_pipeline_schedule(self, pipeline_schedule_id: int) -> PipelineSchedule:
        """Read a pipeline schedule, or raise a MageNotFoundError."""
        answer = self.session.get("pipeline_schedules", pipeline_schedule_id)
        return answer.one("pipeline_schedule", PipelineSchedule)

    def create_pipeline_schedule(
        self, pipeline_uuid: str, name: str, *, is_active: bool = True
    ) -> PipelineSchedule:
        """
        Create a pipeline schedule of type ``api``, active or not. Mage does not keep names unique.

        A MageNotFoundError says that there is no such pipeline.
        """
        status = "active" if is_active else "inactive"
        body = {"pipeline_schedule": {"name": name, "schedule_type": "api", "status": status}}
        answer = self.session.post("pipelines", pipeline_uuid, "pipeline_schedules", json=body)
        return answer.one("pipeline_schedule", PipelineSchedule)

    def update_pipeline_schedule(self, pipeline_schedule_id: int, **fields: Any) -> PipelineSchedule:
        """
        Change a pipeline schedule. Repeated while that may help, as it does no harm.

        :param pipeline_schedule_id: Its id.
        :param fields: What to change. ``settings`` and ``variables`` are replaced whole (observed).
        :return: The changed pipeline schedule.
        :raises ValueError: If its status is none that Mage knows; Mage would store it, and no longer be able
            to list its schedules (observed on SQLite).
        :raises MageNotFoundError: If there is none with that id.
        """
        if fields.get("status", "active") not in ("active", "inactive"):
            raise ValueError(f"A pipeline schedule is active or inactive, not {fields['status']!r}.")
        answer = self.session.put(
            "pipeline_schedules", pipeline_schedule_id, json={"pipeline_schedule": fields}, is_repeatable=True
        )
        return answer.one("pipeline_schedule", PipelineSchedule)

    def activate_pipeline_schedule(self, pipeline_schedule_id: int) -> PipelineSchedule:
        """Make a pipeline schedule active, so that its runs are started."""
        return self.update_pipeline_schedule(pipeline_schedule_id, status="active")

    def delete_pipeline_schedule(self, pipeline_schedule_id: int) -> None:
        """Delete a pipeline schedule. Runs under it can no longer be listed (observed)."""
        self.session.request("DELETE", "pipeline_schedules", pipeline_schedule_id)
