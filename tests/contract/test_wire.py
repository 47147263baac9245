"""What goes over the wire, byte shapes and all: the fake answers as a real Mage does."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
import requests
from contract.shapes import (
    BLOCK_IN_DETAIL,
    BLOCK_RUN_IN_LIST,
    DATE,
    LIST_METADATA,
    PIPELINE,
    RUN,
    RUN_IN_DETAIL,
    SCHEDULE,
    SCHEDULE_IN_DETAIL,
    SCHEDULE_IN_LIST,
    SESSION,
    SHORT_RUN,
    ZONED_DATE,
    Or,
    differences,
    run_in_list_of,
    status_of,
)
from contract.targets import (
    NOBODY,
    RUN_SECONDS,
    assert_crashed,
    assert_database_error,
    assert_missing,
    assert_refused,
    assert_shape,
    unwrap,
)
from contract.tested import DATABASE, VERSION

OVER = ("completed", "failed", "cancelled")
ONE_BY_ONE = "disable_retries_grouping=1"


TEXT_FOR_A_NUMBER = "(psycopg2.errors.InvalidTextRepresentation) invalid input syntax for type integer: "
UNKNOWN_STATUS = "(psycopg2.errors.InvalidTextRepresentation) invalid input value for enum "
ABORTED = "(psycopg2.errors.InFailedSqlTransaction) current transaction is aborted, commands ignored "


def assert_unknown(wire, collection, record_id, change):
    """
    Read, change and delete a record that there is not: a 404 each time.

    But PostgreSQL takes no text for a number, and Mage goes on in the aborted transaction.
    """
    path = f"/{collection}/{record_id}"
    for answer in (wire.get(path), wire.put(path, change), wire.send("DELETE", path)):
        if DATABASE.is_strict and not record_id.isdigit():
            assert_database_error(answer, ABORTED)
        else:
            assert_missing(answer)


class TestLogIn:
    @pytest.mark.parametrize("name", ["email", "username"])
    def test_answers_a_jwt_around_the_token(self, mage, name):
        session = {name: getattr(mage.server, name), "password": mage.server.password}
        answer = mage.wire().post("/sessions", {"session": session})
        assert_shape(answer, SESSION)
        header, payload, _ = answer.json()["session"]["token"].split(".")
        decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload)]
        assert differences(decoded[0], {"alg": "HS256", "typ": "JWT"}) == []
        assert differences(decoded[1], {"expires": float, "token": re.compile(r"[\w-]{43}")}) == []

    @pytest.mark.parametrize(
        ("session", "message"),
        [
            ({"email": "{email}", "password": "wrong"}, NOBODY),
            ({"username": "{username}", "password": "wrong"}, NOBODY),
            ({"email": "{username}", "password": "{password}"}, NOBODY),
            ({"username": "{email}", "password": "{password}"}, NOBODY),
            ({"email": "nobody@mage.invalid", "password": "wrong"}, NOBODY),
            ({"email": "{email}"}, "Email/username and password are required."),
            ({"password": "wrong"}, "Email/username and password are required."),
            ({}, "Email/username and password are required."),
        ],
    )
    def test_says_404_to_a_wrong_user(self, mage, session, message):
        session = {name: value.format(**vars(mage.server)) for name, value in session.items()}
        assert_refused(mage.wire().post("/sessions", {"session": session}), 404, "record_not_found", message)

    def test_without_a_body_is_a_log_in_without_a_user(self, mage):
        answer = mage.wire().post("/sessions")
        assert_refused(answer, 404, "record_not_found", "Email/username and password are required.")

    def test_that_is_no_json_is_an_exception_on_the_server(self, mage):
        answer = mage.wire().send("POST", "/sessions", data="{not json")
        assert_crashed(answer, "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)")

    def test_is_refused_because_of_an_old_token_sent_along(self, mage):
        session = {"email": mage.server.email, "password": mage.server.password}
        wire = mage.log_in()
        mage.expire(wire.headers["OAUTH-TOKEN"])
        answer = wire.post("/sessions", {"session": session})
        assert_refused(answer, 401, "expired_oauth_token", "Expired OAuth token.", status=401)
        assert_shape(mage.wire().post("/sessions", {"session": session}), SESSION)


class TestApiKey:
    def refused(self, answer):
        code = VERSION.invalid_api_key_code
        assert_refused(answer, code, "invalid_api_key", "Invalid API key.", status=code)

    @pytest.mark.parametrize("headers", [{}, {"X-API-KEY": ""}, {"X-API-KEY": "wrong"}])
    def test_is_asked_for_first(self, mage, wire, headers):
        session = {"email": mage.server.email, "password": mage.server.password}
        self.refused(wire.post("/sessions", {"session": session}, headers=headers))
        self.refused(wire.get("/pipelines", headers={**wire.headers, "X-API-KEY": "", **headers}))
        self.refused(wire.get("/nothing_of_that_name", headers=headers))

    def test_may_come_in_the_query_but_not_of_a_request_with_a_body(self, mage, wire):
        token = {"OAUTH-TOKEN": wire.headers["OAUTH-TOKEN"]}
        query = f"?api_key={mage.server.api_key}"
        assert wire.get(f"/pipelines{query}", headers=token).status_code == 200
        self.refused(wire.get("/pipelines?api_key=wrong", headers=token))
        path = "/pipelines/daily_orders/pipeline_schedules"
        self.refused(wire.post(f"{path}{query}", {"pipeline_schedule": {}}, headers=token))

    def test_may_come_in_the_body_of_a_post(self, mage):
        body = {"session": {"email": mage.server.email, "password": mage.server.password}}
        wire = mage.wire()
        assert_shape(wire.post("/sessions", {**body, "api_key": mage.server.api_key}, headers={}), SESSION)
        self.refused(wire.post("/sessions", {**body, "api_key": "wrong"}, headers={}))


class TestToken:
    PATH = "/pipeline_runs?_limit=0"

    def get(self, mage, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return mage.wire().get(self.PATH, headers={"X-API-KEY": mage.server.api_key, **named})

    def test_is_welcome_raw_in_a_header_and_as_jwt_in_a_cookie(self, mage):
        jwt = mage.jwt()
        raw = unwrap(jwt)
        for headers in (
            {"OAUTH_TOKEN": raw},
            {"Authorization": f"Bearer {raw}"},
            {"Cookie": f"oauth_token={jwt}"},
            {"OAUTH_TOKEN": raw, "Cookie": "oauth_token=not-looked-at"},
        ):
            assert_shape(self.get(mage, **headers), {"pipeline_runs": [], "metadata": LIST_METADATA})

    def test_that_is_missing_leaves_nothing_in_scope(self, mage):
        for method, path, action in (
            ("GET", "/pipelines", "list"),
            ("GET", "/pipelines/daily_orders", "detail"),
            ("PUT", "/pipelines/daily_orders", "update"),
            ("GET", "/pipelines/daily_orders/pipeline_schedules", "list"),
            ("POST", "/pipelines/daily_orders/pipeline_schedules", "create"),
            ("POST", "/pipeline_schedules/1/pipeline_runs", "create"),
            ("GET", "/pipeline_runs", "list"),
        ):
            answer = mage.wire().send(method, path, {} if method != "GET" else None)
            message = f"Private access for {action} only, invalid scope."
            assert_refused(answer, 403, "unauthorized_access", message)
        basic = self.get(mage, Authorization="Basic YTpi")
        assert_refused(basic, 403, "unauthorized_access", "Private access for list only, invalid scope.")

    def test_that_is_missing_does_not_hide_what_does_not_exist(self, mage):
        mage.jwt()  # sets the text of the 404
        assert_missing(mage.wire().get("/pipeline_runs/999999"))
        text = mage.wire().get("/pipeline_runs/abc")
        assert_database_error(text, TEXT_FOR_A_NUMBER) if DATABASE.is_strict else assert_missing(text)
        assert_crashed(mage.wire().get("/pipelines/nope"), "Pipeline nope does not exist.")

    def test_in_the_wrong_place_is_invalid(self, mage):
        jwt = mage.jwt()
        for headers in ({"OAUTH_TOKEN": jwt}, {"OAUTH_TOKEN": "junk"}, {"Authorization": "Bearer junk"}):
            answer = self.get(mage, **headers)
            assert_refused(answer, 401, "invalid_oauth_token", "Invalid OAuth token.", status=401)

    def test_in_the_cookie_that_is_no_jwt_of_this_server_is_an_exception(self, mage):
        jwt = mage.jwt()
        assert_crashed(self.get(mage, Cookie=f"oauth_token={unwrap(jwt)}"), "Not enough segments")
        signed = jwt.rpartition(".")[0]
        assert_crashed(self.get(mage, Cookie=f"oauth_token={signed}.AAAA"), "Signature verification failed")

    @pytest.mark.parametrize("place", ["OAUTH-TOKEN", "Authorization", "Cookie"])
    def test_that_was_revoked_is_invalid(self, mage, place):
        jwt = mage.jwt()
        raw = unwrap(jwt)
        value = {"Authorization": f"Bearer {raw}", "Cookie": f"oauth_token={jwt}"}.get(place, raw)
        mage.revoke(raw)
        answer = self.get(mage, **{place: value})
        assert_refused(answer, 401, "invalid_oauth_token", "Invalid OAuth token.", status=401)

    @pytest.mark.parametrize("place", ["OAUTH-TOKEN", "Cookie"])
    def test_that_is_too_old_has_expired(self, mage, place):
        jwt = mage.jwt()
        value = unwrap(jwt) if place == "OAUTH-TOKEN" else f"oauth_token={jwt}"
        assert "error" not in self.get(mage, **{place: value}).json()
        mage.expire(unwrap(jwt))
        answer = self.get(mage, **{place: value})
        assert_refused(answer, 401, "expired_oauth_token", "Expired OAuth token.", status=401)


class TestViewer:
    def test_may_look_but_not_touch(self, viewer):
        mage, session = viewer
        wire = mage.wire()
        answer = wire.post("/sessions", {"session": session})
        assert_shape(answer, SESSION)
        user = answer.json()["session"]["user"]
        assert (user["owner"], user["project_access"], user["roles_display"]) == (False, 8, None)
        wire.headers["OAUTH-TOKEN"] = unwrap(answer.json()["session"]["token"])

        assert "error" not in wire.get("/pipelines/daily_orders/pipeline_schedules").json()
        query = (
            f"status[]=running&order_by[]=id%20desc&{ONE_BY_ONE}&start_timestamp=1&pipeline_uuid=daily_orders"
        )
        assert "error" not in wire.get(f"/pipeline_runs?{query}&_limit=1&_format=with_basic_details").json()
        answer = wire.get("/pipeline_runs?surprise=1")
        message = (
            "Query parameter surprise of value ['1'] is not permitted on list operation for pipeline_runs."
        )
        assert_refused(answer, 403, "unauthorized_access", message)
        for path, resource in (
            ("/pipelines/daily_orders/pipeline_schedules", "pipeline_schedules"),
            ("/pipeline_schedules/1/pipeline_runs", "pipeline_runs"),
        ):
            message = f"Unauthorized operation create on {resource}, failed condition."
            assert_refused(wire.post(path, {}), 403, "unauthorized_access", message)


class TestStatus:
    @pytest.mark.parametrize("path", ["/status", "/statuses"])
    def test_needs_neither_key_nor_token(self, mage, path):
        answer = mage.wire().get(path, headers={"OAUTH-TOKEN": "junk"})
        status = {**status_of(VERSION), "require_user_authentication": True}
        assert_shape(answer, {"statuses": [status], "metadata": {}})

    def test_can_tell_more(self, mage):
        more = {
            "active_pipeline_run_count": int,
            "last_scheduler_activity": Or(DATE, None),
            "last_user_request": ZONED_DATE,
        }
        answer = mage.wire().get("/status?_format=with_activity_details", headers={})
        assert_shape(answer, {"statuses": [{**status_of(VERSION), **more}], "metadata": {}})

    def test_of_the_project_tells_the_version(self, wire):
        answer = wire.get("/projects").json()
        assert re.fullmatch(r"\d+\.\d+\.\d+", answer["projects"][0]["version"])


class TestPipelines:
    def test_are_listed(self, wire):
        answer = wire.get("/pipelines")
        assert_shape(
            answer, {"pipelines": [PIPELINE], "metadata": {"count": int, "results": int, "next": None}}
        )
        assert {"broken_orders", "daily_orders"} <= {row["uuid"] for row in answer.json()["pipelines"]}

    def test_are_listed_by_pages(self, wire):
        answer = wire.get("/pipelines?_limit=1&_offset=1").json()
        assert len(answer["pipelines"]) == 1
        assert differences(answer["metadata"], {"count": int, "results": 1, "next": bool}) == []

    def test_are_shown_with_their_blocks(self, wire):
        answer = wire.get("/pipelines/broken_orders")
        detail = {**PIPELINE, "blocks": [BLOCK_IN_DETAIL], "extensions": {}}
        assert_shape(answer, {"pipeline": detail, "metadata": None})
        blocks = [(block["uuid"], block["upstream_blocks"]) for block in answer.json()["pipeline"]["blocks"]]
        assert blocks == [
            ("load_orders", []),
            ("check_orders", ["load_orders"]),
            ("export_totals", ["check_orders"]),
        ]

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/pipelines/nope", None),
            ("GET", "/pipelines/nope?_http_error_codes=true", None),
            ("PUT", "/pipelines/nope", {"pipeline": {"status": "inactive"}}),
            ("GET", "/pipelines/nope/pipeline_schedules", None),
            ("POST", "/pipelines/nope/pipeline_schedules", {"pipeline_schedule": {"name": "x"}}),
        ],
    )
    def test_that_do_not_exist_are_an_exception_on_the_server(self, wire, method, path, body):
        assert_crashed(wire.send(method, path, body), "Pipeline nope does not exist.")

    def test_switch_all_their_schedules(self, wire):
        first, second = wire.schedule("broken_orders"), wire.schedule("broken_orders", status="inactive")
        for status in ("inactive", "active"):
            answer = wire.put("/pipelines/broken_orders", {"pipeline": {"status": status}})
            assert_shape(answer, {"pipeline": {**PIPELINE, "extensions": {}}, "metadata": None})
            rows = wire.get("/pipelines/broken_orders/pipeline_schedules").json()["pipeline_schedules"]
            assert {row["status"] for row in rows if row["id"] in (first, second)} == {status}

    def test_cancel_the_runs_they_are_told_to(self, wire):
        schedule = wire.schedule(status="inactive")
        first, second, third = (wire.run(schedule) for _ in range(3))
        change = {"status": "cancelled", "pipeline_runs": [{"id": first}, {"id": third}]}
        wire.put("/pipelines/daily_orders", {"pipeline": change})
        assert [wire.show(run)["status"] for run in (first, second, third)] == [
            "cancelled",
            "initial",
            "cancelled",
        ]


class TestPipelineSchedules:
    PATH = "/pipelines/daily_orders/pipeline_schedules"

    def test_are_created(self, wire):
        row = {"name": "airflow", "schedule_type": "api", "status": "active"}
        answer = wire.post(self.PATH, {"pipeline_schedule": row})
        created = {**SCHEDULE, **row, "last_enabled_at": DATE, "settings": None, "variables": None}
        assert_shape(
            answer, {"pipeline_schedule": {**created, "pipeline_uuid": "daily_orders"}, "metadata": None}
        )

    def test_are_inactive_unless_told_otherwise(self, wire):
        row = {"name": "idle", "schedule_type": "api", "variables": {"a": 1}, "settings": {"timeout": 60}}
        answer = wire.post(self.PATH, {"pipeline_schedule": row})
        created = {**SCHEDULE, **row, "status": "inactive", "last_enabled_at": None}
        assert_shape(answer, {"pipeline_schedule": created, "metadata": None})

    @pytest.mark.parametrize("body", [{}, {"pipeline_schedule": {"schedule_type": "api"}}])
    def test_without_a_name_are_refused_with_code_200(self, wire, body):
        errors = {"error": "name cannot be empty.", "metadata": {"key": "name", "value": None}}
        error = {"code": 200, "message": "Record is invalid.", "type": "record_invalid", "errors": errors}
        assert_shape(wire.post(self.PATH, body), {"error": error, "status": 200})

    def test_with_an_unknown_column_are_an_exception_on_the_server(self, wire):
        answer = wire.post(self.PATH, {"pipeline_schedule": {"name": "x", "surprise": 1}})
        assert_crashed(answer, "'surprise' is an invalid keyword argument for PipelineSchedule")

    def test_are_listed_newest_first(self, wire):
        older, newer = wire.schedule(name="twice"), wire.schedule(name="twice")
        answer = wire.get(self.PATH)
        assert_shape(answer, {"pipeline_schedules": [SCHEDULE_IN_LIST], "metadata": LIST_METADATA})
        assert [row["id"] for row in answer.json()["pipeline_schedules"]][:2] == [newer, older]

    def test_are_listed_with_a_summary_of_their_runs(self, wire):
        schedule = wire.schedule(status="inactive")
        summary = ("last_pipeline_run_status", "pipeline_in_progress_runs_count", "pipeline_runs_count")
        assert self.summary(wire, schedule, summary) == [None, None, None]
        wire.run(schedule)
        wire.put(f"/pipeline_runs/{wire.run(schedule)}", {"pipeline_run": {"status": "cancelled"}})
        assert self.summary(wire, schedule, summary) == ["cancelled", 1, 2]

    def summary(self, wire, schedule, names):
        rows = wire.get(self.PATH).json()["pipeline_schedules"]
        row = next(row for row in rows if row["id"] == schedule)
        return [row[name] for name in names]

    def test_are_listed_for_all_pipelines(self, wire):
        answer = wire.get("/pipeline_schedules?_limit=2")
        assert_shape(
            answer, {"pipeline_schedules": [SCHEDULE_IN_LIST], "metadata": {"count": int, "next": True}}
        )
        assert len(answer.json()["pipeline_schedules"]) == 2

    def test_are_shown_and_changed(self, wire):
        schedule = wire.schedule(status="inactive")
        answer = wire.get(f"/pipeline_schedules/{schedule}")
        assert_shape(answer, {"pipeline_schedule": SCHEDULE_IN_DETAIL, "metadata": None})
        change = {"status": "active", "surprise": "ignored"}
        answer = wire.put(f"/pipeline_schedules/{schedule}", {"pipeline_schedule": change})
        changed = {**SCHEDULE_IN_DETAIL, "status": "active", "last_enabled_at": DATE}
        assert_shape(answer, {"pipeline_schedule": changed, "metadata": None})

    @pytest.mark.parametrize("unknown", ["999999", "abc"])
    def test_that_do_not_exist_are_missing(self, wire, unknown):
        change = {"pipeline_schedule": {"status": "active"}}
        assert_unknown(wire, "pipeline_schedules", unknown, change)

    def test_of_an_unknown_status_are_none_or_an_exception(self, wire):
        answer = wire.get("/pipeline_schedules?status[]=surprise")
        if DATABASE.is_strict:
            assert_database_error(answer, UNKNOWN_STATUS)
        else:
            assert answer.json() == {"pipeline_schedules": [], "metadata": {"count": 0, "next": False}}

    def test_that_are_deleted_leave_their_runs_behind_and_on_sqlite_their_id_free(self, wire):
        schedule = wire.schedule(status="inactive")
        run = wire.run(schedule)
        answer = wire.send("DELETE", f"/pipeline_schedules/{schedule}")
        assert_shape(answer, {"pipeline_schedule": SCHEDULE, "metadata": None})
        assert wire.show(run)["pipeline_schedule_id"] is None
        short = wire.get(f"/pipeline_runs/{run}?_format=with_basic_details")
        assert_shape(short, {"pipeline_run": SHORT_RUN, "metadata": None})
        listed = wire.get(f"/pipeline_runs?{ONE_BY_ONE}&_limit=1000").json()["pipeline_runs"]
        assert run not in [row["id"] for row in listed]
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        assert answer.json()["pipeline_run"]["status"] == "cancelled"
        assert (wire.schedule() == schedule) is DATABASE.gives_ids_again

    def test_that_are_deleted_make_their_started_runs_unreadable(self, wire):
        schedule = wire.schedule()
        run = wire.run(schedule)
        wire.wait_for(run, *OVER)
        wire.send("DELETE", f"/pipeline_schedules/{schedule}")
        assert_crashed(wire.get(f"/pipeline_runs/{run}"), "'NoneType' object has no attribute 'id'")
        short = wire.get(f"/pipeline_runs/{run}?_format=with_basic_details").json()["pipeline_run"]
        assert short["status"] == "completed"


class TestCreatingRuns:
    def test_adds_the_partition_to_the_variables(self, wire):
        schedule = wire.schedule(status="inactive")
        variables = {"orders": 20, "airflow": {"run_key": "k", "map_index": -1}}
        answer = wire.post(
            f"/pipeline_schedules/{schedule}/pipeline_runs", {"pipeline_run": {"variables": variables}}
        )
        partition = re.compile(rf"{schedule}/\d{{8}}T\d{{6}}_\d{{6}}")
        created = {
            **RUN,
            "pipeline_schedule_id": schedule,
            "pipeline_uuid": "daily_orders",
            "status": "initial",
            "started_at": None,
            "completed_at": None,
            "variables": {
                "orders": 20,
                "airflow": {"run_key": "k", "map_index": -1},
                "execution_partition": partition,
            },
        }
        assert_shape(answer, {"pipeline_run": created, "metadata": None})

    @pytest.mark.parametrize("body", [None, {}, {"pipeline_run": {}}, {"pipeline_run": {"variables": None}}])
    def test_works_without_anything_said(self, wire, body):
        schedule = wire.schedule(status="inactive")
        answer = wire.post(f"/pipeline_schedules/{schedule}/pipeline_runs", body)
        run = {**RUN, "status": "initial", "variables": {"execution_partition": str}}
        assert_shape(answer, {"pipeline_run": run, "metadata": None})

    def test_drops_the_offset_of_a_date_unless_the_database_knows_zones(self, wire):
        date = "2026-01-02T03:04:05+02:00"
        run = wire.show(wire.run(wire.schedule(status="inactive"), execution_date=date))
        stored = {"sqlite": "2026-01-02 03:04:05", "postgresql": "2026-01-02 01:04:05+00:00"}
        assert run["execution_date"] == stored[DATABASE.name]
        assert run["variables"]["execution_partition"].endswith("/20260102T030405_000000")

    def test_dates_them_from_the_beginning_of_the_transaction_on_postgresql(self, wire):
        """Mage stays in the transaction of its last read, for hours if nobody makes it commit."""
        schedule = wire.schedule(status="inactive")
        wire.get("/pipeline_runs?_limit=1")
        read = datetime.now(timezone.utc)
        time.sleep(1.1)  # SQLite knows whole seconds only
        run = wire.show(wire.run(schedule))
        created = datetime.fromisoformat(run["created_at"]).replace(tzinfo=timezone.utc)
        assert (created < read) is (DATABASE.name == "postgresql")
        executed = datetime.fromisoformat(run["execution_date"]).replace(tzinfo=timezone.utc)
        assert executed > read

    def test_under_an_unknown_schedule_is_an_exception_on_the_server(self, wire):
        answer = wire.post("/pipeline_schedules/999999/pipeline_runs", {"pipeline_run": {}})
        assert_crashed(answer, "'NoneType' object has no attribute 'pipeline_uuid'")

    @pytest.mark.parametrize(
        ("columns", "exception"),
        [
            ({"surprise": 1}, "'surprise' is an invalid keyword argument for PipelineRun"),
            ({"variables": [1]}, "list indices must be integers or slices, not str"),
            ({"execution_date": "garbage"}, "Unknown string format: garbage"),
        ],
    )
    def test_with_nonsense_is_an_exception_on_the_server(self, wire, columns, exception):
        path = f"/pipeline_schedules/{wire.schedule(status='inactive')}/pipeline_runs"
        assert_crashed(wire.post(path, {"pipeline_run": columns}), exception)


class TestRuns:
    def test_complete(self, wire):
        schedule = wire.schedule()
        run = wire.run(schedule, variables={"orders": 20})
        first = wire.show(run)
        # Mage stores the block runs before the status.
        assert first["status"] in ("initial", "running")
        wire.wait_for(run, *OVER)
        answer = wire.get(f"/pipeline_runs/{run}")
        completed = {**RUN_IN_DETAIL, "status": "completed", "started_at": DATE, "completed_at": DATE}
        assert_shape(answer, {"pipeline_run": completed, "metadata": None})
        blocks = [
            (block["block_uuid"], block["status"], block["metrics"])
            for block in answer.json()["pipeline_run"]["block_runs"]
        ]
        assert blocks == [
            (name, "completed", {}) for name in ("load_orders", "clean_orders", "export_totals")
        ]

    def test_fail_with_the_error_of_a_block(self, wire):
        run = wire.run(wire.schedule("broken_orders"))
        wire.wait_for(run, *OVER)
        answer = wire.get(f"/pipeline_runs/{run}")
        failed = {**RUN_IN_DETAIL, "status": "failed", "started_at": DATE, "completed_at": None}
        assert_shape(answer, {"pipeline_run": failed, "metadata": None})
        load, check, export = answer.json()["pipeline_run"]["block_runs"]
        assert (load["status"], load["metrics"]) == ("completed", {})
        assert (export["status"], export["metrics"], export["started_at"]) == ("cancelled", None, None)
        assert (check["status"], check["completed_at"]) == ("failed", None)
        error = check["metrics"]["error"]
        assert error["error"] == "4 of 40 orders have a negative amount"
        assert error["message"].startswith("Traceback (most recent call last):\n")
        assert error["message"].endswith("\nValueError: 4 of 40 orders have a negative amount\n")

    def test_are_repaired_and_keep_the_old_error(self, mage, wire):
        run = wire.run(wire.schedule("broken_orders"))
        before = wire.wait_for(run, *OVER)
        with mage.repaired():
            answer = wire.put(
                f"/pipeline_runs/{run}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}}
            )
            assert_shape(answer, {"pipeline_run": {**RUN, "status": "running"}, "metadata": None})
            assert wire.show(run)["block_runs"][1]["status"] != "failed"
            after = wire.wait_for(run, *OVER)
        assert after["status"] == "completed"
        assert after["started_at"] == before["started_at"]
        assert [block["status"] for block in after["block_runs"]] == ["completed"] * 3
        assert after["block_runs"][0] == before["block_runs"][0]
        assert after["block_runs"][1]["metrics"] == before["block_runs"][1]["metrics"]
        assert after["block_runs"][1]["started_at"] > before["block_runs"][1]["started_at"]

    def test_that_completed_can_be_set_going_again_for_nothing(self, wire):
        run = wire.run(wire.schedule())
        before = wire.wait_for(run, *OVER)
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}})
        running = {**RUN, "status": "running", "completed_at": before["completed_at"]}
        assert_shape(answer, {"pipeline_run": running, "metadata": None})
        after = wire.wait_for(run, *OVER)
        assert (after["status"], after["block_runs"]) == ("completed", before["block_runs"])

    def test_that_were_cancelled_before_they_had_blocks_complete_when_retried_although_nothing_ran(
        self, wire
    ):
        schedule = wire.schedule(status="inactive")
        run = wire.run(schedule)
        wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}})
        after = wire.wait_for(run, *OVER)
        assert (after["status"], after["block_runs"], after["started_at"]) == ("completed", [], None)

    def test_of_an_inactive_schedule_stay_initial_until_it_is_active(self, mage, wire):
        schedule = wire.schedule(status="inactive")
        run = wire.run(schedule)
        wire.wait_for(wire.run(wire.schedule()), *OVER)
        assert wire.show(run)["status"] == "initial"
        wire.put(f"/pipeline_schedules/{schedule}", {"pipeline_schedule": {"status": "active"}})
        assert wire.wait_for(run, *OVER)["status"] == "completed"

    def test_are_cancelled_at_once_and_only_once(self, wire):
        run = wire.run(wire.schedule())
        wire.wait_for(run, "running")
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        cancelled = {**RUN, "status": "cancelled", "completed_at": None}
        assert_shape(answer, {"pipeline_run": cancelled, "metadata": None})
        # A process that was just beginning with a block may still write that down.
        give_up = time.monotonic() + RUN_SECONDS
        while {block["status"] for block in wire.show(run)["block_runs"]} - {"cancelled", "completed"}:
            assert time.monotonic() < give_up, wire.show(run)
            time.sleep(wire.target.pause)
        again = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        assert again.json() == answer.json()

    def test_that_are_over_are_not_cancelled(self, wire):
        run = wire.run(wire.schedule())
        wire.wait_for(run, *OVER)
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        assert_shape(answer, {"pipeline_run": {**RUN, "status": "completed"}, "metadata": None})

    @pytest.mark.parametrize("change", [{"status": "completed"}, {"surprise": 1}, {}])
    def test_ignore_any_other_change(self, wire, change):
        run = wire.run(wire.schedule(status="inactive"))
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": change})
        assert_shape(answer, {"pipeline_run": {**RUN, "status": "initial"}, "metadata": None})

    @pytest.mark.parametrize("unknown", ["999999", "abc"])
    def test_that_do_not_exist_are_missing(self, wire, unknown):
        change = {"pipeline_run": {"status": "cancelled"}}
        assert_unknown(wire, "pipeline_runs", unknown, change)

    def test_that_do_not_exist_are_missing_by_http_status_if_so_wished(self, wire):
        answer = wire.get("/pipeline_runs/999999?_http_error_codes=true")
        status = 404 if VERSION.knows_http_error_codes else 200
        assert_refused(answer, 404, "record_not_found", NOBODY, status=status)

    def test_that_are_deleted_are_missing_and_sqlite_gives_their_id_again(self, wire):
        schedule = wire.schedule(status="inactive")
        run = wire.run(schedule)
        answer = wire.send("DELETE", f"/pipeline_runs/{run}")
        assert_shape(answer, {"pipeline_run": RUN, "metadata": None})
        assert_missing(wire.get(f"/pipeline_runs/{run}"))
        assert (wire.run(schedule) == run) is DATABASE.gives_ids_again

    def test_have_block_runs_without_their_errors_in_a_list_of_its_own(self, wire):
        run = wire.run(wire.schedule("broken_orders"))
        wire.wait_for(run, *OVER)
        answer = wire.get(f"/pipeline_runs/{run}/block_runs")
        row = {**BLOCK_RUN_IN_LIST, "pipeline_schedule_id": None, "pipeline_schedule_name": None}
        assert_shape(answer, {"block_runs": [row], "metadata": {"count": 3, "next": False}})
        everybodys = wire.get("/pipeline_runs/999999/block_runs")
        assert_shape(everybodys, {"block_runs": [BLOCK_RUN_IN_LIST], "metadata": LIST_METADATA})
        assert everybodys.json()["metadata"]["count"] > 3


class TestListsOfRuns:
    @pytest.fixture
    def runs(self, wire):
        """A schedule with five runs that stay where they are: oldest first."""
        schedule = wire.schedule(status="inactive")
        dates = ["2026-01-01", "2026-01-04", "2026-01-02", "2026-01-03", "2026-01-05"]
        ids = [wire.run(schedule, execution_date=f"{date}T00:00:00") for date in dates]
        wire.put(f"/pipeline_runs/{ids[0]}", {"pipeline_run": {"status": "cancelled"}})
        return schedule, ids

    def ids(self, answer):
        assert "error" not in answer.json()
        return [row["id"] for row in answer.json()["pipeline_runs"]]

    def test_have_everything_in_them(self, wire, runs):
        wire.wait_for(wire.run(wire.schedule("broken_orders")), *OVER)
        for path in ("/pipeline_runs", f"/pipeline_schedules/{runs[0]}/pipeline_runs"):
            answer = wire.get(f"{path}?{ONE_BY_ONE}")
            assert_shape(answer, {"pipeline_runs": [run_in_list_of(VERSION)], "metadata": LIST_METADATA})

    def test_of_those_that_completed_show_their_end_and_whose_they_are(self, wire):
        variables = {"airflow": {"run_key": "k", "nonce": "n"}}
        run = wire.run(wire.schedule(), variables=variables)
        wire.wait_for(run, *OVER)
        ended = "status[]=completed,failed,cancelled&order_by[]=updated_at%20desc,id%20desc"
        rows = wire.get(f"/pipeline_runs?{ONE_BY_ONE}&{ended}").json()["pipeline_runs"]
        [row] = [row for row in rows if row["id"] == run]
        assert row["status"] == "completed"
        assert row["completed_at"]
        assert row["variables"]["airflow"] == variables["airflow"]

    def test_can_be_short(self, wire, runs):
        answer = wire.get(f"/pipeline_runs?_format=with_basic_details&{ONE_BY_ONE}")
        assert_shape(answer, {"pipeline_runs": [SHORT_RUN], "metadata": LIST_METADATA})

    def test_are_ordered_by_execution_date_unless_told_otherwise(self, wire, runs):
        schedule, (a, b, c, d, e) = runs
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?{ONE_BY_ONE}"
        assert self.ids(wire.get(path)) == [e, b, d, c, a]
        assert self.ids(wire.get(f"{path}&order_by[]=id%20asc")) == [a, b, c, d, e]
        by_status = self.ids(wire.get(f"{path}&order_by[]=status%20asc,id%20desc"))
        # By its letters, or in the order in which Mage declares them: initial, running, completed, ...
        assert by_status == {"sqlite": [a, e, d, c, b], "postgresql": [e, d, c, b, a]}[DATABASE.name]
        answer = wire.get(f"{path}&order_by[]=surprise%20desc")
        assert_crashed(answer, "type object 'PipelineRun' has no attribute 'surprise'")

    def test_begin_or_end_with_those_that_have_no_date(self, wire):
        schedule = wire.schedule()
        started = wire.run(schedule)
        wire.wait_for(started, "running", *OVER)
        wire.put(f"/pipeline_schedules/{schedule}", {"pipeline_schedule": {"status": "inactive"}})
        not_started = wire.run(schedule)
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?{ONE_BY_ONE}"
        nulls_first = [not_started, started]
        for direction, expected in (("asc", nulls_first), ("desc", nulls_first[::-1])):
            found = self.ids(wire.get(f"{path}&order_by[]=started_at%20{direction}"))
            assert found == {"sqlite": expected, "postgresql": expected[::-1]}[DATABASE.name]

    def test_come_in_pages(self, wire, runs):
        schedule, (a, b, c, d, e) = runs
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?{ONE_BY_ONE}&order_by[]=id%20desc"
        for limit, offset, ids, has_next in ((2, 0, [e, d], True), (2, 2, [c, b], True), (2, 4, [a], False)):
            answer = wire.get(f"{path}&_limit={limit}&_offset={offset}")
            assert self.ids(answer) == ids
            assert answer.json()["metadata"] == {"count": 5, "next": has_next}
        assert wire.get(f"{path}&_limit=0").json() == {
            "pipeline_runs": [],
            "metadata": {"count": 5, "next": True},
        }
        past = {"pipeline_runs": [], "metadata": {"count": 5, "next": False}}
        assert wire.get(f"{path}&_offset=5").json() == past

    def test_group_runs_of_one_date_unless_told_otherwise(self, wire):
        schedule = wire.schedule(status="inactive")
        days = [1, 2, 3, 3, 2, 4, 5]
        a, b, c, d, e, f, g = (
            wire.run(schedule, execution_date=f"2026-01-{day:02}T00:00:00") for day in days
        )
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?_format=with_basic_details"
        assert self.ids(wire.get(f"{path}&{ONE_BY_ONE}&_limit=2")) == [g, f]
        assert self.ids(wire.get(f"{path}&_limit=2")) == [g, f, d]
        assert self.ids(wire.get(f"{path}&_limit=2&_offset=2")) == [d, c, e]
        assert self.ids(wire.get(f"{path}&_limit=4")) == [g, f, d, c, e]
        assert self.ids(wire.get(path)) == [g, f, d, c, e, b, a]
        assert_crashed(wire.get(f"{path}&_offset=7"), "list index out of range")

    def test_are_filtered(self, wire, runs):
        schedule, (a, *others) = runs
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?{ONE_BY_ONE}&order_by[]=id%20asc"
        assert self.ids(wire.get(f"{path}&status=cancelled")) == [a]
        assert self.ids(wire.get(f"{path}&status[]=initial,running")) == others
        assert self.ids(wire.get(f"{path}&status[]=cancelled,initial")) == [a, *others]
        # only the first of several is looked at
        assert self.ids(wire.get(f"{path}&status[]=cancelled&status[]=initial")) == [a]
        for unknown in ("status=surprise", "status[]=initial,surprise"):
            answer = wire.get(f"{path}&{unknown}")
            if DATABASE.is_strict:
                assert_database_error(answer, UNKNOWN_STATUS)
            else:
                assert self.ids(answer) == (others if "initial" in unknown else [])
        assert self.ids(wire.get(f"{path}&pipeline_uuid=daily_orders")) == [a, *others]
        assert self.ids(wire.get(f"{path}&pipeline_uuid=broken_orders")) == []
        assert self.ids(wire.get(f"{path}&surprise=1")) == [a, *others]

    def test_can_begin_at_a_time(self, wire, runs):
        schedule, ids = runs
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?{ONE_BY_ONE}&order_by[]=id%20asc"
        created = datetime.fromisoformat(wire.show(ids[0])["created_at"]).replace(tzinfo=timezone.utc)
        earlier, later = created - timedelta(seconds=1), created + timedelta(hours=1)
        assert self.ids(wire.get(f"{path}&start_timestamp={earlier.timestamp():.0f}")) == ids
        # SQLite compares text, and "...:38" comes before "...:38.000000"
        in_that_second = self.ids(wire.get(f"{path}&start_timestamp={int(created.timestamp())}"))
        assert (ids[0] in in_that_second) is (DATABASE.name == "postgresql")
        assert self.ids(wire.get(f"{path}&start_timestamp={later.timestamp():.0f}")) == []
        assert self.ids(wire.get(f"{path}&end_timestamp={later.timestamp():.0f}")) == ids
        answer = wire.get(f"{path}&start_timestamp=yesterday")
        code = VERSION.invalid_record_code
        assert_refused(answer, code, "record_invalid", "Value is invalid for start_timestamp.")

    @pytest.mark.parametrize("unknown", ["999999", "abc"])
    def test_of_an_unknown_schedule_are_everybodys(self, wire, runs, unknown):
        query = f"{ONE_BY_ONE}&_format=with_basic_details&order_by[]=id%20desc&_limit=5"
        answer = wire.get(f"/pipeline_schedules/{unknown}/pipeline_runs?{query}")
        if DATABASE.is_strict and not unknown.isdigit():
            assert_database_error(answer, TEXT_FOR_A_NUMBER)
            assert_database_error(wire.get(f"/pipeline_runs/{unknown}/block_runs"), TEXT_FOR_A_NUMBER)
            return
        assert self.ids(answer) == list(reversed(runs[1]))


class TestOtherPaths:
    @pytest.mark.parametrize("path", ["/api", "/api/", "/nothing", "/api/../nothing"])
    def test_that_are_unknown_are_a_web_page(self, mage, path):
        answer = requests.get(f"{mage.url}{path}", timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")
        assert answer.text == "<html><title>404: Not Found</title><body>404: Not Found</body></html>"

    @pytest.mark.parametrize("path", ["/", "/pipelines", "/pipelines/daily_orders/runs/1", "/sign-in"])
    def test_of_the_user_interface_are_web_pages(self, mage, path):
        answer = requests.get(f"{mage.url}{path}", timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
        assert answer.text.startswith("<!DOCTYPE html>")

    def test_of_unknown_resources_are_an_exception_on_the_server(self, wire):
        assert_crashed(wire.get("/nope"), "No module named 'mage_ai.api.policies.NopePolicy'")
        for path in ("/nope/1", "/pipeline_runs/1/nope"):
            assert_crashed(wire.get(path), "No module named 'mage_ai.api.resources.NopeResource'")

    def test_of_known_ones_refuse_unknown_methods(self, wire):
        answer = wire.send("PATCH", "/pipeline_runs/1", {})
        assert (answer.status_code, answer.content) == (405, b"")
