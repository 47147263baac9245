"""
Tell somebody why a Mage pipeline has failed, and where to look.

The exception that a callback gets has everything: the run's id and page, the failed blocks, and the message
that the log ends with. Instead of logging, send it to a chat or a pager.
"""

import logging
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.api import MagePipelineRunFailed
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator


def tell_somebody(context: dict[str, Any]) -> None:
    """Put together what a person needs to know."""
    error = context.get("exception")
    if isinstance(error, MagePipelineRunFailed):
        blocks = ", ".join(error.failed_blocks)
        logging.getLogger(__name__).warning(
            "Mage run %s: %s failed, see %s", error.pipeline_run_id, blocks, error.url
        )


with DAG(
    "example_mage_on_failure",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    tags=["mage"],
    description="Tell somebody why a Mage pipeline has failed",
    doc_md=__doc__,
):
    MageTriggerPipelineOperator(
        task_id="run_broken_orders",
        pipeline_uuid="broken_orders",
        on_failure_callback=tell_somebody,
    )
