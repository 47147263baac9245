"""Which pipelines run on a cluster, and what an author wants done about them before it is stopped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)

IF_BUSY = ("stop", "fail", "wait", "cancel_runs")
# More runs than a cluster works on at a time, so that one request lists them all.
MANY = 1000


def check_if_busy(if_busy: str, mage_conn_id: str | None) -> None:
    """Raise a ValueError if what an author has said about a busy cluster is not possible."""
    if if_busy not in IF_BUSY:
        raise ValueError(f"`if_busy` must be one of {', '.join(IF_BUSY)}, not {if_busy!r}.")
    if if_busy != "stop" and mage_conn_id is None:
        raise ValueError(f"`if_busy={if_busy!r}` needs `mage_conn_id`, to see what runs on the cluster.")


def require_idle(client: MageClient) -> None:
    """Raise a :class:`MageError` if anything runs on the cluster whose own API this is."""
    runs = active_runs(client)
    if runs:
        raise MageError(f"The cluster is busy with {describe_runs(runs)}, so it is not stopped.")


def active_runs(client: MageClient) -> list[PipelineRun]:
    """
    Return the pipeline runs that a stop of the cluster would interrupt.

    Those are running, or about to. Runs of an inactive schedule stay ``initial`` for ever (observed), and do
    not count.
    """
    running = client.list_pipeline_runs(statuses=[PipelineRunStatus.RUNNING], limit=MANY)
    waiting = client.list_pipeline_runs(statuses=[PipelineRunStatus.INITIAL], limit=MANY)
    schedule_ids = {run.pipeline_schedule_id for run in waiting if run.pipeline_schedule_id is not None}
    active = {one for one in schedule_ids if client.get_pipeline_schedule(one).is_active}
    return [*running, *(run for run in waiting if run.pipeline_schedule_id in active)]


def cancel_active_runs(client: MageClient) -> None:
    """Cancel everything that runs on a cluster, or raise a :class:`MageError`."""
    for run in active_runs(client):
        if not cancel_run(client, run.id):
            raise MageError(f"Cannot cancel {run.name}, so the cluster is not stopped.")


def describe_runs(runs: list[PipelineRun]) -> str:
    """Name some runs, at least one, with at most five ids."""
    shown = ", ".join(f"run {run.id} of {run.pipeline_uuid}" for run in runs[:5])
    return shown if len(runs) <= 5 else f"{shown} and {len(runs) - 5} more"  # noqa: PLR2004  enough to find them
