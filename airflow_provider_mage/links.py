"""Links from Airflow's pages to Mage's, and what a task leaves for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

log = logging.getLogger(__name__)

PIPELINE_RUN_ID = "pipeline_run_id"
PIPELINE_RUN_URL = "pipeline_run_url"
PIPELINE_URL = "mage_pipeline_url"
BLOCK_LOG_URL = "mage_block_log_url"


class MageLink(BaseOperatorLink):
    """
    A page in Mage, whose address the worker leaves in an XCom.

    With ``xcom_key``, Airflow 3.3 shows the link while the task runs, and of a task that a person has marked
    (observed).
    """

    xcom_key = ""

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's signature
        """Find the address that the worker has left; empty if there is none."""
        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


class MagePipelineRunLink(MageLink):
    """The run's page."""

    name = "Mage run"
    xcom_key = PIPELINE_RUN_URL


class MagePipelineLink(MageLink):
    """The pipeline's page, with its pipeline schedules."""

    name = "Mage pipeline"
    xcom_key = PIPELINE_URL


class MageBlockLogLink(MageLink):
    """The log of the block that has failed, or of a run that has failed without one."""

    name = "Mage block log"
    xcom_key = BLOCK_LOG_URL


RUN_LINKS = (MagePipelineRunLink(), MageBlockLogLink(), MagePipelineLink())


def tell_failure(ti: Any, failure: Exception) -> None:
    """
    Say where in Mage a failed run is to be seen, as Airflow makes links of addresses in lines of a log.

    In the text of an exception, it does not (observed on 3.3.2).

    :param ti: The task instance.
    :param failure: Why the task is about to fail; nothing is said of what is not about the end of a run.
    """
    url, log_url = (getattr(failure, name, "") for name in ("url", "log_url"))
    if not url:
        return
    what = "was cancelled" if failure.status == "cancelled" else "failed"  # type: ignore[attr-defined]
    log.error("Run %s %s: %s", failure.pipeline_run_id, what, url)  # type: ignore[attr-defined]
    if log_url:
        blocks = failure.failed_blocks  # type: ignore[attr-defined]
        log.error("Log of %s: %s", f"block {blocks[0]}" if blocks else "the run", log_url)
        ti.xcom_push(key=BLOCK_LOG_URL, value=log_url)
