"""Four groups with as many blocks in all as tests/e2e/test_many_waiting.py has tasks wait."""

import os
from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup

GROUPS = 4
BLOCKS = [{"uuid": f"block_{number}"} for number in range(int(os.environ["WAITING_TASKS"]) // GROUPS)]

with DAG(
    "many_blocks",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    schedule=None,
    default_args={"mage_conn_id": "mage_of_many_blocks"},
):
    for number in range(GROUPS):
        MagePipelineTaskGroup(
            f"group_{number}", pipeline_uuid=f"wide_{number}", blocks=BLOCKS, poll_interval=5
        )
