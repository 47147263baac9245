"""The client's scenarios, on the fake and on a real Mage: what holds on one holds on the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from contract.targets import RUN_SECONDS, unwrap
from contract.tested import VERSION

from airflow_provider_mage.api.errors import MageAPIError, MageAuthError, MageNotFoundError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

INITIAL, RUNNING, COMPLETED, FAILED, CANCELLED = list(PipelineRunStatus)[:5]
UNKNOWN_ID = 999_999


@pytest.fixture
def client(mage, connect):
    """A client of the owner's, on the one log-in that all tests share."""
    return connect(mage, oauth_token=mage.owner.headers["OAUTH-TOKEN"])


def wait_for(mage, client, run_id, *statuses):
    """Look at a run until it is over, or has one of some statuses."""
    give_up = time.monotonic() + RUN_SECONDS
    while True:
        run = client.get_pipeline_run(run_id)
        if run.status in statuses or run.status.is_terminal:
            return run
        assert time.monotonic() < give_up, run
        time.sleep(mage.pause)


class TestLogIn:
    @pytest.mark.parametrize("field", ["email", "username"])
    def test_works_with_an_address_and_with_a_user_name(self, mage, connect, field):
        client = connect(mage, getattr(mage.server, field), mage.server.password)

        assert "daily_orders" in client.list_pipelines()
        assert client.session.auth.user.role == "Owner"
        assert client.session.auth.user.username == mage.server.username

    def test_is_made_once_for_everything_that_shares_it(self, mage, connect):
        before = len(mage.server.session_tokens())
        first = connect(mage, **mage.credentials())
        clients = [first, *(connect(mage, auth=first.session.auth) for _ in range(4))]

        with ThreadPoolExecutor(5) as threads:
            for _ in threads.map(lambda client: client.list_pipelines(), clients * 4):
                pass

        assert len(mage.server.session_tokens()) == before + 1

    @pytest.mark.parametrize(
        "overrides", [{}, {"login": "nobody@mage.invalid"}, {"login": "nobody"}, {"login": "ad min@"}]
    )
    def test_of_a_wrong_user_is_an_error_about_login_and_password(self, mage, connect, overrides):
        client = connect(mage, **mage.credentials(password="not-the-right-one", **overrides))

        with pytest.raises(MageAuthError, match="login and password") as caught:
            client.list_pipelines()

        assert "not-the-right-one" not in str(caught.value)

    def test_with_a_wrong_key_is_an_error_about_the_key(self, mage, connect):
        for credentials in (mage.credentials(api_key="wrong-key"), {"api_key": "wrong-key"}):
            with pytest.raises(MageAuthError, match="`api_key`") as caught:
                connect(mage, **credentials).list_pipelines()

            assert "wrong-key" not in str(caught.value)

    def test_that_is_missing_is_an_error_that_asks_for_it(self, mage, connect):
        with pytest.raises(MageAuthError, match="wants a log-in"):
            connect(mage).list_pipelines()

    def test_is_not_needed_with_a_token_raw_or_as_the_server_sent_it(self, mage, connect):
        jwt = mage.jwt()
        before = len(mage.server.session_tokens())

        for token in (jwt, unwrap(jwt)):
            assert "daily_orders" in connect(mage, oauth_token=token).list_pipelines()

        assert len(mage.server.session_tokens()) == before

    def test_is_not_needed_for_the_status(self, mage, connect):
        status = connect(mage).get_status()

        assert (status.scheduler_status, status.require_user_authentication) == ("running", True)
        assert status.project_type == "standalone"


class TestRenewal:
    def test_of_a_revoked_token_happens_once_and_the_run_is_started_once(self, mage, connect):
        client = connect(mage, **mage.credentials())
        schedule = client.create_pipeline_schedule("daily_orders", "renewal", is_active=False)
        mage.revoke(mage.server.session_tokens()[-1])
        before = len(mage.server.session_tokens())

        run = client.create_pipeline_run(schedule.id, {"orders": 10})

        assert len(mage.server.session_tokens()) == before + 1
        assert [each.id for each in client.list_pipeline_runs(pipeline_schedule_id=schedule.id)] == [run.id]
        assert run.variables["orders"] == 10

    def test_of_an_expired_token_happens_by_itself(self, mage, connect):
        client = connect(mage, **mage.credentials())
        client.list_pipelines()
        before = mage.server.session_tokens()

        mage.expire(before[-1])

        assert "daily_orders" in client.list_pipelines()
        assert len(mage.server.session_tokens()) == len(before) + 1

    def test_of_a_token_without_login_and_password_is_an_error_that_asks_for_them(self, mage, connect):
        client = connect(mage, oauth_token="long-gone")

        with pytest.raises(MageAuthError, match="login and a password, or a fresh OAuth token") as caught:
            client.list_pipelines()

        assert (caught.value.type, caught.value.code) == ("invalid_oauth_token", 401)
        assert "long-gone" not in str(caught.value)


