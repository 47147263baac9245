"""What a run looks like that does not go on, and what is left of a run that was made to wake Mage up."""

from __future__ import annotations

import json
import time

import pytest
from contract.targets import RUN_SECONDS

from airflow_provider_mage._runs.lost_job import WAKE_UP_SCHEDULE, wake_worker_pool
from airflow_provider_mage._runs.progress import Falls, is_running
from airflow_provider_mage.api.errors import MageNotFoundError
from airflow_provider_mage.api.models import BlockRunStatus, PipelineRunStatus

OVER = ("completed", "failed", "cancelled")
BLOCK = """
import os
import time

if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def block(*args, **kwargs):
    {statement}
"""
KAFKA = "connector_type: kafka\nbootstrap_server: '127.0.0.1:1'\ntopic: t\nconsumer_group: g\nbatch_size: 1\n"
DUMMY = "connector_type: dummy\nprint_msg: true\n"


@pytest.fixture
def client(mage, connect):
    return connect(mage, oauth_token=mage.owner.headers["OAUTH-TOKEN"])


@pytest.fixture
def add(mage):
    """Add a pipeline of one block, which does something."""

    def add_pipeline(uuid, statement, **fake):
        if mage.is_fake:
            mage.server.pipeline(uuid, [uuid], **fake)
            return
        folder = mage.server.project_dir
        (folder / "custom").mkdir(exist_ok=True)
        (folder / "custom" / f"{uuid}.py").write_text(BLOCK.format(statement=statement))
        block = {"uuid": uuid, "name": uuid, "type": "custom", "language": "python"}
        write_pipeline(folder, uuid, [block])

    return add_pipeline


def write_pipeline(folder, uuid, blocks, type_="python"):
    neighbours = {"upstream_blocks": [], "downstream_blocks": []}
    pipeline = {
        "name": uuid,
        "uuid": uuid,
        "type": type_,
        "widgets": [],
        "blocks": [{**neighbours, **block} for block in blocks],
    }
    (folder / "pipelines" / uuid).mkdir()
    (folder / "pipelines" / uuid / "metadata.yaml").write_text(json.dumps(pipeline))


def looks(mage, client, run_id):
    """Look at a run again and again."""
    give_up = time.monotonic() + RUN_SECONDS
    while time.monotonic() < give_up:
        run = client.get_pipeline_run(run_id)
        if mage.is_fake:
            mage.server.advance(run_id)
        yield run
        time.sleep(mage.pause)


def test_block_that_ends_its_process_is_started_again_for_ever(mage, client, wire, add):
    add("dies", "os._exit(3)", dies_at="dies", polls_to_finish=None)
    run_id, falls, seen = wire.run(wire.schedule("dies")), Falls(), []
    for run in looks(mage, client, run_id):
        seen += run.block_runs
        if falls.see(run) == "dies":
            break

    client.cancel_pipeline_run(run_id)
    assert {block.status for block in seen} <= {
        BlockRunStatus.INITIAL,
        BlockRunStatus.QUEUED,
        BlockRunStatus.RUNNING,
    }
    assert len({block.started_at for block in seen} - {None}) == 1
    assert not any(block.has_metrics for block in seen)


def test_run_of_a_deleted_pipeline_does_not_go_on_and_can_be_cancelled(mage, client, wire, add):
    add("goes", "time.sleep(3)", polls_to_finish=None)
    run_id = wire.run(wire.schedule("goes"))
    next(run for run in looks(mage, client, run_id) if is_running(run))
    if mage.is_fake:
        del mage.server.project.pipelines["goes"]
    else:
        client.delete_pipeline("goes")
        time.sleep(6)

    with pytest.raises(MageNotFoundError):
        client.get_pipeline("goes")
    run = client.get_pipeline_run(run_id)
    assert (run.status, run.is_orphan) == (PipelineRunStatus.RUNNING, False)
    assert client.cancel_pipeline_run(run_id).status is PipelineRunStatus.CANCELLED


