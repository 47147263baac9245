"""
What task groups cost while a DAG file is parsed: ten of 50 blocks, and as many EmptyOperators.

Both in one process, in turn, so that the ratio is that of one machine in one mood. In an environment with
Airflow: ``python benchmarks/parsing.py``.
"""

from __future__ import annotations

import gc
import statistics
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import DAG, TaskGroup

from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.empty import EmptyOperator

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS, BLOCKS, ROUNDS = 10, 50, 15
UPSTREAM = [[f"block_{number - 1}"] if number else [] for number in range(BLOCKS)]
PIPELINE = [
    {"uuid": f"block_{number}", "upstream_blocks": upstream} for number, upstream in enumerate(UPSTREAM)
]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def make_groups() -> None:
    """Make the groups."""
    with DAG("groups", start_date=START, schedule=None):
        for number in range(GROUPS):
            MagePipelineTaskGroup(f"group_{number}", pipeline_uuid="orders", blocks=PIPELINE)


def make_empty() -> None:
    """Make as many groups of as many tasks that do nothing, wired in the same way."""
    with DAG("empty", start_date=START, schedule=None):
        for number in range(GROUPS):
            with TaskGroup(f"group_{number}"):
                tasks: dict[str, EmptyOperator] = {}
                for block, upstream in enumerate(UPSTREAM):
                    task = tasks[f"block_{block}"] = EmptyOperator(task_id=f"block_{block}")
                    for name in upstream:
                        tasks[name] >> task


def seconds(make: Callable[[], None]) -> float:
    """Return how long it takes."""
    gc.collect()
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def main() -> None:
    """Print both, and their ratio."""
    make_groups(), make_empty()
    ratios, ours, theirs = [], [], []
    for _ in range(ROUNDS):
        ours.append(seconds(make_groups))
        theirs.append(seconds(make_empty))
        ratios.append(ours[-1] / theirs[-1])
    print(f"{GROUPS} groups of {BLOCKS} blocks: {statistics.median(ours) * 1000:.0f} ms")
    print(f"{GROUPS} groups of {BLOCKS} EmptyOperators: {statistics.median(theirs) * 1000:.0f} ms")
    print(f"ratio: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