class TestRun:
    @pytest.fixture
    def schedule(self, client):
        return client.create_pipeline_schedule("daily_orders", "client")

    @pytest.fixture
    def broken(self, client):
        return client.create_pipeline_schedule("broken_orders", "client")

    def test_completes(self, mage, client):
        begin = datetime.now(timezone.utc).replace(microsecond=0)
        # On PostgreSQL a run is as old as the transaction that Mage was in, and this begins one.
        schedule = client.create_pipeline_schedule("daily_orders", "client")
        created = client.create_pipeline_run(schedule.id, {"orders": 12, "airflow": {"run_key": "k"}})
        assert created.status is INITIAL

        run = wait_for(mage, client, created.id)

        assert (run.status, run.pipeline_uuid, run.pipeline_schedule_id) == (
            COMPLETED,
            "daily_orders",
            schedule.id,
        )
        assert [(block.block_uuid, block.status, block.error) for block in run.block_runs] == [
            (name, BlockRunStatus.COMPLETED, None)
            for name in ("load_orders", "clean_orders", "export_totals")
        ]
        assert (run.variables["orders"], run.variables["airflow"]) == (12, {"run_key": "k"})
        end = datetime.now(timezone.utc)
        assert begin <= run.created_at <= run.started_at <= run.completed_at <= end

    def test_shows_the_execution_date_it_was_given(self, client, schedule):
        noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=5)))

        run = client.create_pipeline_run(schedule.id, execution_date=noon)

        assert run.execution_date == noon
        assert client.get_pipeline_run(run.id, short=True).execution_date == noon

    def test_fails_with_the_error_of_its_block(self, mage, client, broken):
        run = wait_for(mage, client, client.create_pipeline_run(broken.id).id)

        assert run.status is FAILED
        assert [(block.block_uuid, block.status.value, block.error) for block in run.block_runs] == [
            ("load_orders", "completed", None),
            ("check_orders", "failed", "ValueError: 4 of 40 orders have a negative amount"),
            ("export_totals", "cancelled", None),
        ]

    def test_is_repaired_from_its_failed_block(self, mage, client, broken):
        run_id = client.create_pipeline_run(broken.id).id
        before = wait_for(mage, client, run_id)

        with mage.repaired():
            assert client.retry_pipeline_run(run_id).status is RUNNING
            after = wait_for(mage, client, run_id)

        assert (after.id, after.status) == (run_id, COMPLETED)
        assert after.block_runs[0] == before.block_runs[0]
        assert {block.status for block in after.block_runs} == {BlockRunStatus.COMPLETED}

    def test_can_fail_again(self, mage, client, broken):
        run_id = client.create_pipeline_run(broken.id).id
        before = wait_for(mage, client, run_id)
        assert client.retry_pipeline_run(run_id).status is RUNNING

        after = wait_for(mage, client, run_id)

        assert after.status is FAILED
        assert after.block_runs[1].error == before.block_runs[1].error
        assert after.block_runs[1].started_at > before.block_runs[1].started_at

    def test_is_cancelled(self, mage, client, schedule):
        run_id = client.create_pipeline_run(schedule.id).id
        wait_for(mage, client, run_id, RUNNING)

        for _ in range(2):
            assert client.cancel_pipeline_run(run_id).status is CANCELLED

        states = {block.status for block in client.get_pipeline_run(run_id).block_runs}
        assert states <= {BlockRunStatus.CANCELLED, BlockRunStatus.COMPLETED}

    def test_that_is_over_is_not_cancelled(self, mage, client, schedule):
        run_id = client.create_pipeline_run(schedule.id).id
        wait_for(mage, client, run_id)

        assert client.cancel_pipeline_run(run_id).status is COMPLETED

    def test_of_an_inactive_schedule_waits_for_its_activation(self, mage, client):
        schedule = client.create_pipeline_schedule("daily_orders", "idle", is_active=False)
        assert not schedule.is_active
        run_id = client.create_pipeline_run(schedule.id).id
        other = client.create_pipeline_schedule("daily_orders", "busy")
        wait_for(mage, client, client.create_pipeline_run(other.id).id)
        assert client.get_pipeline_run(run_id).status is INITIAL

        assert client.activate_pipeline_schedule(schedule.id).is_active
        assert wait_for(mage, client, run_id).status is COMPLETED

    def test_has_block_runs(self, mage, client, broken):
        run = wait_for(mage, client, client.create_pipeline_run(broken.id).id)

        listed = client.list_block_runs(run.id)

        assert [(block.id, block.block_uuid, block.status) for block in listed] == [
            (block.id, block.block_uuid, block.status) for block in run.block_runs
        ]

    def test_has_a_page_in_the_user_interface(self, client):
        assert client.pipeline_run_url("daily_orders", 7).endswith("/pipelines/daily_orders/runs/7")

    def test_can_be_deleted(self, client):
        schedule = client.create_pipeline_schedule("daily_orders", "idle", is_active=False)
        run_id = client.create_pipeline_run(schedule.id).id

        client.delete_pipeline_run(run_id)

        with pytest.raises(MageNotFoundError):
            client.get_pipeline_run(run_id)

    def test_of_a_deleted_schedule_can_still_be_watched_and_cancelled(self, client):
        schedule = client.create_pipeline_schedule("daily_orders", "gone", is_active=False)
        run_id = client.create_pipeline_run(schedule.id).id

        client.delete_pipeline_schedule(schedule.id)

        assert client.get_pipeline_run(run_id, short=True).status is INITIAL
        assert client.cancel_pipeline_run(run_id).status is CANCELLED

    @pytest.mark.parametrize("has_begun", [False, True])
    def test_of_a_deleted_schedule_is_an_orphan_that_mage_does_not_go_on_with(self, mage, client, has_begun):
        schedule = client.create_pipeline_schedule("daily_orders", "soon gone", is_active=has_begun)
        run_id = client.create_pipeline_run(schedule.id).id
        status = RUNNING if has_begun else INITIAL
        assert wait_for(mage, client, run_id, status).is_orphan is False

        client.delete_pipeline_schedule(schedule.id)

        other = client.create_pipeline_schedule("daily_orders", "busy")
        wait_for(mage, client, client.create_pipeline_run(other.id).id)
        run = client.get_pipeline_run(run_id)
        assert (run.is_orphan, run.status, len(run.block_runs)) == (True, status, 3 * has_begun)
        client.cancel_pipeline_run(run_id)
        run = client.get_pipeline_run(run_id)
        assert (run.is_orphan, run.status) == (True, CANCELLED)


