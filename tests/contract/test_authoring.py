"""Pipelines, blocks and schedules, created, changed and deleted on a real Mage."""

from __future__ import annotations

import pytest
from contract.tested import VERSION

from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.errors import MageAPIError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.pro import MageProClient
from airflow_provider_mage.api.session import MageSession

BLOCK = "@custom\ndef answer(*args, **kwargs):\n    return 42\n"
RUN_BLOCK_IS_BROKEN = VERSION.number == "0.9.80"


@pytest.fixture(scope="module")
def client(real_mage):
    url = f"{real_mage.url}/api"
    auth = MageAuth(url, Credentials(real_mage.server.email, real_mage.server.password))
    session = MageSession(url, auth=auth, retry_for=0)
    yield MageProClient(session)
    session.http.close()


@pytest.fixture
def pipeline_uuid(client):
    uuid = client.create_pipeline("made by a test", description="one")["uuid"]
    yield uuid
    if uuid in client.list_pipelines():
        client.delete_pipeline(uuid)


def test_pipeline_is_created_changed_and_deleted(client, pipeline_uuid):
    assert pipeline_uuid == "made_by_a_test"
    client.update_pipeline(pipeline_uuid, description="two")
    assert client.get_pipeline(pipeline_uuid)["description"] == "two"

    client.delete_pipeline(pipeline_uuid)

    assert pipeline_uuid not in client.list_pipelines()
    with pytest.raises(MageNotFoundError):
        client.get_pipeline(pipeline_uuid)


def test_block_is_created_changed_and_deleted(client, pipeline_uuid):
    block = client.create_block(pipeline_uuid, "answer", "custom", content=BLOCK)
    assert [one["uuid"] for one in client.list_blocks(pipeline_uuid)] == [block["uuid"]]
    assert client.get_block(pipeline_uuid, block["uuid"])["content"] == BLOCK

    client.update_block_content(pipeline_uuid, block["uuid"], BLOCK.replace("42", "43"))
    assert "43" in client.get_block(pipeline_uuid, block["uuid"])["content"]

    assert [one["uuid"] for one in client.list_blocks(pipeline_uuid)] == [block["uuid"]]

    renamed = client.update_block(pipeline_uuid, block["uuid"], name="response")
    assert [one["uuid"] for one in client.list_blocks(pipeline_uuid)] == [renamed["uuid"]]

    client.delete_block(pipeline_uuid, renamed["uuid"])
    assert client.list_blocks(pipeline_uuid) == []


def test_schedule_is_switched_off_and_on(client, pipeline_uuid):
    schedule = client.create_pipeline_schedule(pipeline_uuid, "switch")

    assert client.update_pipeline_schedule(schedule.id, status="inactive").status == "inactive"
    assert client.activate_pipeline_schedule(schedule.id).is_active
    assert client.update_pipeline_schedule(schedule.id, name="renamed").name == "renamed"
    client.delete_pipeline_schedule(schedule.id)
    assert client.list_pipeline_schedules(pipeline_uuid) == []


def test_run_is_deleted(client, pipeline_uuid):
    schedule = client.create_pipeline_schedule(pipeline_uuid, "runs", is_active=False)
    run = client.create_pipeline_run(schedule.id)

    client.delete_pipeline_run(run.id)

    with pytest.raises(MageNotFoundError):
        client.get_pipeline_run(run.id)


def test_single_block(client, pipeline_uuid):
    block = client.create_block(pipeline_uuid, "answer", "custom", content=BLOCK)
    schedule = client.create_pipeline_schedule(pipeline_uuid, "blocks")

    if RUN_BLOCK_IS_BROKEN:
        with pytest.raises((MageAPIError, MageTransportError)):
            client.run_block(schedule.id, pipeline_uuid, block["uuid"])
    else:
        assert "42" in str(client.run_block(schedule.id, pipeline_uuid, block["uuid"]))


def test_workspaces_of_a_server_that_manages_none_are_refused(client):
    with pytest.raises(MageAPIError):
        client.update_workspace("nobody", "stop")
