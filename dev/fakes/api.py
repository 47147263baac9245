"""What each endpoint answers: mage-ai 0.9.80, as far as the client uses it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fakes import logs, outputs
from fakes.databases import STATUSES
from fakes.messages import HTML, Answer, ApiError, Request, UncaughtError, database_error
from fakes.project import REPO_PATH, PipelineRun, PipelineSchedule
from fakes.rows import (
    block_row,
    date_text,
    listed_block_row,
    pipeline_row,
    run_row,
    schedule_row,
    short_run_row,
    short_schedule_row,
)
from fakes.versions import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fakes.project import Project
    from fakes.tokens import Account

DEFAULT_LIMIT = 40
HTML_404 = b"<html><title>404: Not Found</title><body>404: Not Found</body></html>"
UI_PAGE = b'<!DOCTYPE html><html lang="en"><head><title>Mage</title></head><body></body></html>'
UI_PATHS = re.compile(r"/?|/(files|oauth|overview|pipeline-runs|settings|sign-in|triggers)|/pipelines(/.*)?")
SCHEDULE_STATUSES = ("active", "inactive")
ACTIONS = {"GET": "detail", "POST": "create", "PUT": "update", "DELETE": "delete"}
WRITABLE_BY = ("owner", "editor")
NO_ACCESS = "You don\u2019t have access to this project. Please ask an admin or owner for permissions."
QUERY_PARAMETERS = {
    ("list", "pipeline_runs"): (
        "backfill_id disable_retries_grouping end_timestamp include_all_pipeline_schedules order_by[] "
        "pipeline_uuid pipeline_uuid[] start_timestamp status status[]"
    ),
    ("list", "pipeline_schedules"): "order_by schedule_interval[] schedule_type[] status[] tag[]",
    ("list", "pipelines"): "include_schedules repo_path search status[] tag[] type[]",
    ("detail", "pipelines"): "include_block_pipelines include_schedules includes_content includes_outputs",
    ("list", "block_runs"): "order_by pipeline_run_id pipeline_uuid",
    ("create", "pipeline_runs"): "pipeline_uuid",
}
"""What anybody but an owner may send; an owner's unknown parameters are ignored."""


class ParserError(ValueError):
    """dateutil's, by name."""

    __module__ = "dateutil.parser._parser"


@dataclass
class Call:
    """A request below ``/api``, taken apart: ``/resource/pk/child/child_pk``."""

    request: Request
    action: str
    resource: str
    pk: str | None = None
    child: str | None = None
    child_pk: str | None = None

    @property
    def url_parameters(self) -> dict[str, str]:
        """What Mage adds to the answer when an exception was not caught."""
        named = {"resource": self.resource, "pk": self.pk, "child": self.child, "child_pk": self.child_pk}
        return {name: value for name, value in named.items() if value is not None}

    def payload(self, name: str) -> dict[str, Any]:
        """Return one member of the body; nothing at all is as good as an empty one."""
        try:
            body = self.request.json or {}
        except ValueError as error:
            raise UncaughtError(error) from error
        payload: dict[str, Any] = body.get(name, {})
        return payload

    def number(self, name: str, default: int) -> int:
        """Return a query parameter as a number."""
        try:
            return int(self.request.first(name) or default)
        except ValueError as error:
            raise UncaughtError(error) from error