def test_stream_has_no_block_runs_and_its_pipeline_says_so(mage, client, wire):
    if mage.is_fake:
        mage.server.pipeline("flows", ["kafka_in", "dummy_out"], type="streaming")
    else:
        for folder, name, text in (
            ("data_loaders", "kafka_in", KAFKA),
            ("data_exporters", "dummy_out", DUMMY),
        ):
            (mage.server.project_dir / folder / f"{name}.yaml").write_text(text)
        source = {"uuid": "kafka_in", "name": "kafka_in", "type": "data_loader", "language": "yaml"}
        sink = {"uuid": "dummy_out", "name": "dummy_out", "type": "data_exporter", "language": "yaml"}
        source["downstream_blocks"], sink["upstream_blocks"] = ["dummy_out"], ["kafka_in"]
        write_pipeline(mage.server.project_dir, "flows", [source, sink], "streaming")
    run_id = wire.run(wire.schedule("flows"))

    run = next(run for run in looks(mage, client, run_id) if run.status is PipelineRunStatus.RUNNING)
    assert run.block_runs == ()
    assert is_running(run)
    assert client.get_pipeline("flows")["type"] == "streaming"
    client.cancel_pipeline_run(run_id)


def test_block_that_fails_again_keeps_its_first_error(mage, wire, add):
    add("fails", "raise ValueError(time.monotonic_ns())", fails_at="fails", polls_to_finish=8)
    run_id = wire.run(wire.schedule("fails"))
    [first] = wire.wait_for(run_id, *OVER)["block_runs"]
    if mage.is_fake:
        mage.server.project.pipelines["fails"].error = ValueError("another")
    wire.put(f"/pipeline_runs/{run_id}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}})
    [again] = wire.wait_for(run_id, *OVER)["block_runs"]

    assert (again["status"], again["metrics"]) == ("failed", first["metrics"])
    assert again["started_at"] > first["started_at"]


def test_time_out_of_a_schedule_counts_from_the_first_start(mage, client, wire, add):
    add("lasts", "time.sleep(60)", polls_to_finish=None)
    schedule = wire.schedule("lasts", settings={"timeout": 2, "timeout_status": "cancelled"})
    run_id = wire.run(schedule)

    def until_over():
        return next(run for run in looks(mage, client, run_id) if run.status.is_terminal)

    run = until_over() if not mage.is_fake else time_out_in_the_fake(mage, client, run_id)
    assert run.status is PipelineRunStatus.CANCELLED
    assert [block.status for block in run.block_runs] == [BlockRunStatus.CANCELLED]
    assert (run.updated_at - run.started_at).total_seconds() >= 1
    assert client.get_pipeline_schedule(schedule).timeout == 2
    assert client.get_pipeline_schedule(schedule).timeout_status is PipelineRunStatus.CANCELLED

    started_at = run.started_at
    client.retry_pipeline_run(run_id)
    run = until_over()
    assert (run.status, run.started_at) == (PipelineRunStatus.CANCELLED, started_at)


def time_out_in_the_fake(mage, client, run_id):
    mage.server.advance(run_id, 3)
    began = mage.server.pipeline_runs[run_id].started_at
    mage.server.pipeline_runs[run_id].started_at = began.replace(year=began.year - 1)
    mage.server.advance(run_id)
    return client.get_pipeline_run(run_id)


def test_what_wakes_the_worker_pool_leaves_nothing_in_any_list_and_gives_no_id_away(mage, client, wire):
    schedule = wire.schedule()
    before = wire.run(schedule)
    listed = [run.id for run in client.list_pipeline_runs()]
    wake_worker_pool(client, "daily_orders")

    assert WAKE_UP_SCHEDULE not in [one.name for one in client.list_pipeline_schedules("daily_orders")]
    assert [run.id for run in client.list_pipeline_runs()] == listed
    made = client.get_pipeline_run(before + 1, short=True)
    assert made.status is PipelineRunStatus.CANCELLED
    assert client.get_pipeline_run(made.id).block_runs == ()
    assert wire.run(schedule) > made.id
    assert client.get_status().cluster_type is None
