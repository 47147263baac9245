"""MageClient against the fake Mage: what each method asks, and what it makes of the answer."""

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_mage.api.client import PAGE_SIZE, MageClient
from airflow_provider_mage.api.errors import (
    MageAnswerError,
    MageAPIError,
    MageNotFoundError,
    MageTransportError,
)
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus
from fakes.mage import FakeMage

RUNS = ("GET", r"/pipeline_runs$")
TOKYO = timezone(timedelta(hours=9))


@pytest.fixture
def schedule(mage):
    return mage.pipeline_schedule("daily_orders")


def test_status_says_whether_a_log_in_is_needed(client):
    status = client.get_status()

    assert (status.scheduler_status, status.require_user_authentication) == ("running", True)
    assert status.project_type == "standalone"


def test_version_is_the_servers(client):
    assert client.get_version() == "0.9.80"


def test_pipelines_are_listed_and_read(client):
    assert client.list_pipelines() == ["broken_orders", "daily_orders"]
    assert [block["uuid"] for block in client.get_pipeline("daily_orders")["blocks"]] == [
        "load_orders",
        "clean_orders",
        "export_totals",
    ]


@pytest.mark.parametrize("name", ["a/b?c#d", "../x", "x y", "größe", "50%"])
def test_pipeline_of_any_name_is_addressed_and_no_other(mage, client, name):
    mage.pipeline(name)

    assert client.get_pipeline(name)["uuid"] == name
    assert client.create_pipeline_schedule(name, "airflow").pipeline_uuid == name
    assert mage.requests[-1].path.count("/") == 4


def test_link_to_a_run_is_quoted_and_below_the_base_path(session):
    with FakeMage(base_path="a/b") as server:
        client = MageClient(session(server))

        assert client.ui_url == f"{server.url}"
        assert client.pipeline_run_url("x/y z", 7) == f"{server.url}/pipelines/x%2Fy%20z/runs/7"
        assert client.get_status().scheduler_status == "running"


# Pipeline schedules


def test_created_schedule_is_an_active_api_one(client):
    created = client.create_pipeline_schedule("daily_orders", "airflow")

    assert created.is_active
    assert (created.name, created.schedule_type, created.pipeline_uuid) == ("airflow", "api", "daily_orders")
    assert client.get_pipeline_schedule(created.id) == created


def test_schedule_can_be_created_off_and_switched_on(client):
    created = client.create_pipeline_schedule("daily_orders", "airflow", is_active=False)
    assert not created.is_active

    assert client.activate_pipeline_schedule(created.id).is_active


def test_schedules_of_one_pipeline_are_listed_oldest_first(mage, client):
    wanted = [mage.pipeline_schedule("daily_orders", name).id for name in ("b", "a", "b")]
    mage.pipeline_schedule("broken_orders", "b")

    assert [schedule.id for schedule in client.list_pipeline_schedules("daily_orders")] == wanted


@pytest.mark.parametrize("count", [40, 41, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE + 1])
def test_oldest_of_many_schedules_is_listed_too(mage, client, count):
    """Mage sends the 40 newest unless it is asked for more."""
    for number in range(count):
        mage.pipeline_schedule("daily_orders", f"s{number}")

    listed = client.list_pipeline_schedules("daily_orders")

    assert [schedule.name for schedule in listed] == [f"s{number}" for number in range(count)]
    assert mage.count("GET", "/pipeline_schedules$") == -(-count // PAGE_SIZE)


def test_schedules_of_an_unknown_pipeline_are_not_just_none(client):
    with pytest.raises(MageNotFoundError, match="no_such does not exist"):
        client.list_pipeline_schedules("no_such")


def test_token_of_a_schedule_is_not_kept(mage, client, schedule):
    assert schedule.token not in repr(vars(client.get_pipeline_schedule(schedule.id)))


def test_deleted_schedule_is_gone(mage, client, schedule):
    client.delete_pipeline_schedule(schedule.id)

    assert mage.pipeline_schedules == {}


# Starting a run


def test_started_run_has_its_variables(mage, client, schedule):
    variables = {"name": "ünï", "nested": {"list": [1, 2.5, None, True]}}

    run = client.create_pipeline_run(schedule.id, variables)

    assert run.status is PipelineRunStatus.INITIAL
    assert (run.pipeline_uuid, run.pipeline_schedule_id) == ("daily_orders", schedule.id)
    assert {name: run.variables[name] for name in variables} == variables


def test_run_of_an_unknown_schedule_is_an_error(client):
    with pytest.raises(MageAPIError) as caught:
        client.create_pipeline_run(4711)

    assert caught.value.code == 500


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (datetime(2026, 1, 31, 6, tzinfo=timezone.utc), "2026-01-31 06:00:00"),
        (datetime(2026, 1, 31, 6, tzinfo=TOKYO), "2026-01-30 21:00:00"),
        (datetime.fromisoformat("2026-01-31T06:00:00.000005"), "2026-01-31 06:00:00.000005"),
    ],
)
def test_execution_date_is_sent_as_utc_without_a_zone(mage, client, schedule, given, sent):
    """SQLite-backed servers drop an offset without converting."""
    run = client.create_pipeline_run(schedule.id, execution_date=given)

    assert mage.requests[-1].json["pipeline_run"]["execution_date"] == sent
    assert run.execution_date == datetime.fromisoformat(sent).replace(tzinfo=timezone.utc)


