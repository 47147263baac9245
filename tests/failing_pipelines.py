"""Mage pipelines that fail, each in a way of its own, and what a person is to be told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = {
    "custom": "custom",
    "data_loader": "data_loaders",
    "data_exporter": "data_exporters",
    "sensor": "sensors",
    "callback": "callbacks",
}
HEAD = """if "{kind}" not in globals():
    from mage_ai.data_preparation.decorators import {kind}


@{kind}
def run(*args, **kwargs):
"""
# The first line of a block's function, below that.
FIRST = 7


@dataclass(frozen=True)
class Failing:
    """
    A pipeline that fails.

    :param code: What its block does, the lines of the function.
    :param reason: What is told of the block, or of the run.
    :param line: What is told of the line where it broke; empty if Mage does not know it.
    :param block: The block that is named; the pipeline's own unless it says something else.
    :param wrote: What is told of the block's last lines.
    :param source: The whole file instead of ``code``; None for a block without a file.
    :param blocks: Those of the pipeline, if there are others than its own.
    :param settings: More of the pipeline's settings.
    :param files: Other files of the project.
    """

    code: str = ""
    reason: str = ""
    line: str = ""
    block: str | None = None
    wrote: tuple[str, ...] = ()
    source: str | None = ""
    blocks: tuple[dict[str, Any], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def at(number: int, text: str, function: str = "run") -> str:
    """Say where in a block's code it broke."""
    where = f", in {function}" if function else ""
    return f"at line {number} of its code{where}: {text}"


LOOK_UP = 'return {"DE": 19}["FR"]'
FAN = """@data_loader
def run(*args, **kwargs):
    return [[{"day": 1}, {"day": 2}], [{"block_uuid": "monday"}, {"block_uuid": "tuesday"}]]
"""
IMPORTS = """if "{kind}" not in globals():
    from mage_ai.data_preparation.decorators import {kind}
"""

TESTED = f"""{IMPORTS.format(kind="custom")}if "test" not in globals():
    from mage_ai.data_preparation.decorators import test


@custom
def run(*args, **kwargs):
    return 0


@test
def has_rows(rows, *args):
    assert rows > 0, "there are no rows"
"""

