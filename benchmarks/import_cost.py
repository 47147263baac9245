"""
What a DAG file pays for importing our operators, beside three providers that do the same kind of job.

Needs an environment with this package and with ``constraints/airflow-peers.txt``. Every figure is the median
over
fresh interpreters, which take turns so that a busy moment of the machine hits everybody. Exits with 1 unless
ours is the cheapest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version

from report import write_section

from airflow_provider_mage import __version__

MODULES = {
    "airflow-provider-mage": "airflow_provider_mage.operators.pipeline",
    "apache-airflow-providers-airbyte": "airflow.providers.airbyte.operators.airbyte",
    "apache-airflow-providers-dbt-cloud": "airflow.providers.dbt.cloud.operators.dbt",
    "apache-airflow-providers-databricks": "airflow.providers.databricks.operators.databricks",
}
OURS = next(iter(MODULES))
BEFORE = {
    "`import airflow`": "import airflow",
    # what a DAG file has imported anyway
    "`from airflow.sdk import DAG`": "from airflow.sdk import DAG",
}
MEASURE = """
import importlib, sys, time
exec(sys.argv[1])
before = time.perf_counter()
importlib.import_module(sys.argv[2])
print(time.perf_counter() - before)
"""


def seconds_to_import(module: str, *, after: str, home: str) -> float:
    """
    Import a module in a fresh interpreter.

    :param module: Its name.
    :param after: What is imported before, and does not count.
    :param home: ``AIRFLOW_HOME``.
    :return: The seconds it took.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, after, module],
        env={**env, "AIRFLOW_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """
    Measure every package over every import before it.

    :param rounds: How often; one more goes before, so that everything is compiled.
    :return: Medians in seconds, by package and by what was imported before.
    """
    took: dict[str, dict[str, list[float]]] = {name: {after: [] for after in BEFORE} for name in MODULES}
    with tempfile.TemporaryDirectory() as home:
        for number in range(rounds + 1):
            for name, module in MODULES.items():
                for after, statement in BEFORE.items():
                    seconds = seconds_to_import(module, after=statement, home=home)
                    if number:
                        took[name][after].append(seconds)
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return {
        name: {after: statistics.median(seconds) for after, seconds in by_before.items()}
        for name, by_before in took.items()
    }


def table(figures: dict[str, dict[str, float]]) -> str:
    """
    Write what was measured as a Markdown table.

    :param figures: Medians in seconds, by package and by what was imported before.
    :return: The table, the cheapest first.
    """
    lines = [
        "| operators of | " + " | ".join(f"ms over {after} | ratio to ours" for after in BEFORE) + " |",
        "|---|" + "---:|---:|" * len(BEFORE),
    ]
    for name, by_before in sorted(figures.items(), key=lambda item: list(item[1].values())):
        cells = [
            f"{seconds * 1000:.0f} | {seconds / figures[OURS][after]:.1f}"
            for after, seconds in by_before.items()
        ]
        number = __version__ if name == OURS else version(name)
        lines.append(f"| {name} {number} | {' | '.join(cells)} |")
    python = ".".join(map(str, sys.version_info[:3]))
    return "\n".join([*lines, "", f"Airflow {version('apache-airflow')}, Python {python}."])


def main() -> int:
    """Measure, report, and say whether ours is the cheapest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each package is measured")
    args = parser.parse_args()

    figures = measure(args.rounds)
    text = table(figures)
    print(text)
    write_section("import", text)
    dearer = {
        (name, after)
        for name, by_before in figures.items()
        for after, seconds in by_before.items()
        if name != OURS and seconds <= figures[OURS][after]
    }
    for name, after in sorted(dearer):
        print(f"{OURS} costs as much as {name} or more, over {after}.", file=sys.stderr)
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