def test_execution_date_is_left_to_mage_by_default(mage, client, schedule):
    client.create_pipeline_run(schedule.id)

    assert mage.requests[-1].json == {"pipeline_run": {"variables": {}}}


# Reading runs


def test_run_shows_its_blocks_and_the_failed_ones_error(mage, client):
    schedule = mage.pipeline_schedule("broken_orders")
    run_id = client.create_pipeline_run(schedule.id).id
    mage.advance(run_id, 20)

    run = client.get_pipeline_run(run_id)

    assert run.status is PipelineRunStatus.FAILED
    assert [(block.block_uuid, block.status, block.error) for block in run.block_runs] == [
        ("load_orders", BlockRunStatus.COMPLETED, None),
        ("check_orders", BlockRunStatus.FAILED, "ValueError: 4 of 40 orders have a negative amount"),
        ("export_totals", BlockRunStatus.CANCELLED, None),
    ]
    assert run.started_at.tzinfo is timezone.utc


def test_short_form_asks_for_little(mage, client, schedule):
    run_id = client.create_pipeline_run(schedule.id, {"big": "x" * 1000}).id

    run = client.get_pipeline_run(run_id, short=True)

    assert mage.requests[-1].first("_format") == "with_basic_details"
    assert (run.id, run.status, dict(run.variables)) == (run_id, PipelineRunStatus.INITIAL, {})


def test_unknown_run_is_not_found(client):
    with pytest.raises(MageNotFoundError):
        client.get_pipeline_run(4711)


