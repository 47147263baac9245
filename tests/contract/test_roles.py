"""What a user may do who is Editor of one pipeline, and has no role in the project."""

from __future__ import annotations

import pytest
from contract.conftest import fake

from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage._runs.duplicates import cancel_duplicates
from airflow_provider_mage._runs.identity import RunIdentity
from airflow_provider_mage._runs.schedule import schedule_for
from airflow_provider_mage._runs.start import RunRequest, obtain_run, runs_left_behind
from airflow_provider_mage.api.errors import MageAuthError
from airflow_provider_mage.api.models import PipelineRunStatus

PIPELINE, OTHER = "daily_orders", "broken_orders"


@pytest.fixture(scope="module", params=["fake", "real"])
def place(request):
    """The Mage, what the user logs in with, and what the owner has made: a schedule of each pipeline."""
    if request.param == "fake":
        with fake(role="nobody", pipeline_roles={PIPELINE: "editor"}, polls_to_finish=None) as target:
            ids = [target.server.pipeline_schedule(one, "roles").id for one in (PIPELINE, OTHER)]
            run = target.server.pipeline_run(target.server.pipeline_schedules[ids[1]])
            user = {"login": target.server.email, "password": target.server.password}
            yield target, user, *ids, run.id
    else:
        target = request.getfixturevalue("real_mage")
        ids = [target.owner.schedule(one, name="roles") for one in (PIPELINE, OTHER)]
        run_id = target.owner.run(ids[1])
        yield target, target.add_editor_of(PIPELINE), *ids, run_id


@pytest.fixture
def client(place, connect):
    mage, user, *_ = place
    return connect(mage, user["login"], user["password"])


def test_list_of_schedules_is_refused_and_read_from_the_pipeline_instead(place, client):
    _, _, own, *_ = place

    with pytest.raises(MageAuthError, match="role"):
        client.session.get("pipelines", PIPELINE, "pipeline_schedules")
    [schedule] = [one for one in client.list_pipeline_schedules(PIPELINE) if one.id == own]

    assert (schedule.name, schedule.pipeline_uuid, schedule.is_active) == ("roles", PIPELINE, True)
    assert schedule == client.get_pipeline_schedule(own)
    assert schedule_for(client, PIPELINE, pipeline_schedule_id=None, name="roles") == schedule


def test_schedule_cannot_be_created(place, client):
    with pytest.raises(MageAuthError, match="role"):
        client.create_pipeline_schedule(PIPELINE, "more")


def test_other_pipeline_is_out_of_reach(place, client):
    *_, other, run_id = place

    for ask in (
        lambda: client.list_pipeline_schedules(OTHER),
        lambda: client.get_pipeline_schedule(other),
        lambda: client.get_pipeline_run(run_id),
        lambda: client.cancel_pipeline_run(run_id),
        lambda: client.create_pipeline_run(other, pipeline_uuid=OTHER),
        lambda: client.list_pipeline_runs(pipeline_uuid=OTHER),
    ):
        with pytest.raises(MageAuthError, match="role"):
            ask()


def test_runs_are_created_and_listed_only_if_the_pipeline_is_named(place, client):
    _, _, own, *_ = place

    with pytest.raises(MageAuthError, match="role"):
        client.create_pipeline_run(own)
    run = client.create_pipeline_run(own, {"n": 1}, pipeline_uuid=PIPELINE)
    with pytest.raises(MageAuthError, match="role"):
        client.list_pipeline_runs(pipeline_schedule_id=own)
    listed = client.list_pipeline_runs(pipeline_uuid=PIPELINE, pipeline_schedule_id=own)

    assert [one.id for one in listed] == [run.id]
    assert cancel_run(client, run.id) is PipelineRunStatus.CANCELLED


@pytest.fixture
def idle_schedule(place):
    """The schedule, switched off: its runs are not over before they are looked for, however late that is."""
    mage, _, own, *_ = place

    def switch(status):
        if not mage.is_fake:
            mage.owner.put(f"/pipeline_schedules/{own}", {"pipeline_schedule": {"status": status}})

    switch("inactive")
    yield own
    switch("active")


def test_task_starts_its_run_finds_it_again_and_cancels_it(idle_schedule, client):
    own = idle_schedule

    def request(try_number):
        identity = RunIdentity("the key", f"nonce {try_number}", try_number)
        variables = {"airflow": identity.as_variable()}
        return RunRequest(own, identity, variables, pipeline_uuid=PIPELINE)

    first = obtain_run(client, request(1))
    again = obtain_run(client, request(2))

    assert again.run.id == first.run.id
    cancel_duplicates(client, first.run.id, again.claim)
    assert [run.id for run in runs_left_behind(client, request(2), patience=0)] == [first.run.id]
    assert client.get_pipeline_run(first.run.id).pipeline_uuid == PIPELINE
    assert cancel_run(client, first.run.id) is PipelineRunStatus.CANCELLED


def test_whoever_has_a_role_in_the_project_may_name_the_pipeline_too(mage, connect):
    client = connect(mage, **mage.credentials())
    schedule = client.create_pipeline_schedule(PIPELINE, "named", is_active=False)

    run = client.create_pipeline_run(schedule.id, {"n": 1}, pipeline_uuid=PIPELINE)
    listed = client.list_pipeline_runs(pipeline_uuid=PIPELINE, pipeline_schedule_id=schedule.id)

    assert [(one.id, one.variables["n"]) for one in listed] == [(run.id, 1)]
    assert schedule in client.list_pipeline_schedules(PIPELINE)