PIPELINES = {
    "raises": Failing(
        'print("40 orders")\nprint("4 are negative")\nraise ValueError("4 of 40 orders are negative")',
        "ValueError: 4 of 40 orders are negative",
        at(FIRST + 2, 'raise ValueError("4 of 40 orders are negative")'),
        wrote=("40 orders", "4 are negative"),
    ),
    "raises_from": Failing(
        f'try:\n    {LOOK_UP}\nexcept KeyError as error:\n    raise OSError("no rate") from error',
        "OSError: no rate",
        at(FIRST + 3, 'raise OSError("no rate") from error'),
    ),
    "raises_lines": Failing(
        'raise ValueError("\\n".join(f"row {number} is bad" for number in range(5000)))',
        "ValueError: row 0 is bad",
        at(FIRST, 'raise ValueError("\\n".join(f"row {number} is bad" for number in range(5000)))'),
    ),
    "raises_at_import": Failing(
        reason="RuntimeError: no licence",
        line=at(1, 'raise RuntimeError("no licence")', ""),
        source='raise RuntimeError("no licence")\n',
    ),
    "has_bad_syntax": Failing(
        reason="SyntaxError: invalid syntax (<string>, line 1)",
        line=at(1, "def run(:", ""),
        source="def run(:\n",
    ),
    "has_no_file": Failing(
        reason="Exception: Block has_no_file does not have any decorated functions.", source=None
    ),
    "breaks_in_the_project": Failing(
        'from project.rules.rates import rate\nreturn rate("FR")',
        "KeyError: 'FR'",
        "/rules/rates.py, in rate: return RATES[country]",
        files={
            "rules/__init__.py": "",
            "rules/rates.py": 'RATES = {"DE": 19}\n\n\ndef rate(country):\n    return RATES[country]\n',
        },
    ),
    "fails_its_test": Failing(
        reason="Exception: Failed to pass tests for block fails_its_test (AssertionError: there are no rows)",
        line=at(14, 'assert rows > 0, "there are no rows"', "has_rows"),
        source=TESTED,
    ),
    "fails_in_one_process": Failing(
        LOOK_UP, "KeyError: 'FR'", at(FIRST, LOOK_UP), settings={"run_pipeline_in_one_process": True}
    ),
    "fails_in_a_child": Failing(
        'if args[0]["day"] == 2:\n    raise ValueError("no orders on day 2")\nreturn args[0]',
        "ValueError: no orders on day 2",
        at(FIRST + 1, 'raise ValueError("no orders on day 2")'),
        block="fails_in_a_child:tuesday",
        files={"data_loaders/days_of_orders.py": f"{IMPORTS.format(kind='data_loader')}\n\n{FAN}"},
        blocks=(
            {"uuid": "days_of_orders", "type": "data_loader", "configuration": {"dynamic": True}},
            {"uuid": "fails_in_a_child", "upstream_blocks": ["days_of_orders"]},
        ),
    ),
    "fails_twice": Failing(
        LOOK_UP,
        "KeyError: 'FR'",
        at(FIRST, LOOK_UP),
        files={
            "callbacks/calls_back.py": f'{IMPORTS.format(kind="callback")}\n\n@callback("failure")\n'
            'def tell(parent, **kwargs):\n    raise RuntimeError("nobody to be told")\n'
        },
        settings={
            "callbacks": [{"uuid": "calls_back", "type": "callback", "upstream_blocks": ["fails_twice"]}]
        },
    ),
    "waits_in_vain": Failing(
        LOOK_UP, "KeyError: 'FR'", at(FIRST, LOOK_UP), blocks=({"uuid": "waits_in_vain", "type": "sensor"},)
    ),
    "queries_nothing": Failing(
        reason="KeyError: 'no_such_profile'",
        source=None,
        files={
            "data_loaders/queries_nothing.sql": "SELECT 1 AS one\n",
            "io_config.yaml": "version: 0.1.1\ndefault: {}\n",
        },
        blocks=(
            {
                "uuid": "queries_nothing",
                "type": "data_loader",
                "language": "sql",
                "configuration": {
                    "data_provider": "postgres",
                    "data_provider_profile": "no_such_profile",
                    "use_raw_sql": True,
                },
            },
        ),
    ),
    "integrates_nothing": Failing(
        reason="KeyError: 'catalog'",
        source=None,
        block="",
        files={
            "data_loaders/integrates_nothing.yaml": "source: api\nconfig:\n  url: http://127.0.0.1:1/x.csv\n",
            "data_exporters/keeps_nothing.yaml": "destination: postgresql\nconfig: {port: 1}\n",
        },
        blocks=(
            {"uuid": "integrates_nothing", "type": "data_loader", "language": "yaml"},
            {
                "uuid": "keeps_nothing",
                "type": "data_exporter",
                "language": "yaml",
                "upstream_blocks": ["integrates_nothing"],
            },
        ),
        settings={"type": "integration"},
    ),
}


def write(project: Path) -> None:
    """Write the pipelines into a Mage project."""
    for name, failing in PIPELINES.items():
        blocks = failing.blocks or ({"uuid": name},)
        kind = blocks[-1].get("type", "custom")
        files = dict(failing.files)
        if failing.source is not None:
            code = "".join(f"    {line}\n" for line in failing.code.split("\n"))
            files[f"{FOLDERS[kind]}/{name}.py"] = failing.source or HEAD.format(kind=kind) + code
        pipeline = {
            "name": name,
            "uuid": name,
            "type": "python",
            "widgets": [],
            **failing.settings,
            "blocks": [_block(block, blocks) for block in blocks],
        }
        for extra in pipeline.get("callbacks", []):
            extra.update(_block(extra, ()))
        files[f"pipelines/{name}/metadata.yaml"] = json.dumps(pipeline)
        files[f"pipelines/{name}/__init__.py"] = ""
        for path, content in files.items():
            target = project / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)


def _block(block: dict[str, Any], others: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    after = [other["uuid"] for other in others if block["uuid"] in other.get("upstream_blocks", [])]
    standard = {
        "name": block["uuid"],
        "type": "custom",
        "language": "python",
        "upstream_blocks": [],
        "downstream_blocks": after,
        "executor_type": "local_python",
        "configuration": {},
    }
    return {**standard, **block}
