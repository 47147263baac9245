"""Links from Airflow's pages to Mage's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey

PIPELINE_RUN_ID = "pipeline_run_id"
PIPELINE_RUN_URL = "pipeline_run_url"


class MagePipelineRunLink(BaseOperatorLink):
    """The run's page in Mage."""

    name = "Mage run"
    xcom_key = PIPELINE_RUN_URL
    """Where the worker puts the address; with this, Airflow 3.3 shows it while the task runs (observed)."""

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002  # Airflow's signature
        """Find the address that the worker has left; empty before the run was started."""
        return XCom.get_value(key=PIPELINE_RUN_URL, ti_key=ti_key) or ""
