"""Mage pipelines for task groups: their blocks note that they run, and do what files say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CODE = """import time
from pathlib import Path

if "{kind}" not in globals():
    from mage_ai.data_preparation.decorators import {kind}


@{kind}
def run(*args, **kwargs):
    stage, name = Path(kwargs["stage"]), "{name}"
    if "{name}" == "day":
        name = f"day:{{args[0]['day']}}"
    with open(stage / "executions", "a") as file:
        file.write(name + "\\n")
    print(f"{{name}} begins")
    while (stage / f"hold_{{name}}").exists():
        time.sleep(0.2)
    fails_once = stage / f"fail_once_{{name}}"
    if (stage / f"fail_{{name}}").exists() or fails_once.exists():
        fails_once.unlink(missing_ok=True)
        raise ValueError(f"no rows in {{name}}")
    return {result}
"""
CONDITION = """if "condition" not in globals():
    from mage_ai.data_preparation.decorators import condition


@condition
def run(*args, **kwargs):
    return False
"""
DAYS = '[[{"day": 1}, {"day": 2}], [{"block_uuid": "monday"}, {"block_uuid": "tuesday"}]]'

BLOCKS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "fan": {
        "load": (),
        "clean": ("load",),
        "check": ("load",),
        "join": ("clean", "check"),
        "export": ("join",),
    },
    "conditional": {"begin": (), "left_out": ("begin",), "after_it": ("left_out",), "beside": ("begin",)},
    "by_day": {"days": (), "day": ("days",), "total": ("day",)},
    "changed": {"kept": (), "added": ("kept",)},
    "five": {
        "first": (),
        "second": ("first",),
        "third": ("second",),
        "fourth": ("third",),
        "fifth": ("fourth",),
    },
}
KINDS = {"days": "data_loader", "day": "transformer", "total": "transformer"}
FOLDERS = {"custom": "custom", "data_loader": "data_loaders", "transformer": "transformers"}


def metadata(pipeline_uuid: str) -> dict[str, Any]:
    """Return what a pipeline's ``metadata.yaml`` has."""
    blocks = BLOCKS[pipeline_uuid]
    rows = [
        {
            "uuid": name,
            "name": name,
            "type": KINDS.get(name, "custom"),
            "language": "python",
            "executor_type": "local_python",
            "upstream_blocks": list(before),
            "downstream_blocks": [other for other in blocks if name in blocks[other]],
            "configuration": {"dynamic": True} if name == "days" else {},
            "status": "not_executed",
        }
        for name, before in blocks.items()
    ]
    conditional = {
        "uuid": "never",
        "name": "never",
        "type": "conditional",
        "language": "python",
        "upstream_blocks": ["left_out"],
        "downstream_blocks": [],
        "status": "not_executed",
    }
    return {
        "uuid": pipeline_uuid,
        "name": pipeline_uuid,
        "type": "python",
        "widgets": [],
        "callbacks": [],
        "conditionals": [conditional] if "left_out" in blocks else [],
        "blocks": rows,
    }


def write(project: Path) -> None:
    """Write the pipelines into a Mage project."""
    files = {"conditionals/never.py": CONDITION}
    for pipeline_uuid, blocks in BLOCKS.items():
        files[f"pipelines/{pipeline_uuid}/metadata.yaml"] = json.dumps(metadata(pipeline_uuid))
        files[f"pipelines/{pipeline_uuid}/__init__.py"] = ""
        for name in blocks:
            kind = KINDS.get(name, "custom")
            result = DAYS if name == "days" else "1"
            files[f"{FOLDERS[kind]}/{name}.py"] = CODE.format(kind=kind, name=name, result=result)
    for path, content in files.items():
        target = project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