def test_run_whose_schedule_was_deleted_is_an_orphan(mage, client, schedule):
    run_id = client.create_pipeline_run(schedule.id).id
    mage.advance(run_id, 2)
    client.delete_pipeline_schedule(schedule.id)

    run = client.get_pipeline_run(run_id)

    assert run.is_orphan
    assert (run.name, run.status) == (f"Run {run_id}", PipelineRunStatus.RUNNING)
    assert [block.status.value for block in run.block_runs] == ["queued", "initial", "initial"]
    assert client.pipeline_run_url(run.pipeline_uuid, run_id) == f"{mage.url}/pipeline-runs"
    assert client.cancel_pipeline_run(run_id).status is PipelineRunStatus.CANCELLED


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE + 3])
def test_runs_are_read_page_by_page_and_no_page_too_many(mage, client, schedule, count):
    ids = [mage.pipeline_run(schedule).id for _ in range(count)]

    runs = client.list_pipeline_runs(limit=10_000)

    assert [run.id for run in runs] == ids[::-1]
    assert mage.count(*RUNS) == max(1, -(-count // PAGE_SIZE))
    assert all(request.first("disable_retries_grouping") == "1" for request in mage.requests_of(*RUNS))


@pytest.mark.parametrize("limit", [1, 7, 10, 11])
def test_no_more_runs_are_read_than_asked_for(mage, client, schedule, limit):
    for _ in range(10):
        mage.pipeline_run(schedule)

    assert len(client.list_pipeline_runs(limit=limit, page_size=5)) == min(limit, 10)
    assert mage.count(*RUNS) == -(-min(limit, 10) // 5)


def test_no_runs_cost_no_request(mage, client):
    assert client.list_pipeline_runs(limit=0) == []
    assert mage.count(*RUNS) == 0


def test_runs_of_an_unknown_schedule_are_none_and_not_everybodys(mage, client, schedule):
    other = mage.pipeline_schedule("broken_orders")
    for _ in range(3):
        mage.pipeline_run(schedule)
    mine = mage.pipeline_run(other)

    assert client.list_pipeline_runs(pipeline_schedule_id=4711) == []
    assert [run.id for run in client.list_pipeline_runs(pipeline_schedule_id=other.id)] == [mine.id]


def test_runs_are_filtered_by_pipeline_and_status(mage, client, schedule):
    first, second, third = (mage.pipeline_run(schedule).id for _ in range(3))
    mage.pipeline_run(mage.pipeline_schedule("broken_orders"))
    mage.finish(first)
    mage.finish(second, "failed")

    ended = client.list_pipeline_runs(
        pipeline_uuid="daily_orders", statuses=[PipelineRunStatus.COMPLETED, PipelineRunStatus.FAILED]
    )

    assert [run.id for run in ended] == [second, first]
    assert [run.id for run in client.list_pipeline_runs(pipeline_uuid="daily_orders")] == [
        third,
        second,
        first,
    ]


@pytest.mark.parametrize("hours", [-12, -5, 0, 1, 9, 14])
def test_runs_since_a_time_do_not_depend_on_the_servers_time_zone(session, hours):
    now = [datetime.fromisoformat("2026-03-01T12:00:00")]
    with FakeMage(utc_offset=timedelta(hours=hours), clock=lambda: now[0], polls_to_finish=None) as server:
        server.example_pipelines()
        schedule = server.pipeline_schedule("daily_orders")
        ids = []
        for _ in range(4):
            ids.append(server.pipeline_run(schedule).id)
            now[0] += timedelta(hours=1)
        client = MageClient(session(server, retry_for=0))

        since = datetime(2026, 3, 1, 14, tzinfo=timezone.utc)
        for start in (since, since.astimezone(TOKYO), since.replace(tzinfo=None)):
            assert [run.id for run in client.list_pipeline_runs(created_after=start)] == [ids[3], ids[2]]
        short = {run.id for run in client.list_pipeline_runs(created_after=since, short=True)}
        assert short >= {ids[2], ids[3]}


def test_short_list_of_a_schedule_is_refused_as_it_cannot_be_checked(client):
    with pytest.raises(ValueError, match="short format does not say which schedule"):
        client.list_pipeline_runs(pipeline_schedule_id=1, short=True)


def test_viewer_may_list_runs(session):
    with FakeMage(role="viewer") as server:
        server.example_pipelines()
        schedule = server.pipeline_schedule("daily_orders")
        server.pipeline_run(schedule)
        client = MageClient(session(server))

        listed = client.list_pipeline_runs(
            pipeline_schedule_id=schedule.id,
            statuses=[PipelineRunStatus.INITIAL, PipelineRunStatus.RUNNING],
            created_after=datetime.now(timezone.utc) - timedelta(hours=1),
        )

    assert len(listed) == 1


@pytest.mark.parametrize("text", ["paused", "", "COMPLETED"])
def test_status_that_we_do_not_know_is_no_end(scripted, text):
    row = {"id": 1, "status": text, "block_runs": [{"id": 2, "block_uuid": "b", "status": text}]}

    run = MageClient(scripted({"pipeline_run": row})).get_pipeline_run(1)

    assert run.status is PipelineRunStatus.UNKNOWN
    assert not run.status.is_terminal
    assert run.block_runs[0].status is BlockRunStatus.UNKNOWN


# Changing runs


def test_cancelled_run_is_over(mage, client, schedule):
    run_id = client.create_pipeline_run(schedule.id).id
    mage.advance(run_id, 2)

    assert client.cancel_pipeline_run(run_id).status is PipelineRunStatus.CANCELLED
    assert mage.pipeline_runs[run_id].status == "cancelled"


def test_cancelling_a_run_that_is_over_changes_nothing(mage, client, schedule):
    run_id = client.create_pipeline_run(schedule.id).id
    mage.finish(run_id)

    assert client.cancel_pipeline_run(run_id).status is PipelineRunStatus.COMPLETED


def test_failed_run_goes_on_from_its_failed_block(mage, client):
    mage.pipeline("flaky", fails_at="clean", fails_times=1)
    run_id = client.create_pipeline_run(mage.pipeline_schedule("flaky").id).id
    mage.advance(run_id, 20)

    assert client.retry_pipeline_run(run_id).status is PipelineRunStatus.RUNNING
    mage.advance(run_id, 20)

    assert mage.pipeline_runs[run_id].status == "completed"
    assert mage.executions(run_id) == {"load": 1, "clean": 2, "export": 1}


def test_run_goes_on_from_a_chosen_block(mage, client, schedule):
    run_id = client.create_pipeline_run(schedule.id).id
    mage.finish(run_id)

    client.retry_pipeline_run(run_id, "clean_orders")
    mage.advance(run_id, 20)

    assert mage.executions(run_id) == {"load_orders": 1, "clean_orders": 2, "export_totals": 2}


def test_block_runs_are_listed_for_one_run_only(mage, client, schedule):
    for _ in range(2):
        mage.finish(client.create_pipeline_run(schedule.id).id)

    blocks = client.list_block_runs(2)

    assert [block.block_uuid for block in blocks] == ["load_orders", "clean_orders", "export_totals"]
    assert {block.id for block in blocks} == {block.id for block in mage.pipeline_runs[2].block_runs}
    assert client.list_block_runs(4711) == []


# A server that is not Mage


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_status(),
        lambda client: client.get_version(),
        lambda client: client.list_pipelines(),
        lambda client: client.get_pipeline("p"),
        lambda client: client.list_pipeline_schedules("p"),
        lambda client: client.get_pipeline_schedule(1),
        lambda client: client.create_pipeline_run(1),
        lambda client: client.list_pipeline_runs(),
        lambda client: client.list_block_runs(1),
    ],
)
@pytest.mark.parametrize(
    "body", [{}, {"hello": "world"}, {"statuses": [], "pipelines": None, "projects": {}}]
)
def test_server_that_answers_other_json_is_told_not_to_be_mage(scripted, call, body):
    with pytest.raises(
        MageTransportError, match="check that the connection's host is a Mage server"
    ) as caught:
        call(MageClient(scripted(body)))

    assert caught.value.may_have_arrived
    assert not caught.value.temporary


@pytest.mark.parametrize("ask", ["get_pipeline_run", "cancel_pipeline_run", "retry_pipeline_run"])
def test_answer_about_another_run_is_no_answer(mage, client, schedule, edited, ask):
    run_id = mage.pipeline_run(schedule).id
    mage.inject(
        edited(lambda data: data["pipeline_run"].update(id=999)), match=(None, r"/pipeline_runs/\d+$")
    )

    with pytest.raises(MageTransportError, match=r"asked about run 1 and answered about run 999") as caught:
        getattr(client, ask)(run_id)

    assert caught.value.temporary
    assert caught.value.may_have_arrived


def odd_row(**fields):
    return lambda answer: answer["pipeline_runs"].insert(1, {**fields, "id": "seven", "status": "running"})


def test_a_row_that_makes_no_sense_is_left_out_of_a_list_with_one_warning(
    mage, client, schedule, edited, caplog
):
    runs = [mage.pipeline_run(schedule).id for _ in range(3)]
    mage.inject(edited(odd_row()), times=None, match=RUNS)

    for _ in range(2):
        assert [run.id for run in client.list_pipeline_runs(pipeline_schedule_id=schedule.id)] == runs[::-1]

    assert (
        caplog.text.count("A row of 'pipeline_runs' makes no sense: `id`: Input should be a valid integer.")
        == 1
    )


def test_a_row_that_makes_no_sense_and_may_be_the_one_that_is_looked_for_is_an_error(
    mage, client, schedule, edited
):
    mage.pipeline_run(schedule)
    mage.inject(edited(odd_row(variables={"airflow": {"run_key": "abc"}})), times=None, match=RUNS)

    assert len(client.list_pipeline_runs(pipeline_schedule_id=schedule.id, must_hold="another")) == 1
    with pytest.raises(MageAnswerError, match="It is the one that is looked for"):
        client.list_pipeline_runs(pipeline_schedule_id=schedule.id, must_hold="abc")


def test_runs_with_large_variables_are_read_fewer_at_a_time(mage, client, schedule):
    runs = [mage.pipeline_run(schedule, text="x" * 9_000_000).id for _ in range(5)]

    found = client.list_pipeline_runs(pipeline_schedule_id=schedule.id, limit=10)

    assert [run.id for run in found] == runs[::-1]
    assert [request.first("_limit") for request in mage.requests if "_limit" in request.query] == [
        "10",
        "2",
        "2",
        "2",
    ]


def test_client_without_airflow_logs_in_by_itself(mage):
    client = MageClient.connect(mage.url, mage.email, mage.password, timeout=5)

    assert client.list_pipelines()
    assert client.timeout == 5
