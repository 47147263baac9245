"""What goes on on a cluster: whether it can be used, and whether anybody uses it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mage._clusters.goal import IDLE
from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage.api.errors import MageAuthError, MageError
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.goal import ClusterGoal
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)

IF_BUSY = ("stop", "fail", "wait", "cancel_runs")
MANY = 1000


def check_if_busy(if_busy: str, mage_conn_id: str | None) -> None:
    """
    Check what an author has said about a busy cluster.

    :param if_busy: One of :data:`IF_BUSY`.
    :param mage_conn_id: The connection to the cluster's own API, if there is one.
    :raises ValueError: If that is not possible.
    """
    if if_busy not in IF_BUSY:
        raise ValueError(f"`if_busy` must be one of {', '.join(IF_BUSY)}, not {if_busy!r}.")
    if if_busy != "stop" and mage_conn_id is None:
        raise ValueError(f"`if_busy={if_busy!r}` needs `mage_conn_id`, to see what runs on the cluster.")


def why_unusable(client: MageClient, goal: ClusterGoal) -> str | None:
    """
    See whether a cluster that has its status can be used, or let go.

    :param client: The cluster's own API; it should not repeat requests itself.
    :param goal: What is waited for.
    :return: None if so, otherwise what is in the way.
    :raises MageAuthError: If it answers, but not to this user: that will not change by waiting.
    """
    try:
        if goal.status != IDLE:
            client.get_status()
            return None
        runs = active_runs(client)
    except MageAuthError:
        raise
    except MageError as error:
        return f"runs, but its own API does not answer. {error}"
    return f"is busy with {describe_runs(runs)}" if runs else None


def require_idle(client: MageClient) -> None:
    """
    See that nothing runs on a cluster.

    :param client: The cluster.
    :raises MageError: If something does.
    """
    runs = active_runs(client)
    if runs:
        raise MageError(f"The cluster is busy with {describe_runs(runs)}, so it is not stopped.")


def active_runs(client: MageClient) -> list[PipelineRun]:
    """
    Return the pipeline runs that a stop of the cluster would interrupt.

    :param client: The cluster.
    :return: Runs that are running, or about to. Those of an inactive schedule stay ``initial`` for ever
        (observed) and do not count.
    """
    running = client.list_pipeline_runs(statuses=[PipelineRunStatus.RUNNING], limit=MANY)
    waiting = client.list_pipeline_runs(statuses=[PipelineRunStatus.INITIAL], limit=MANY)
    schedule_ids = {run.pipeline_schedule_id for run in waiting if run.pipeline_schedule_id is not None}
    active = {one for one in schedule_ids if client.get_pipeline_schedule(one).is_active}
    return [*running, *(run for run in waiting if run.pipeline_schedule_id in active)]


def cancel_active_runs(client: MageClient) -> None:
    """
    Cancel everything that runs on a cluster.

    :param client: The cluster.
    :raises MageError: If a run could not be cancelled.
    """
    for run in active_runs(client):
        if not cancel_run(client, run.id):
            raise MageError(f"{run.name} could not be cancelled, so the cluster is not stopped.")


def describe_runs(runs: list[PipelineRun]) -> str:
    """
    Name some runs.

    :param runs: The runs, at least one.
    :return: A few words.
    """
    shown = ", ".join(f"run {run.id} of {run.pipeline_uuid}" for run in runs[:5])
    return shown if len(runs) <= 5 else f"{shown} and {len(runs) - 5} more"  # noqa: PLR2004  enough to find them