class Api:
    """
    The HTTP API over one project.

    :param authentication: ``REQUIRE_USER_AUTHENTICATION``, which is on by default.
    :param base_path: ``MAGE_BASE_PATH``.
    :param utc_offset: The server's time zone, in which it reads ``start_timestamp``: its dates are UTC.
    """

    def __init__(
        self,
        project: Project,
        account: Account,
        *,
        authentication: bool,
        base_path: str,
        utc_offset: timedelta,
        version: str,
    ) -> None:
        self.project = project
        self.account = account
        self.authentication = authentication
        self.base_path = f"/{base_path.strip('/')}" if base_path.strip("/") else ""
        self.utc_offset = utc_offset
        self.version = VERSIONS[version]
        self._endpoints: dict[tuple[str, str, str | None], Callable[[Call], dict[str, Any]]] = {
            ("list", "pipelines", None): self._list_pipelines,
            ("detail", "pipelines", None): self._show_pipeline,
            ("update", "pipelines", None): self._update_pipeline,
            ("detail", "pipelines", "blocks"): self._show_block,
            ("list", "pipelines", "logs"): self._list_logs,
            ("list", "pipelines", "pipeline_schedules"): self._list_pipeline_schedules,
            ("create", "pipelines", "pipeline_schedules"): self._create_pipeline_schedule,
            ("list", "pipeline_schedules", None): self._list_pipeline_schedules,
            ("detail", "pipeline_schedules", None): self._show_pipeline_schedule,
            ("update", "pipeline_schedules", None): self._update_pipeline_schedule,
            ("delete", "pipeline_schedules", None): self._delete_pipeline_schedule,
            ("list", "pipeline_schedules", "pipeline_runs"): self._list_pipeline_runs,
            ("create", "pipeline_schedules", "pipeline_runs"): self._create_pipeline_run,
            ("list", "pipeline_runs", None): self._list_pipeline_runs,
            ("detail", "pipeline_runs", None): self._show_pipeline_run,
            ("update", "pipeline_runs", None): self._update_pipeline_run,
            ("delete", "pipeline_runs", None): self._delete_pipeline_run,
            ("list", "pipeline_runs", "block_runs"): self._list_block_runs,
            ("list", "block_runs", "outputs"): self._list_outputs,
            ("list", "projects", None): self._list_projects,
        }

    def handle(self, request: Request) -> Answer:
        """Answer a request, and do what it asks for."""
        below, path = request.path.startswith(self.base_path), request.path[len(self.base_path) :]
        if not below or not re.match(r"/api/\w", path):
            is_page = below and request.method == "GET" and UI_PATHS.fullmatch(path)
            return Answer(200, UI_PAGE, HTML) if is_page else Answer(404, HTML_404, HTML)
        if request.method not in ACTIONS:
            return Answer(405)
        names = ("resource", "pk", "child", "child_pk")
        segments = [unquote(segment) for segment in path.removeprefix("/api/").split("/")]
        call = Call(request, ACTIONS[request.method], **dict(zip(names, segments)))  # noqa: B905  a short path
        if request.method == "GET" and (call.pk is None or (call.child and call.child_pk is None)):
            call.action = "list"
        try:
            return Answer.of(self._answer(call))
        except ApiError as error:
            is_asked = request.first("_http_error_codes") is not None
            return error.answer(http_error_codes=is_asked and self.version.knows_http_error_codes)
        except UncaughtError as error:
            return error.answer(call.url_parameters)

    def _answer(self, call: Call) -> dict[str, Any]:
        if call.resource in ("status", "statuses"):
            return self._list_statuses(call)
        is_logged_in = self.authentication and self.account.check(call.request, self.version)
        if (call.resource, call.action) == ("sessions", "create"):
            session = self.account.log_in(call.payload("session"), authentication=self.authentication)
            self.project.commit()
            return {"session": session, "metadata": None}
        endpoint = self._endpoints.get((call.action, call.resource, call.child))
        if endpoint is None:
            raise _no_module(call)
        self._find(call, is_logged_in=is_logged_in)
        self._authorize(call, is_logged_in=is_logged_in)
        return endpoint(call)

    def _find(self, call: Call, *, is_logged_in: bool) -> None:
        """Look the record up, which Mage does before it asks who wants it."""
        if call.pk is None:
            return
        if call.resource == "pipelines":
            if call.pk not in self.project.pipelines:
                raise UncaughtError(Exception(f"Pipeline {call.pk} does not exist."))
            return
        if call.child is None:
            self.project.commit()
        if self.project.database.is_strict and not call.pk.isdigit():
            raise self._no_number(call, is_logged_in=is_logged_in)
        # An unknown id in front of a child is no error.
        if call.resource == "block_runs":
            return
        rows: dict[int, Any] = getattr(self.project, call.resource)
        if call.child is None and _id(call) not in rows:
            raise self.account.not_found()

    def _no_number(self, call: Call, *, is_logged_in: bool) -> UncaughtError:
        """Say what Mage says of an id that is text: it then reads the user in the aborted transaction."""
        self.project.commit()
        if is_logged_in and call.child is None:
            text = (
                "(psycopg2.errors.InFailedSqlTransaction) current transaction is aborted, commands ignored "
            )
            statement = 'SELECT "user".username FROM "user" WHERE "user".id = %(pk_1)s'
            return database_error("InternalError", f"{text}until end of transaction block\n", statement, 1)
        table = call.resource.removesuffix("s")
        text = (
            f'(psycopg2.errors.InvalidTextRepresentation) invalid input syntax for type integer: "{call.pk}"'
        )
        statement = f"SELECT id FROM {table} WHERE id = %(pk_1)s"  # noqa: S608  a quotation
        return database_error("DataError", f"{text}\n", statement, call.pk)

    def _refuse_unknown(self, type_: str, wanted: list[str], known: tuple[str, ...]) -> None:
        """PostgreSQL knows which values a column can have."""
        unknown = [value for value in wanted if value not in known]
        if unknown and self.project.database.is_strict:
            self.project.commit()
            text = "(psycopg2.errors.InvalidTextRepresentation) invalid input value for enum "
            statement = "SELECT count(*) AS count_1 FROM anon_1 WHERE status IN (%(pk_1)s)"
            raise database_error("DataError", f'{text}{type_}: "{unknown[0]}"\n', statement, unknown[0])

    def _authorize(self, call: Call, *, is_logged_in: bool) -> None:
        if not self.authentication:
            return
        resource = call.child or call.resource
        kind = "unauthorized_access"
        if not is_logged_in:
            raise ApiError(403, f"Private access for {call.action} only, invalid scope.", kind)
        role = self.account.pipeline_roles.get(self._pipeline_of(call), self.account.role)
        if role == "owner":
            return
        if role == "nobody":
            raise ApiError(403, NO_ACCESS, kind)
        if call.action not in ("list", "detail") and role not in WRITABLE_BY:
            raise ApiError(
                403, f"Unauthorized operation {call.action} on {resource}, failed condition.", kind
            )
        known = QUERY_PARAMETERS.get((call.action, resource), "").split()
        for name, values in call.request.query.items():
            if not name.startswith("_") and name not in known:
                message = (
                    f"Query parameter {name} of value {values} is not permitted on {call.action} operation"
                )
                raise ApiError(403, f"{message} for {resource}.", kind)

    def _pipeline_of(self, call: Call) -> str:
        """Say in which pipeline the user needs a role; an empty text means the project."""
        if "pipeline_runs" in (call.child, call.resource) and call.request.first("pipeline_uuid"):
            return str(call.request.first("pipeline_uuid"))
        if call.child == "block_runs" or (call.child is None and call.pk is not None):
            if call.resource == "pipelines":
                return str(call.pk)
            record = getattr(self.project, call.resource).get(_id(call))
            return record.pipeline_uuid if record else ""
        return ""

    # Server

    def _list_statuses(self, call: Call) -> dict[str, Any]:
        runs = self.project.pipeline_runs.values()
        status: dict[str, Any] = {
            "is_instance_manager": False,
            "max_print_output_lines": 1000,
            "repo_path": REPO_PATH,
            "repo_path_relative": "project",
            "repo_path_relative_root": "project",
            "repo_path_root": REPO_PATH,
            "server_process_id": 1000,
            "scheduler_process_id": 1001,
            "scheduler_status": "running" if self.project.is_scheduler_running else "stopped",
            "instance_type": None,
            "disable_pipeline_edit_access": False,
            "require_user_authentication": self.authentication,
            "require_user_permissions": False,
            "project_type": "standalone",
            "project_uuid": "airflow_provider_mage_examples",
        }
        if not self.version.tells_process_ids:
            del status["server_process_id"], status["scheduler_process_id"]
        if call.request.first("_format") == "with_activity_details":
            latest = max((run.updated_at for run in runs), default=None)
            status["active_pipeline_run_count"] = sum(run.status == "running" for run in runs)
            status["last_scheduler_activity"] = date_text(latest)
            status["last_user_request"] = f"{self.project.clock()}+00:00"
        return {"statuses": [status], "metadata": {}}

    def _list_projects(self, call: Call) -> dict[str, Any]:
        project = {"name": "project", "version": self.version.number, "latest_version": "0.9.80"}
        return {"projects": [project], "metadata": {}}

    # Pipelines

    def _list_pipelines(self, call: Call) -> dict[str, Any]:
        found = [pipeline_row(pipeline) for _, pipeline in sorted(self.project.pipelines.items())]
        limit, offset = call.number("_limit", 0) or None, call.number("_offset", 0)
        page = found[offset : offset + limit] if limit else found
        following = offset + limit < len(found) if limit else None
        return {"pipelines": page, "metadata": {"count": len(found), "results": len(page), "next": following}}

    def _show_pipeline(self, call: Call) -> dict[str, Any]:
        pipeline = pipeline_row(self.project.pipelines[str(call.pk)])
        details: dict[str, Any] = {
            "callback_blocks": [],
            "conditional_blocks": [],
            "metadata": {},
            "tags": [],
        }
        if call.request.first("includes_content") != "false":
            details["content"] = ""
        if call.request.first("includes_outputs") != "false":
            details["outputs"] = []
        pipeline["blocks"] = [{**block, **details} for block in pipeline["blocks"]]
        if call.request.first("include_schedules"):
            schedules = self.project.pipeline_schedules.values()
            own = [one for one in schedules if one.pipeline_uuid == call.pk]
            pipeline["schedules"] = list(map(short_schedule_row, own))
        return {"pipeline": {**pipeline, "extensions": {}}, "metadata": None}

    def _update_pipeline(self, call: Call) -> dict[str, Any]:
        pipeline, change = self.project.pipelines[str(call.pk)], call.payload("pipeline")
        status = change.get("status")
        if status in ("active", "inactive"):
            for schedule in self.project.pipeline_schedules.values():
                if schedule.pipeline_uuid == pipeline.uuid:
                    # No last_enabled_at here, unlike in a change of the schedule itself.
                    schedule.status = status
        elif status == "cancelled":
            wanted = change.get("pipeline_runs")
            for run in self.project.pipeline_runs.values():
                if wanted is None:
                    is_meant = (
                        run.pipeline_schedule_id == change["pipeline_schedule_id"]
                        if "pipeline_schedule_id" in change
                        else run.pipeline_uuid == pipeline.uuid
                    )
                else:
                    is_meant = run.id in [row.get("id") for row in wanted]
                if is_meant:
                    self.project.cancel(run)
        return {"pipeline": {**pipeline_row(pipeline), "extensions": {}}, "metadata": None}

    def _show_block(self, call: Call) -> dict[str, Any]:
        pipeline = self.project.pipelines[str(call.pk)]
        found = [row for row in pipeline_row(pipeline)["blocks"] if row["uuid"] == call.child_pk]
        if not found:
            text = f"Block {call.child_pk} does not exist in pipeline {call.pk}."
            raise ApiError(400, text, "record_invalid")
        code = pipeline.code_of(found[0]["uuid"])
        return {"block": {**found[0], "content": code, "outputs": []}, "metadata": None}

    # Pipeline schedules

    def _list_pipeline_schedules(self, call: Call) -> dict[str, Any]:
        schedules = list(self.project.pipeline_schedules.values())
        if call.child is not None:
            schedules = [row for row in reversed(schedules) if row.pipeline_uuid == call.pk]
        for name in ("status", "schedule_type"):
            if wanted := call.request.first(f"{name}[]"):
                if name == "status":
                    self._refuse_unknown("schedulestatus", wanted.split(","), SCHEDULE_STATUSES)
                schedules = [row for row in schedules if getattr(row, name) in wanted.split(",")]
        return _page("pipeline_schedules", [self._schedule_in_list(row) for row in schedules], call)

    def _schedule_in_list(self, schedule: PipelineSchedule) -> dict[str, Any]:
        runs = [run for run in self.project.pipeline_runs.values() if run.pipeline_schedule_id == schedule.id]
        return {
            **schedule_row(schedule),
            "event_matchers": [],
            "last_pipeline_run_status": runs[-1].status if runs else None,
            "next_pipeline_run_date": None,
            "pipeline_in_progress_runs_count": sum(run.is_active for run in runs) if runs else None,
            "pipeline_runs_count": len(runs) or None,
            "tags": [],
        }

    def _create_pipeline_schedule(self, call: Call) -> dict[str, Any]:
        columns = call.payload("pipeline_schedule")
        _refuse_unknown_columns(columns, PipelineSchedule)
        name = columns.get("name")
        if not name:
            errors = {"error": "name cannot be empty.", "metadata": {"key": "name", "value": name}}
            raise ApiError(200, "Record is invalid.", "record_invalid", errors=errors)
        columns = {key: value for key, value in columns.items() if key not in ("id", "name", "pipeline_uuid")}
        schedule = self.project.add_pipeline_schedule(str(call.pk), name, **columns)
        return {"pipeline_schedule": schedule_row(schedule), "metadata": None}

    def _show_pipeline_schedule(self, call: Call) -> dict[str, Any]:
        details: dict[str, Any] = {"event_matchers": [], "next_pipeline_run_date": None, "tags": []}
        return {"pipeline_schedule": {**schedule_row(self._schedule(call)), **details}, "metadata": None}

    def _update_pipeline_schedule(self, call: Call) -> dict[str, Any]:
        self.project.change_pipeline_schedule(self._schedule(call), **call.payload("pipeline_schedule"))
        return self._show_pipeline_schedule(call)

    def _delete_pipeline_schedule(self, call: Call) -> dict[str, Any]:
        schedule = self._schedule(call)
        self.project.delete_pipeline_schedule(schedule)
        return {"pipeline_schedule": schedule_row(schedule), "metadata": None}

    def _schedule(self, call: Call) -> PipelineSchedule:
        return self.project.pipeline_schedules[_id(call)]

    # Pipeline runs

    def _create_pipeline_run(self, call: Call) -> dict[str, Any]:
        columns = call.payload("pipeline_run")
        date = _parse_date(columns.get("execution_date"))
        schedule = self.project.pipeline_schedules.get(_id(call))
        if schedule is None:
            raise UncaughtError(AttributeError("'NoneType' object has no attribute 'pipeline_uuid'"))
        _refuse_unknown_columns(columns, PipelineRun)
        variables = columns.get("variables") or {}
        if not isinstance(variables, dict):
            raise UncaughtError(TypeError("list indices must be integers or slices, not str"))
        run = self.project.add_pipeline_run(
            schedule,
            variables,
            execution_date=date,
            event_variables=columns.get("event_variables"),
            backfill_id=columns.get("backfill_id"),
        )
        return {"pipeline_run": run_row(run), "metadata": None}

    def _show_pipeline_run(self, call: Call) -> dict[str, Any]:
        run = self._run(call)
        self.project.look(run)
        if call.request.first("_format") == "with_basic_details":
            return {"pipeline_run": short_run_row(run), "metadata": None}
        schedule = self.project.pipeline_schedules.get(run.pipeline_schedule_id or 0)
        if schedule is None and run.block_runs:
            raise UncaughtError(AttributeError("'NoneType' object has no attribute 'id'"))
        origin = (
            {"pipeline_schedule_id": schedule.id, "pipeline_schedule_name": schedule.name} if schedule else {}
        )
        blocks = [{**block_row(block), **origin} for block in run.block_runs]
        return {"pipeline_run": {**run_row(run), "block_runs": blocks}, "metadata": None}

    def _update_pipeline_run(self, call: Call) -> dict[str, Any]:
        run, change = self._run(call), call.payload("pipeline_run")
        if change.get("pipeline_run_action") == "retry_blocks":
            self.project.retry(run, change.get("from_block_uuid"))
        elif change.get("status") == "cancelled":
            self.project.cancel(run)
        return {"pipeline_run": run_row(run), "metadata": None}

    def _delete_pipeline_run(self, call: Call) -> dict[str, Any]:
        run = self.project.pipeline_runs.pop(_id(call))
        return {"pipeline_run": run_row(run), "metadata": None}

    def _list_pipeline_runs(self, call: Call) -> dict[str, Any]:
        schedules = self.project.pipeline_schedules
        # An unknown schedule in the path filters nothing: everybody's runs.
        parent = schedules.get(_id(call)) if call.child else None
        for run in self.project.pipeline_runs.values():
            self.project.look(run)
        runs = [run for run in self.project.pipeline_runs.values() if run.pipeline_schedule_id in schedules]
        if parent is not None:
            runs = [run for run in runs if run.pipeline_schedule_id == parent.id]
        runs = self._ordered(self._filtered(runs, call), call)
        limit, offset = call.number("_limit", DEFAULT_LIMIT), call.number("_offset", 0)
        rows = runs[offset : offset + limit + 1]
        grouped = not call.request.first("disable_retries_grouping")
        if (
            limit
            and runs
            and grouped
            and (call.request.first("pipeline_uuid") is not None or parent is not None)
        ):
            rows = _with_retries(rows, runs)
        has_next = len(rows) > limit
        shown = rows[:-1] if has_next else rows
        present = (
            short_run_row if call.request.first("_format") == "with_basic_details" else self._run_in_list
        )
        return {
            "pipeline_runs": [present(run) for run in shown],
            "metadata": {"count": len(runs), "next": has_next},
        }

    def _filtered(self, runs: list[PipelineRun], call: Call) -> list[PipelineRun]:
        first = call.request.first
        wanted = {
            name: [one] if (one := first(name)) else (first(f"{name}[]") or "").split(",")
            for name in ("status", "pipeline_uuid")
        }
        if wanted["status"] != [""]:
            self._refuse_unknown("pipelinerunstatus", wanted["status"], STATUSES)
        for name, values in wanted.items():
            if values != [""]:
                runs = [run for run in runs if getattr(run, name) in values]
        if first("backfill_id"):
            runs = [run for run in runs if run.backfill_id == call.number("backfill_id", 0)]
        since, until = (self._timestamp(name, call) for name in ("start_timestamp", "end_timestamp"))
        if since:
            runs = [run for run in runs if self.project.database.is_since(run.created_at, since)]
        return [run for run in runs if not until or run.created_at <= until]

    def _timestamp(self, name: str, call: Call) -> datetime | None:
        text = call.request.first(name)
        if not text:
            return None
        try:
            moment = datetime.fromtimestamp(int(text), timezone.utc).replace(tzinfo=None)
        except (ValueError, OverflowError):
            code = self.version.invalid_record_code
            raise ApiError(code, f"Value is invalid for {name}.", "record_invalid") from None
        return self.project.database.date(moment + self.utc_offset)

    def _ordered(self, runs: list[PipelineRun], call: Call) -> list[PipelineRun]:
        order = call.request.first("order_by[]") or "execution_date desc,id desc"
        for term in reversed(order.split(",")):
            column, _, direction = term.strip().partition(" ")
            if column not in {field.name for field in fields(PipelineRun)}:
                raise UncaughtError(AttributeError(f"type object 'PipelineRun' has no attribute '{column}'"))
            rank = self.project.database.rank
            runs = sorted(runs, key=lambda run: rank(getattr(run, column)), reverse=direction == "desc")
        return runs

    def _run_in_list(self, run: PipelineRun) -> dict[str, Any]:
        schedule = self.project.pipeline_schedules[run.pipeline_schedule_id or 0]
        row = {
            **run_row(run),
            "block_runs": [block_row(block) for block in run.block_runs],
            "block_runs_count": len(run.block_runs),
            "completed_block_runs_count": sum(block.status == "completed" for block in run.block_runs),
            "pipeline_schedule_name": schedule.name,
            "pipeline_schedule_token": schedule.token,
            "pipeline_schedule_type": schedule.schedule_type,
            "pipeline_tags": None,
            "pipeline_type": None,
            "repo_path": REPO_PATH,
        }
        if not self.version.tells_repo_path:
            del row["repo_path"]
        return row

    def _run(self, call: Call) -> PipelineRun:
        return self.project.pipeline_runs[_id(call)]

    # Logs

    def _list_logs(self, call: Call) -> dict[str, Any]:
        """Show whole log files. A parameter without its brackets filters nothing."""
        runs = [run for run in self.project.pipeline_runs.values() if run.pipeline_uuid == call.pk]
        run_ids, block_ids = (
            [int(number) for number in (call.request.first(f"{name}[]") or "").split(",") if number]
            for name in ("pipeline_run_id", "block_run_id")
        )
        if run_ids:
            runs = [run for run in runs if run.id in run_ids]
        # An orphan's are not shown.
        runs = [run for run in runs if run.pipeline_schedule_id is not None]
        limit = call.number("_limit", 0) or None
        of_blocks = logs.block_run_files(runs, block_ids)
        if self.version.lists_errors:
            for file in of_blocks:
                text = r'("error(?:_stacktrace)?": )("(?:[^"\\]|\\.)*")'
                file["content"] = re.sub(text, r"\1[\2]", file["content"])
        files = {
            "block_run_logs": of_blocks[:limit],
            "pipeline_run_logs": [] if block_ids else logs.run_files(list(reversed(runs))[:limit]),
            "total_block_run_log_count": len(of_blocks),
            # What Mage counts here it forgets.
            "total_pipeline_run_log_count": 0 if block_ids else len(runs),
        }
        return {"logs": [files], "metadata": {}}

    # Block runs

    def _list_block_runs(self, call: Call) -> dict[str, Any]:
        """List the block runs of a run, or everybody's if there is no such run."""
        run = self.project.pipeline_runs.get(_id(call))
        runs: Iterable[PipelineRun] = [run] if run else reversed(self.project.pipeline_runs.values())
        found: list[dict[str, Any]] = []
        for owner in runs:
            schedule = None if run else self.project.pipeline_schedules.get(owner.pipeline_schedule_id or 0)
            found += [listed_block_row(block, schedule) for block in owner.block_runs]
        return _page("block_runs", found, call)

    def _list_outputs(self, call: Call) -> dict[str, Any]:
        """Show what a block has returned, or nothing: of an unknown block run, too."""
        for run in self.project.pipeline_runs.values():
            for block in run.block_runs:
                if block.id == _id(call) and block.status == "completed":
                    returned = self.project.pipelines[run.pipeline_uuid].returns.get(block.block_uuid)
                    shown = outputs.shown(returned, knows_tables=self.version.shows_tables)
                    return {"outputs": shown, "metadata": {}}
        return {"outputs": [], "metadata": {}}


