"""What Mage writes into its logs: a file for each block run, and one of its scheduler for each run."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from fakes.project import BlockRun, PipelineRun

MOST_FILES = 20
EXECUTOR = "BlockExecutor"


def record(now: datetime, level: str, message: Any, **tags: Any) -> str:
    """Write one line of a log."""
    row = {**tags, "level": level, "message": message, "timestamp": now.timestamp(), "uuid": uuid.uuid4().hex}
    return f"{now:%Y-%m-%dT%H:%M:%S} {json.dumps(row)}\n"


def tags_of(block: BlockRun, pipeline_uuid: str) -> dict[str, Any]:
    """Return what every record of a block run has."""
    return {
        "block_run_id": block.id,
        "block_uuid": block.block_uuid,
        "pipeline_run_id": block.pipeline_run_id,
        "pipeline_uuid": pipeline_uuid,
        "block_type": "custom",
    }


def failure(now: datetime, what: str, error: dict[str, Any], **tags: Any) -> str:
    """Write an exception, which logging then writes once more, as the lines of its traceback."""
    details = {
        "error": error["message"],
        "error_stack": error["errors"],
        "error_stacktrace": error["error"],
    }
    return record(now, "EXCEPTION", what, **tags, **details) + str(error["message"])


def block_run_files(runs: Iterable[PipelineRun], ids: list[int]) -> list[dict[str, Any]]:
    """Show the logs of some block runs, or of all if there are no ids: those that were started last first."""
    found = [(run, block) for run in runs for block in run.block_runs if not ids or block.id in ids]
    found.sort(key=lambda pair: (pair[1].started_at is None, pair[1].started_at, pair[1].id), reverse=True)
    names = [f"{_clean(block.block_uuid)}.log" for _, block in found]
    return [_file(run, name, block.log) for (run, block), name in zip(found, names, strict=True)][:MOST_FILES]


def run_files(runs: Iterable[PipelineRun]) -> list[dict[str, Any]]:
    """Show what Mage has written about runs themselves."""
    files = []
    for run in runs:
        files += [_file(run, "pipeline.log", ""), _file(run, "scheduler.log", run.log)]
    return files[:MOST_FILES]


def _file(run: PipelineRun, name: str, content: str) -> dict[str, Any]:
    partition = run.variables["execution_partition"]
    return {
        "name": name,
        "path": f"/srv/data/project/pipelines/{run.pipeline_uuid}/.logs/{partition}/{name}",
        "size": len(content.encode()) or None,
        "modified_timestamp": None,
        "content": content,
    }


def _clean(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name).lower()
