"""Mage in another time zone, without authentication, and without its database: each a server of its own."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import requests
from contract.shapes import RUN, status_of
from contract.targets import assert_database_error, assert_missing, assert_shape
from contract.tested import DATABASE, VERSION

from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.models import PipelineRunStatus

LOST = {
    "sqlite": "(sqlite3.OperationalError) database is locked",
    "postgresql": "(psycopg2.OperationalError) server closed the connection unexpectedly",
}


class TestTimeZone:
    def test_is_the_one_in_which_a_list_begins(self, eastern_mage):
        wire = eastern_mage.owner
        schedule = wire.schedule(status="inactive")
        run = wire.run(schedule)
        now = datetime.now(timezone.utc)
        created = datetime.fromisoformat(wire.show(run)["created_at"]).replace(tzinfo=timezone.utc)
        assert abs(now - created) < timedelta(hours=1)
        path = f"/pipeline_schedules/{schedule}/pipeline_runs?disable_retries_grouping=1"
        for hours, found in ((-8, []), (-10, [run])):
            since = now + timedelta(hours=hours)
            answer = wire.get(f"{path}&start_timestamp={since.timestamp():.0f}")
            assert [row["id"] for row in answer.json()["pipeline_runs"]] == found

    def test_does_not_matter_to_a_filter_by_age(self, eastern_mage, connect):
        client = connect(eastern_mage, **eastern_mage.credentials())
        schedule = client.create_pipeline_schedule("daily_orders", "east", is_active=False)
        run = client.create_pipeline_run(schedule.id)

        for later, found in ((timedelta(0), [run.id]), (timedelta(seconds=1), [])):
            after = run.created_at + later
            listed = client.list_pipeline_runs(pipeline_schedule_id=schedule.id, created_after=after)
            assert [each.id for each in listed] == found


class TestWithoutAuthentication:
    def test_nobody_needs_a_key_or_a_token(self, open_mage):
        wire = open_mage.wire()
        wire.headers = {}
        status = {**status_of(VERSION), "require_user_authentication": False}
        assert_shape(wire.get("/status"), {"statuses": [status], "metadata": {}})
        run = wire.run(wire.schedule(status="inactive"))
        wire.headers = {"X-API-KEY": "junk", "OAUTH-TOKEN": "junk", "Cookie": "oauth_token=junk"}
        answer = wire.put(f"/pipeline_runs/{run}", {"pipeline_run": {"status": "cancelled"}})
        assert_shape(answer, {"pipeline_run": {**RUN, "status": "cancelled"}, "metadata": None})

    def test_nobody_can_log_in(self, open_mage):
        session = {"email": open_mage.server.email, "password": open_mage.server.password}
        assert_missing(open_mage.wire().post("/sessions", {"session": session}))

    def test_a_base_path_moves_everything(self, open_mage):
        root = open_mage.url.removesuffix("/a/b")
        for path in ("/", "/api/status", "/pipelines"):
            assert requests.get(f"{root}{path}", timeout=60).status_code == 404
        answer = requests.get(f"{open_mage.url}/pipelines/daily_orders/runs/1", timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")

    @pytest.mark.parametrize("has_login", [False, True])
    def test_a_needless_login_does_no_harm(self, open_mage, connect, has_login):
        client = connect(open_mage, **(open_mage.credentials() if has_login else {}))

        schedule = client.create_pipeline_schedule("daily_orders", "open", is_active=False)
        run = client.create_pipeline_run(schedule.id)

        assert client.cancel_pipeline_run(run.id).status is PipelineRunStatus.CANCELLED
        assert not client.session.auth.is_logged_in
        assert not client.get_status().require_user_authentication
        assert client.pipeline_run_url("p", 1) == f"{open_mage.url}/pipelines/p/runs/1"


class TestLostDatabase:
    def test_is_temporary_and_leaves_open_whether_a_run_was_started(self, eastern_mage, connect):
        client = connect(eastern_mage, oauth_token=eastern_mage.owner.headers["OAUTH-TOKEN"])
        schedule = client.create_pipeline_schedule("daily_orders", "lost", is_active=False)
        answers = []
        client.session.http.hooks["response"].append(lambda answer, **_: answers.append(answer))

        with eastern_mage.lost_database(), pytest.raises(MageTransportError, match="busy") as caught:
            client.create_pipeline_run(schedule.id, {"password": "needle-in-a-statement"})

        [answer] = answers
        assert_database_error(answer, LOST[DATABASE.name])
        assert (caught.value.temporary, caught.value.may_have_arrived) == (True, True)
        assert "needle" not in str(caught.value)
        assert "SQL" not in str(caught.value)
