"""The open-source Mage API, one method an endpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_mage.api.base_client import PAGE_SIZE
from airflow_provider_mage.api.errors import MageAnswerError, MageAPIError, MageNotFoundError
from airflow_provider_mage.api.models import (
    BlockRun,
    PipelineRun,
    PipelineRunStatus,
    ServerStatus,
    Uuid,
    Version,
)
from airflow_provider_mage.api.names import did_you_mean
from airflow_provider_mage.api.outputs import MageOutputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_mage.api.answer import Answer

# How Mage crashes over the block runs of a run whose pipeline schedule was deleted (observed).
ORPHAN = "'NoneType' object has no attribute 'id'"

# Mage takes ``start_timestamp`` for a time in its own time zone, and its runs' dates for UTC (observed): east
# of Greenwich it leaves out the runs of the last hours, unless it is asked for those of some hours more. The
# second is for SQLite, which leaves out what was created in the very second (observed).
FARTHEST_EAST = timedelta(hours=14, seconds=1)


class MageClient(MageOutputs):
    """
    The pipelines, pipeline schedules, pipeline runs and block runs of one Mage server.

    Every method raises :class:`~airflow_provider_mage.api.errors.MageTransportError` if there is no usable
    answer, :class:`~airflow_provider_mage.api.errors.MageAuthError` if the user may not do this, and
    otherwise :class:`~airflow_provider_mage.api.errors.MageAPIError` if Mage says no. Reads are repeated
    while that may help; of the writes, only those that say so.

    :param session: The authenticated conversation with the server.
    """

    @property
    def ui_url(self) -> str:
        """The address of Mage's own pages: the API's, without its last segment."""
        return self.session.api_url.rpartition("/")[0]

    # Server

    def get_status(self) -> ServerStatus:
        """Read what the server tells without a log-in."""
        return self.session.get("status").first("statuses", ServerStatus)

    def get_version(self) -> str:
        """Read the version of mage-ai that the server runs; slow, as it looks for its newest release."""
        return self.session.get("projects").first("projects", Version).version

    # Pipelines

    def list_pipelines(self) -> list[str]:
        """Return the ``pipeline_uuid`` of every pipeline."""
        rows = self._rows(self.session.get("pipelines"), "pipelines", Uuid.from_api)
        return [pipeline.uuid for pipeline in rows]

    def get_pipeline(self, pipeline_uuid: str) -> dict[str, Any]:
        """
        Read a pipeline.

        :param pipeline_uuid: The pipeline.
        :return: Its name, type, settings and blocks, as Mage sends them.
        :raises MageNotFoundError: If there is none of that name.
        """
        return self.session.get("pipelines", pipeline_uuid).member("pipeline")

    # Pipeline runs

    def create_pipeline_run(
        self,
        pipeline_schedule_id: int,
        variables: Mapping[str, Any] | None = None,
        *,
        execution_date: datetime | None = None,
        pipeline_uuid: str | None = None,
    ) -> PipelineRun:
        """
        Start a run.

        :param pipeline_schedule_id: The pipeline schedule to run under; if it is inactive, the run stays
            ``initial``.
        :param variables: What the run's blocks get, by name.
        :param execution_date: What its blocks see as ``execution_date``, in UTC unless it has a zone; by
            default the time of the request. Two runs of one schedule with one date overwrite each other's
            outputs (observed).
        :param pipeline_uuid: The schedule's pipeline: Mage asks for the user's role in it then, and else for
            that in the project (observed).
        :return: The new run, ``initial``.
        :raises MageAPIError: With code 500 if there is no such pipeline schedule.
        :raises MageTransportError: With ``may_have_arrived`` if nobody knows whether the run was created.
        """
        run: dict[str, Any] = {"variables": dict(variables or {})}
        if execution_date is not None:
            run["execution_date"] = _format_datetime(execution_date)
        answer = self.session.post(
            "pipeline_schedules",
            pipeline_schedule_id,
            "pipeline_runs",
            json={"pipeline_run": run},
            params={"pipeline_uuid": pipeline_uuid} if pipeline_uuid else None,
        )
        return answer.one("pipeline_run", PipelineRun)

    def get_pipeline_run(self, pipeline_run_id: int, *, short: bool = False) -> PipelineRun:
        """
        Read a run with its block runs.

        :param pipeline_run_id: The run.
        :param short: Leave variables and block runs out.
        :return: The run; of an orphan that has begun, id, status and block runs without their errors only.
        :raises MageNotFoundError: If there is no such run.
        """
        params = {"_format": "with_basic_details"} if short else {}
        try:
            answer = self.session.get("pipeline_runs", pipeline_run_id, **params)
        except MageAPIError as error:
            if error.reason != ORPHAN:
                raise
            run = self.get_pipeline_run(pipeline_run_id, short=True)
            block_runs = tuple(self.list_block_runs(pipeline_run_id))
            return replace(run, block_runs=block_runs, is_orphan=True)
        return _run_of(answer, pipeline_run_id)

    def list_pipeline_runs(
        self,
        *,
        pipeline_uuid: str | None = None,
        pipeline_uuids: Iterable[str] = (),
        pipeline_schedule_id: int | None = None,
        statuses: Iterable[PipelineRunStatus] = (),
        created_after: datetime | None = None,
        order_by: str = "id desc",
        limit: int = PAGE_SIZE,
        offset: int = 0,
        page_size: int = PAGE_SIZE,
        short: bool = False,
        must_hold: str | None = None,
    ) -> list[PipelineRun]:
        """
        Read runs, as many pages of them as it takes.

        :param pipeline_uuid: Only runs of this pipeline. Mage asks for the user's role in it then, and else
            for that in the project (observed).
        :param pipeline_uuids: Only runs of one of these pipelines, none of which has a comma in its name.
        :param pipeline_schedule_id: Only runs of this pipeline schedule. Mage answers for an unknown one with
            everybody's runs (observed), so this is checked here too.
        :param statuses: Only runs with one of these statuses.
        :param created_after: Only runs created at or after this time; with ``short``, some older ones too.
        :param order_by: Columns and directions, as Mage's API takes them.
        :param limit: The most runs to return.
        :param offset: How many to leave out before.
        :param page_size: The most runs to ask for in one request.
        :param short: Ids, statuses and execution dates only; not with ``pipeline_schedule_id``.
        :param must_hold: A text. If a row that makes no sense holds it, that is an error, where other such
            rows are left out with a warning.
        :return: The runs, the newest first unless ``order_by`` says otherwise.
        :raises ValueError: If ``short`` and ``pipeline_schedule_id`` are given.
        """
        if short and pipeline_schedule_id is not None:
            raise ValueError("the short format does not say which schedule a run belongs to")
        path: tuple[str | int, ...] = ("pipeline_runs",)
        if pipeline_schedule_id is not None:
            path = ("pipeline_schedules", pipeline_schedule_id, "pipeline_runs")
        # Without disable_retries_grouping, pages hold more or fewer runs than asked for (observed).
        params: dict[str, Any] = {"disable_retries_grouping": 1, "order_by[]": order_by}
        if pipeline_uuid is not None:
            params["pipeline_uuid"] = pipeline_uuid
        if pipeline_uuids:
            params["pipeline_uuid[]"] = ",".join(pipeline_uuids)
        if statuses:
            params["status[]"] = ",".join(status.value for status in statuses)
        if created_after is not None:
            params["start_timestamp"] = int((_utc(created_after) - FARTHEST_EAST).timestamp())
        if short:
            params["_format"] = "with_basic_details"

        rows = self._read_list(
            *path,
            read=PipelineRun.from_api,
            page_size=min(page_size, limit),
            offset=offset,
            must_hold=must_hold,
            **params,
        )
        runs = (
            run
            for run in rows
            if pipeline_schedule_id in (None, run.pipeline_schedule_id)
            and not (created_after and run.created_at and run.created_at < _utc(created_after))
        )
        return list(islice(runs, limit))

    def cancel_pipeline_run(self, pipeline_run_id: int) -> PipelineRun:
        """Cancel a run; one that is over stays as it is. Repeated while that may help, as it does no harm."""
        body = {"pipeline_run": {"status": "cancelled"}}
        answer = self.session.put("pipeline_runs", pipeline_run_id, json=body, is_repeatable=True)
        return _run_of(answer, pipeline_run_id)

    def retry_pipeline_run(self, pipeline_run_id: int, from_block_uuid: str | None = None) -> PipelineRun:
        """
        Run the blocks of a finished run again that did not complete; the run keeps its id.

        On a run that is not over, Mage sets its unfinished blocks back to the start (observed): look first.

        :param pipeline_run_id: The run.
        :param from_block_uuid: Run this block and everything after it instead.
        :return: The run, ``running`` again.
        :raises MageNotFoundError: If there is no such run.
        """
        run: dict[str, Any] = {"pipeline_run_action": "retry_blocks"}
        if from_block_uuid is not None:
            run["from_block_uuid"] = from_block_uuid
        answer = self.session.put("pipeline_runs", pipeline_run_id, json={"pipeline_run": run})
        return _run_of(answer, pipeline_run_id)

    def delete_pipeline_run(self, pipeline_run_id: int) -> None:
        """Delete a run, or raise a MageNotFoundError. The next run may get its id (observed on SQLite)."""
        self.session.request("DELETE", "pipeline_runs", pipeline_run_id)

    def pipeline_run_url(self, pipeline_uuid: str, pipeline_run_id: int) -> str:
        """
        Tell where a run is in Mage's own UI.

        :param pipeline_uuid: The run's pipeline; empty if it is not known.
        :param pipeline_run_id: The run.
        :return: The address of its page, or of the list of all runs.
        """
        if not pipeline_uuid:
            return f"{self.ui_url}/pipeline-runs"
        return f"{self.ui_url}/pipelines/{quote(pipeline_uuid, safe='')}/runs/{pipeline_run_id}"

    def pipeline_url(self, pipeline_uuid: str) -> str:
        """Return the address of a pipeline's page in Mage's own UI, with its pipeline schedules."""
        return f"{self.ui_url}/pipelines/{quote(pipeline_uuid, safe='')}/triggers"

    def log_url(self, pipeline_uuid: str, pipeline_run_id: int, block_run_id: int | None = None) -> str:
        """
        Tell where a log is in Mage's own UI.

        :param pipeline_uuid: The pipeline.
        :param pipeline_run_id: The run.
        :param block_run_id: One of its block runs; None for all of the run.
        :return: The address of the page.
        """
        which = f"pipeline_run_id%5B%5D={pipeline_run_id}"
        if block_run_id is not None:
            which = f"block_run_id%5B%5D={block_run_id}"
        return f"{self.ui_url}/pipelines/{quote(pipeline_uuid, safe='')}/logs?{which}"

    # Block runs

    def get_block_output(self, pipeline_run_id: int, block_uuid: str) -> Any:
        """
        Read what a block has returned in a run.

        :param pipeline_run_id: The run.
        :param block_uuid: The block; of a dynamic block's child, with the child's name, as in ``kid:monday``.
        :return: Plain JSON, by the rules of :mod:`airflow_provider_mage.api.outputs`; None if it has returned
            nothing, or has not run.
        :raises MageNotFoundError: If the run has no such block.
        """
        own = {block.block_uuid: block for block in self.get_pipeline_run(pipeline_run_id).block_runs}
        if block_uuid not in own:
            hint = did_you_mean(block_uuid, own)
            raise MageNotFoundError(f"Run {pipeline_run_id} has no block {block_uuid!r}: {hint}")
        return self.read_output(own[block_uuid])

    def list_block_runs(self, pipeline_run_id: int) -> list[BlockRun]:
        """Read the block runs of a run, without their errors, which only its own detail has (observed)."""
        rows = self._read_list("pipeline_runs", pipeline_run_id, "block_runs", read=_with_run)
        # For an unknown run, Mage answers with everybody's block runs (observed).
        own = {block.id: block for block, run_id in rows if run_id == pipeline_run_id}
        return [own[block_id] for block_id in sorted(own)]


def _with_run(row: Mapping[str, Any]) -> tuple[BlockRun, Any]:
    return BlockRun.from_api(row), row.get("pipeline_run_id")


def _run_of(answer: Answer, pipeline_run_id: int) -> PipelineRun:
    """Read the one run that an answer is about, which must be the one that was asked for."""
    run = answer.one("pipeline_run", PipelineRun)
    if run.id != pipeline_run_id:
        raise MageAnswerError(
            f"The server was asked about run {pipeline_run_id} and answered about run {run.id}; check for a "
            "cache or a proxy in front of Mage.",
            may_have_arrived=True,
            temporary=True,
        )
    return run


def _utc(moment: datetime) -> datetime:
    """Read a date without a zone as UTC, as Mage does."""
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _format_datetime(moment: datetime) -> str:
    """Write a date as Mage stores it: UTC, no zone, as SQLite would drop the offset (observed)."""
    return _utc(moment).replace(tzinfo=None).isoformat(sep=" ")
