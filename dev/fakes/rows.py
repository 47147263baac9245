"""How Mage shows its records as JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakes.project import BlockRun, Pipeline, PipelineRun, PipelineSchedule


def schedule_row(schedule: PipelineSchedule) -> dict[str, Any]:
    """Show a schedule with all its columns, its token included."""
    return _columns(schedule)


def short_schedule_row(schedule: PipelineSchedule) -> dict[str, Any]:
    """Show a schedule as part of its pipeline."""
    names = "created_at id name pipeline_uuid schedule_interval schedule_type start_time status updated_at"
    row = {name: getattr(schedule, name) for name in names.split()}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def run_row(run: PipelineRun) -> dict[str, Any]:
    """Show a run as after a change: without its blocks."""
    row = _columns(run)
    del row["block_runs"], row["polls"], row["log"]
    return {**row, "executor_type": "local_python", "metrics": None, "passed_sla": False}


def short_run_row(run: PipelineRun) -> dict[str, Any]:
    """Show a run in ``_format=with_basic_details``."""
    return {"execution_date": date_text(run.execution_date), "id": run.id, "status": run.status}


def block_row(block: BlockRun) -> dict[str, Any]:
    """Show a block run as part of its run."""
    row = _columns(block)
    del row["executions"], row["is_lost"], row["log"]
    return row


def listed_block_row(block: BlockRun, schedule: PipelineSchedule | None) -> dict[str, Any]:
    """Show a block run in ``/block_runs``: without ``metrics`` and its error, with other dates."""
    row = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(block).items()
    }
    del row["metrics"], row["executions"], row["is_lost"], row["log"]
    return {
        **row,
        "pipeline_schedule_id": schedule.id if schedule else None,
        "pipeline_schedule_name": schedule.name if schedule else None,
    }


def date_text(value: Any) -> Any:
    """Write a date as Mage does almost everywhere: with a space, and a zone if it has one."""
    return str(value) if isinstance(value, datetime) else value


def _columns(row: PipelineSchedule | PipelineRun | BlockRun) -> dict[str, Any]:
    return {name: date_text(value) for name, value in asdict(row).items()}


def pipeline_row(pipeline: Pipeline) -> dict[str, Any]:
    """Show a pipeline as in lists."""
    types = ["data_loader", *["transformer"] * (len(pipeline.blocks) - 2), "data_exporter"]
    return {
        "cache_block_output_in_memory": False,
        "concurrency_config": pipeline.concurrency_config,
        "created_at": None,
        "data_integration": None,
        "description": None,
        "executor_config": {},
        "executor_count": 1,
        "executor_type": None,
        "name": pipeline.uuid,
        "notification_config": {},
        "remote_variables_dir": None,
        "retry_config": {},
        "run_pipeline_in_one_process": False,
        "settings": {"triggers": None},
        "tags": [],
        "type": pipeline.type,
        "uuid": pipeline.uuid,
        "variables_dir": "/srv/data/project",
        "spark_config": {},
        "blocks": [
            {
                "all_upstream_blocks_executed": number == 0,
                "color": None,
                "configuration": {},
                "downstream_blocks": list(pipeline.blocks[number + 1 : number + 2]),
                "executor_config": None,
                "executor_type": "local_python",
                "has_callback": None,
                "name": block_uuid,
                "language": "python",
                "retry_config": None,
                "status": None,
                "timeout": None,
                "type": types[number],
                "upstream_blocks": list(pipeline.blocks[number - 1 : number]) if number else [],
                "uuid": block_uuid,
            }
            for number, block_uuid in enumerate(pipeline.blocks)
        ],
        "callbacks": [],
        "conditionals": [],
        "widgets": [],
        "updated_at": f"{pipeline.created_at.isoformat()}+00:00",
    }
