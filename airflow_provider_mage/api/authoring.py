"""The part of the Mage API that changes what there is to run: pipelines and their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.answer import member, members

if TYPE_CHECKING:
    from airflow_provider_mage.api.session import MageSession


class MageAuthoring:
    """
    Creates, changes and deletes pipelines and blocks.

    Pipelines and blocks are large and differ from version to version, so they go in and out as Mage sends
    them. Errors are those of :class:`~airflow_provider_mage.api.client.MageClient`, which is one of these.

    :param session: The authenticated conversation with the server.
    """

    def __init__(self, session: MageSession) -> None:
        self.session = session

    def create_pipeline(self, name: str, pipeline_type: str = "python", **fields: Any) -> dict[str, Any]:
        """
        Create a pipeline. Mage makes its ``uuid`` out of the name.

        :param name: Its name.
        :param pipeline_type: ``python``, ``streaming``, ``integration`` or ``pyspark``.
        :param fields: Anything else that Mage takes, such as ``description`` or ``tags``.
        :return: The new pipeline.
        """
        body = {"pipeline": {"name": name, "type": pipeline_type, **fields}}
        return member(self.session.post("pipelines", json=body), "pipeline")

    def update_pipeline(self, pipeline_uuid: str, **fields: Any) -> dict[str, Any]:
        """
        Change a pipeline.

        :param pipeline_uuid: The pipeline.
        :param fields: What to change; ``status`` changes all its pipeline schedules at once (observed).
        :return: The pipeline.
        :raises MageNotFoundError: If there is none of that name.
        """
        return member(self.session.put("pipelines", pipeline_uuid, json={"pipeline": fields}), "pipeline")

    def delete_pipeline(self, pipeline_uuid: str) -> None:
        """
        Delete a pipeline with its pipeline schedules.

        :param pipeline_uuid: The pipeline.
        :raises MageNotFoundError: If there is none of that name.
        """
        self.session.request("DELETE", "pipelines", pipeline_uuid)

    def list_blocks(self, pipeline_uuid: str) -> list[dict[str, Any]]:
        """
        Read the blocks of a pipeline.

        :param pipeline_uuid: The pipeline.
        :return: Its blocks, without their code.
        :raises MageNotFoundError: If there is no such pipeline.
        """
        return members(member(self.session.get("pipelines", pipeline_uuid), "pipeline"), "blocks")

    def get_block(self, pipeline_uuid: str, block_uuid: str) -> dict[str, Any]:
        """
        Read a block.

        :param pipeline_uuid: The pipeline it belongs to.
        :param block_uuid: The block.
        :return: The block, with its code in ``content``.
        :raises MageNotFoundError: If there is none of that name.
        """
        return member(self.session.get("pipelines", pipeline_uuid, "blocks", block_uuid), "block")

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
        return member(answer, "block")

    def update_block(self, pipeline_uuid: str, block_uuid: str, **fields: Any) -> dict[str, Any]:
        """
        Change a block's name, type, configuration or neighbours.

        Its code is left alone, even if it is given (observed): that is for :meth:`update_block_content`.

        :param pipeline_uuid: The pipeline it belongs to.
        :param block_uuid: The block.
        :param fields: What to change.
        :return: The block.
        :raises MageNotFoundError: If there is none of that name.
        """
        answer = self.session.put("pipelines", pipeline_uuid, "blocks", block_uuid, json={"block": fields})
        return member(answer, "block")

    def update_block_content(self, pipeline_uuid: str, block_uuid: str, content: str) -> None:
        """
        Replace a block's code.

        :param pipeline_uuid: The pipeline it belongs to.
        :param block_uuid: The block.
        :param content: Its new code.
        :raises MageNotFoundError: If there is no such pipeline.
        """
        body = {"pipeline": {"blocks": [{"uuid": block_uuid, "content": content}]}}
        self.session.request("PUT", "pipelines", pipeline_uuid, json=body, params={"update_content": "true"})

    def delete_block(self, pipeline_uuid: str, block_uuid: str) -> None:
        """
        Take a block out of a pipeline, and delete it if no other has it.

        :param pipeline_uuid: The pipeline it belongs to.
        :param block_uuid: The block.
        :raises MageNotFoundError: If there is none of that name.
        """
        self.session.request("DELETE", "pipelines", pipeline_uuid, "blocks", block_uuid)