def _id(call: Call) -> int:
    """Return the id in the path; text is an id that nobody has."""
    return int(call.pk) if call.pk and call.pk.isdigit() else -1


def _no_module(call: Call) -> UncaughtError:
    """Mage imports a resource's classes by the name in the path."""
    unknown = (call.child or call.resource).rstrip("s").title().replace("_", "")
    layer = ("policies", "Policy") if call.pk is None else ("resources", "Resource")
    return UncaughtError(ModuleNotFoundError(f"No module named 'mage_ai.api.{layer[0]}.{unknown}{layer[1]}'"))


def _refuse_unknown_columns(columns: dict[str, Any], model: type[PipelineRun | PipelineSchedule]) -> None:
    for name in columns:
        if name not in {field.name for field in fields(model)}:
            raise UncaughtError(TypeError(f"'{name}' is an invalid keyword argument for {model.__name__}"))


def _parse_date(text: str | None) -> datetime | None:
    """Read an execution date."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UncaughtError(ParserError(f"Unknown string format: {text}")) from None


def _with_retries(rows: list[PipelineRun], runs: list[PipelineRun]) -> list[PipelineRun]:
    """
    Group runs of one execution date, as Mage does unless ``disable_retries_grouping`` is sent.

    Pages then hold more or fewer runs than asked for, and a page past the end is an error.
    """
    if not rows:
        raise UncaughtError(IndexError("list index out of range"))
    dates = {rows[-1].execution_date}
    if next(run for run in runs if run.execution_date == rows[0].execution_date).id != rows[0].id:
        dates.add(rows[0].execution_date)
    others = [run for run in rows if run.execution_date not in dates]
    return others + [run for run in runs if run.execution_date == rows[-1].execution_date]


def _page(name: str, rows: list[dict[str, Any]], call: Call) -> dict[str, Any]:
    limit, offset = call.number("_limit", DEFAULT_LIMIT), call.number("_offset", 0)
    return {
        name: rows[offset : offset + limit],
        "metadata": {"count": len(rows), "next": len(rows) > offset + limit},
    }
