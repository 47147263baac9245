"""Pipelines that fail, each once in the worker and once in the triggerer."""

from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator

PIPELINES = (
    "raises",
    "raises_from",
    "raises_lines",
    "raises_at_import",
    "has_bad_syntax",
    "has_no_file",
    "breaks_in_the_project",
    "fails_its_test",
    "fails_in_one_process",
    "fails_in_a_child",
    "fails_twice",
    "waits_in_vain",
    "queries_nothing",
    "integrates_nothing",
)

with DAG("failing_pipelines", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None):
    for pipeline_uuid in PIPELINES:
        for mode in ("sync", "deferred"):
            MageTriggerPipelineOperator(
                task_id=f"{pipeline_uuid}_{mode}",
                pipeline_uuid=pipeline_uuid,
                poll_interval=2,
                deferrable=mode == "deferred",
            )
