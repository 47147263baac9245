"""An operator that runs a single block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mage._arguments import read_id, read_name, read_seconds, read_switch
from airflow_provider_mage._runs.schedule import DEFAULT_NAME
from airflow_provider_mage.links import PIPELINE_URL, MagePipelineLink
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context


class MageRunBlockOperator(MageOperator):
    """
    Runs one block of a pipeline, and is green if it did not fail. Returns its output, as Mage sends it.

    Mage runs the block inside of the request, and answers nobody else meanwhile: for short blocks only, and
    never sent twice. For everything else there is
    :class:`~airflow_provider_mage.operators.pipeline.MageTriggerPipelineOperator`. Open-source Mage 0.9.80
    answers this request with an error of its own (observed); 0.9.79 and before work.

    :param pipeline_uuid: The pipeline. (templated)
    :param block_uuid: The block. (templated)
    :param variables: What the block gets, by name; must be JSON. (templated)
    :param pipeline_schedule_id: A pipeline schedule of type ``api``, whose token authorises the run.
        (templated)
    :param pipeline_schedule_name: Its name, if no id is given. The default one, ``airflow``, is created once,
        if the pipeline has none of that name; any other has to exist. (templated)
    :param run_upstream_blocks: Whether the blocks before it run, too.
    :param incomplete_only: Whether of these only those run that have not completed.
    :param timeout: How long to wait for the answer, which comes when the block is done: seconds or a
        timedelta.
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = (
        "pipeline_uuid",
        "block_uuid",
        "variables",
        "pipeline_schedule_id",
        "pipeline_schedule_name",
        *MageOperator.template_fields,
    )
    operator_extra_links = (MagePipelineLink(),)
    template_fields_renderers: ClassVar[dict[str, str]] = {"variables": "json"}

    def __init__(
        self,
        *,
        pipeline_uuid: str,
        block_uuid: str,
        variables: Mapping[str, Any] | None = None,
        pipeline_schedule_id: int | str | None = None,
        pipeline_schedule_name: str = DEFAULT_NAME,
        run_upstream_blocks: bool = False,
        incomplete_only: bool = False,
        timeout: float | timedelta = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline_uuid = pipeline_uuid
        self.block_uuid = block_uuid
        self.variables = variables
        self.pipeline_schedule_id = pipeline_schedule_id
        self.pipeline_schedule_name = pipeline_schedule_name
        self.run_upstream_blocks = read_switch(run_upstream_blocks, "run_upstream_blocks")
        self.incomplete_only = read_switch(incomplete_only, "incomplete_only")
        self.timeout = read_seconds(timeout, "timeout")

    def execute(self, context: Context) -> Any:
        """Run the block and return its output."""
        from airflow_provider_mage._runs.schedule import check_block, schedule_for
        from airflow_provider_mage._runs.variables import check_block_variables
        from airflow_provider_mage.api.errors import MageAPIError

        pipeline_uuid = read_name(self.pipeline_uuid, "pipeline_uuid")
        block_uuid = read_name(self.block_uuid, "block_uuid")
        variables = check_block_variables(self.variables)
        schedule_id = read_id(self.pipeline_schedule_id, "pipeline_schedule_id")
        schedule_name = (
            ""
            if schedule_id is not None
            else read_name(self.pipeline_schedule_name, "pipeline_schedule_name")
        )
        client = self.hook.pro_client
        context["ti"].xcom_push(key=PIPELINE_URL, value=client.pipeline_url(pipeline_uuid))
        schedule = schedule_for(client, pipeline_uuid, pipeline_schedule_id=schedule_id, name=schedule_name)
        self.log.info("Running block %s of pipeline %s.", block_uuid, pipeline_uuid)
        try:
            output = client.run_block(
                schedule.id,
                pipeline_uuid,
                block_uuid,
                variables,
                run_upstream_blocks=self.run_upstream_blocks,
                incomplete_only=self.incomplete_only,
                timeout=self.timeout,
            )
        except MageAPIError:
            check_block(client, pipeline_uuid, block_uuid)
            raise
        self.log.info("Block %s of pipeline %s is done.", block_uuid, pipeline_uuid)
        return output
