"""An operator that cancels a pipeline run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import require_id
from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.links import (
    PIPELINE_RUN_URL,
    PIPELINE_URL,
    MagePipelineLink,
    MagePipelineRunLink,
)
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class MageCancelPipelineRunOperator(MageOperator):
    """
    Cancels a Mage pipeline run, and succeeds if the run is over afterwards, however it ended.

    :param pipeline_run_id: The run. (templated)
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = ("pipeline_run_id", *MageOperator.template_fields)
    operator_extra_links = (MagePipelineRunLink(), MagePipelineLink())

    def __init__(self, pipeline_run_id: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_run_id = pipeline_run_id

    def execute(self, context: Context) -> int:
        """Cancel the run and see that it is over."""
        pipeline_run_id = require_id(self.pipeline_run_id, "pipeline_run_id")
        client = self.client
        # A run that does not exist is an error, not a success.
        pipeline_uuid = client.get_pipeline_run(pipeline_run_id).pipeline_uuid
        url = client.pipeline_run_url(pipeline_uuid, pipeline_run_id)
        context["ti"].xcom_push(key=PIPELINE_RUN_URL, value=url)
        if pipeline_uuid:
            context["ti"].xcom_push(key=PIPELINE_URL, value=client.pipeline_url(pipeline_uuid))
        if not cancel_run(client, pipeline_run_id):
            raise MageError(
                f"Cannot cancel run {pipeline_run_id}; it may still be running: see the warning above."
            )
        return pipeline_run_id