class TestLists:
    @pytest.fixture
    def schedule(self, client):
        """A schedule whose runs stay where they are."""
        return client.create_pipeline_schedule("daily_orders", "lists", is_active=False)

    @pytest.fixture
    def runs(self, client, schedule):
        """Five runs, the oldest first: the first is cancelled, two have one execution date."""
        noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
        ids = [client.create_pipeline_run(schedule.id, execution_date=noon).id for _ in range(2)]
        ids += [client.create_pipeline_run(schedule.id).id for _ in range(3)]
        client.cancel_pipeline_run(ids[0])
        return ids

    def ids(self, client, **options):
        return [run.id for run in client.list_pipeline_runs(**options)]

    def test_hold_the_runs_of_a_schedule_newest_first(self, client, schedule, runs):
        assert self.ids(client, pipeline_schedule_id=schedule.id) == runs[::-1]
        assert self.ids(client, pipeline_schedule_id=schedule.id, order_by="id asc") == runs

    @pytest.mark.parametrize("page_size", [1, 2, 4, 5])
    def test_are_read_in_pages(self, client, schedule, runs, page_size):
        assert self.ids(client, pipeline_schedule_id=schedule.id, page_size=page_size) == runs[::-1]
        limited = self.ids(client, pipeline_schedule_id=schedule.id, page_size=page_size, limit=3)
        assert limited == runs[:1:-1]
        later = self.ids(client, pipeline_schedule_id=schedule.id, page_size=page_size, limit=2, offset=2)
        assert later == runs[2:0:-1]

    def test_are_filtered_by_status(self, client, schedule, runs):
        where = {"pipeline_schedule_id": schedule.id}
        assert self.ids(client, **where, statuses=[CANCELLED]) == runs[:1]
        assert self.ids(client, **where, statuses=[INITIAL, RUNNING]) == runs[:0:-1]
        assert self.ids(client, **where, statuses=[COMPLETED]) == []

    def test_are_filtered_by_pipeline(self, client, runs):
        assert self.ids(client, pipeline_uuid="daily_orders", limit=5) == runs[::-1]
        assert not {*runs} & {*self.ids(client, pipeline_uuid="broken_orders")}
        assert self.ids(client, pipeline_uuid="no_such") == []

    def test_are_filtered_by_age(self, client, schedule, runs):
        created = client.get_pipeline_run(runs[0]).created_at
        where = {"pipeline_schedule_id": schedule.id}
        assert self.ids(client, **where, created_after=created) == runs[::-1]
        assert (
            self.ids(client, **where, created_after=datetime.now(timezone.utc) + timedelta(minutes=1)) == []
        )

    def test_can_be_short(self, client, runs):
        listed = client.list_pipeline_runs(pipeline_uuid="daily_orders", limit=5, short=True)

        assert [(run.id, run.variables, run.pipeline_uuid) for run in listed] == [
            (run, {}, "") for run in runs[::-1]
        ]

    def test_of_an_unknown_schedule_are_empty_although_mage_sends_everybodys(self, client, runs):
        assert self.ids(client, pipeline_schedule_id=UNKNOWN_ID, limit=10) == []
        assert client.list_block_runs(UNKNOWN_ID) == []

    def test_hold_all_schedules_of_a_pipeline(self, client):
        made = [client.create_pipeline_schedule("broken_orders", "twice").id for _ in range(2)]

        listed = client.list_pipeline_schedules("broken_orders")

        assert [schedule.id for schedule in listed][-2:] == made
        assert {schedule.pipeline_uuid for schedule in listed} == {"broken_orders"}

    def test_hold_all_pipelines(self, client):
        assert {"broken_orders", "daily_orders"} <= {*client.list_pipelines()}
        assert client.get_version() == VERSION.number


