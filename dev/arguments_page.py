"""
Write ``docs/arguments.md``: every argument of every operator and sensor, out of docstrings and signatures.

``make docs`` runs this, and a unit test fails if the page is not what it would write.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "arguments.md"
PACKAGE = "airflow_provider_mage"
CLASSES = (
    "operators.pipeline.MageTriggerPipelineOperator",
    "operators.pipeline.MageCancelPipelineRunOperator",
    "sensors.pipeline.MagePipelineRunSensor",
    "operators.block.MageRunBlockOperator",
    "operators.schedule.MagePipelineScheduleOperator",
    "operators.cluster.MageStartClusterOperator",
    "operators.cluster.MageStopClusterOperator",
    "operators.cluster.MageRestartClusterOperator",
    "operators.cluster.MageUpdateClusterEnvVarsOperator",
    "sensors.cluster.MageClusterSensor",
    "operators.workspace.MageUpdateWorkspaceOperator",
    "operators.deployment.MageDeployOperator",
)
HEAD = """\
# Arguments

Every argument of every operator and sensor. They also take those of all operators (`retries`, `pool`, …), and
sensors those of all sensors (`mode`, `poke_interval`, …). Times are numbers of seconds, or a `timedelta`. A
*templated* argument may be a Jinja template, which is rendered before the task runs. This page is made out of
docstrings by `make docs`.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(_section(name) for name in CLASSES)])


def _section(name: str) -> str:
    module, _, class_name = name.rpartition(".")
    cls = getattr(import_module(f"{PACKAGE}.{module}"), class_name)
    summary = inspect.cleandoc(cls.__doc__).split("\n\n")[0]
    rows = [_row(cls, *argument) for argument in _arguments(cls)]
    head = ["| argument | default | templated | meaning |", "|---|---|---|---|"]
    where = f"`from {PACKAGE}.{module} import {class_name}`"
    return "\n".join([f"## {class_name}", "", _plain(summary), "", where, "", *head, *rows, ""])


def _arguments(cls: type) -> list[tuple[inspect.Parameter, str]]:
    """Return parameter and meaning of each argument, the class's own first, then those that it hands on."""
    found: dict[str, tuple[inspect.Parameter, str]] = {}
    for one in cls.__mro__:
        if not one.__module__.startswith(PACKAGE) or "__init__" not in vars(one):
            continue
        told = meanings(one)
        # Airflow wraps the method; a signature is that of what it wraps.
        for parameter in inspect.signature(vars(one)["__init__"]).parameters.values():
            is_own = parameter.kind is not parameter.VAR_KEYWORD and parameter.name != "self"
            if is_own and parameter.name in told:
                found.setdefault(parameter.name, (parameter, told[parameter.name]))
    return list(found.values())


def meanings(cls: type) -> dict[str, str]:
    """Return what a class's own docstring says of each argument."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return dict(re.findall(r"^:param (\w+): (.*?)(?=\n:|\n\n|\Z)", text, re.MULTILINE | re.DOTALL))


def _row(cls: Any, parameter: inspect.Parameter, meaning: str) -> str:
    default = "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
    if parameter.name == "deferrable":
        default = "Airflow's `[operators] default_deferrable`"
    templated = "yes" if parameter.name in cls.template_fields else ""
    meaning = _plain(meaning.replace("(templated)", "")).strip()
    return f"| `{parameter.name}` | {default} | {templated} | {meaning} |"


def _plain(text: str) -> str:
    """Turn the markup of docstrings into that of the page, on one line."""
    text = " ".join(text.split())
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
