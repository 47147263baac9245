"""What a task for each block leans on: how blocks of a run are repaired, dated and listed, fake and real."""

from __future__ import annotations

import time

import group_pipelines
import pytest
from contract.conftest import RealMage, fake
from contract.targets import RUN_SECONDS, Target

from airflow_provider_mage._runs.block_state import BlockState
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAPIError

DAYS = ["monday", "tuesday"]


@pytest.fixture(scope="module", params=["fake", "real"])
def mage(request):
    """A Mage with the pipelines that task groups are tried on."""
    if request.param == "fake":
        with fake(polls_to_finish=200) as target:
            for name, upstream in group_pipelines.BLOCKS.items():
                children = {"day": DAYS} if name == "by_day" else {}
                left_out = {"left_out"} if name == "conditional" else set()
                target.server.pipeline(
                    name, list(upstream), upstream=upstream, children=children, left_out=left_out
                )
            yield target
    else:
        database_url = request.getfixturevalue("new_database")("blocks")
        server = RealMage(database_url)
        group_pipelines.write(server.project_dir)
        with server:
            yield Target(server, server.url, pause=0.05)


@pytest.fixture(scope="module")
def client(mage):
    return MageClient.connect(mage.url, mage.server.email, mage.server.password)


@pytest.fixture
def start(mage, client, tmp_path_factory):
    """Start a run of a pipeline; what its blocks do is said in a directory."""

    def start(pipeline_uuid, *files):
        stage = tmp_path_factory.mktemp("stage")
        for name in files:
            (stage / name).touch()
        schedule = client.create_pipeline_schedule(pipeline_uuid, f"blocks {time.monotonic()}")
        return client.create_pipeline_run(schedule.id, {"stage": str(stage)}).id, stage

    return start


@pytest.fixture
def watch(mage, client):
    """Look at a run until it is over, and return all that was seen."""

    def watch(run_id):
        seen, give_up = [], time.monotonic() + RUN_SECONDS
        while not seen or not seen[-1].status.is_terminal:
            assert time.monotonic() < give_up, seen[-1]
            seen.append(client.get_pipeline_run(run_id))
            time.sleep(mage.pause)
        return seen

    return watch


def fingerprints(run):
    return {row.block_uuid: BlockState(run, row.block_uuid).fingerprint for row in run.block_runs}


def ends(run):
    return {row.block_uuid: row.status.value for row in run.block_runs}


def test_repair_from_a_block_runs_it_and_what_is_after_it_and_dates_them_anew(client, start, watch):
    run_id, _ = start("fan")
    before = watch(run_id)[-1]
    client.retry_pipeline_run(run_id, "clean")
    after = watch(run_id)[-1]

    assert set(ends(before).values()) == set(ends(after).values()) == {"completed"}
    old, new = fingerprints(before), fingerprints(after)
    assert {name for name in old if old[name] != new[name]} == {"clean", "join", "export"}


def test_two_repairs_in_a_row_both_hold(client, start, watch):
    run_id, _ = start("fan")
    before = watch(run_id)[-1]
    for name in ("clean", "check"):
        client.retry_pipeline_run(run_id, name)
    after = watch(run_id)[-1]

    old, new = fingerprints(before), fingerprints(after)
    assert {name for name in old if old[name] != new[name]} == {"clean", "check", "join", "export"}


def test_run_that_leaves_blocks_out_is_completed_if_none_has_failed(mage, client, watch, tmp_path):
    held = tmp_path / "hold_load"
    held.touch()
    schedule_id = mage.owner.schedule("fan", settings={"allow_blocks_to_fail": True})
    run_id = client.create_pipeline_run(schedule_id, {"stage": str(tmp_path)}).id
    while "join" not in ends(client.get_pipeline_run(run_id)):
        time.sleep(mage.pause)
    mage.leave_out(run_id, "join")
    held.unlink()
    run = watch(run_id)[-1]
    assert (run.status.value, ends(run)["join"], ends(run)["export"]) == (
        "completed",
        "upstream_failed",
        "upstream_failed",
    )

    client.retry_pipeline_run(run_id, "join")
    run = watch(run_id)[-1]
    assert (run.status.value, set(ends(run).values())) == ("completed", {"completed"})


def test_children_are_there_before_their_block_ends(client, start, watch):
    run_id, _ = start("by_day")
    seen = watch(run_id)

    assert ends(seen[-1]).keys() >= {"day", *(f"day:{name}" for name in DAYS)}
    for run in seen:
        states = ends(run)
        assert states.get("day") != "completed" or {f"day:{name}" for name in DAYS} <= states.keys()


def test_condition_that_is_not_met_leaves_out_what_is_after_it(start, watch):
    run_id, _ = start("conditional")
    run = watch(run_id)[-1]

    left_out = {name for name, end in ends(run).items() if end == "condition_failed"}
    assert (run.status.value, left_out) == ("completed", {"left_out", "after_it"})


def test_active_runs_of_several_pipelines_are_listed_together(client, start):
    ids = {start(name, "hold_load", "hold_first")[0] for name in ("fan", "five")}
    other, _ = start("conditional", "hold_begin")

    listed = client.list_pipeline_runs(pipeline_uuids=["fan", "five"])
    assert ids <= {run.id for run in listed}
    assert other not in {run.id for run in listed}
    for run_id in (*ids, other):
        client.cancel_pipeline_run(run_id)


def test_repair_from_a_block_that_there_is_not_is_an_error_or_does_nothing(client, start, watch):
    run_id, _ = start("five")
    before = watch(run_id)[-1]
    try:
        client.retry_pipeline_run(run_id, "no_such_block")
    except MageAPIError:
        return

    assert fingerprints(watch(run_id)[-1]) == fingerprints(before)