class TestUnknown:
    @pytest.mark.parametrize(
        "ask",
        [
            lambda client: client.get_pipeline("no_such"),
            lambda client: client.list_pipeline_schedules("no_such"),
            lambda client: client.create_pipeline_schedule("no_such", "airflow"),
        ],
    )
    def test_pipeline_is_named_in_the_error(self, client, ask):
        with pytest.raises(MageNotFoundError, match="Pipeline no_such does not exist"):
            ask(client)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda client: client.get_pipeline_schedule(UNKNOWN_ID),
            lambda client: client.activate_pipeline_schedule(UNKNOWN_ID),
            lambda client: client.delete_pipeline_schedule(UNKNOWN_ID),
            lambda client: client.get_pipeline_run(UNKNOWN_ID),
            lambda client: client.get_pipeline_run(UNKNOWN_ID, short=True),
            lambda client: client.cancel_pipeline_run(UNKNOWN_ID),
            lambda client: client.retry_pipeline_run(UNKNOWN_ID),
            lambda client: client.delete_pipeline_run(UNKNOWN_ID),
        ],
    )
    def test_id_is_not_mistaken_for_a_wrong_password(self, client, ask):
        with pytest.raises(MageNotFoundError, match="no such record") as caught:
            ask(client)

        assert "password" not in str(caught.value)

    def test_schedule_of_a_new_run_is_an_error(self, client):
        with pytest.raises(MageAPIError) as caught:
            client.create_pipeline_run(UNKNOWN_ID)

        assert caught.value.code == 500

    def test_order_is_an_error_that_quotes_the_server_and_not_its_stack(self, client):
        with pytest.raises(MageAPIError, match="'PipelineRun' has no attribute 'surprise'") as caught:
            client.list_pipeline_runs(order_by="surprise desc")

        assert "File" not in str(caught.value)


class TestViewer:
    def test_may_look_but_not_touch(self, viewer, connect):
        mage, session = viewer
        client = connect(mage, session["username"], session["password"])

        assert "daily_orders" in client.list_pipelines()
        client.list_pipeline_schedules("daily_orders")
        for short in (False, True):
            client.list_pipeline_runs(
                pipeline_uuid="daily_orders",
                statuses=[COMPLETED],
                created_after=datetime.now(timezone.utc),
                short=short,
            )
        assert client.session.auth.user.role == "Viewer"
        with pytest.raises(MageAuthError, match="role of the connection's user"):
            client.create_pipeline_schedule("daily_orders", "airflow")
