"""Why runs fail on a real Mage, and what is told of it."""

from __future__ import annotations

import time

import pytest
from contract.conftest import RealMage
from contract.targets import RUN_SECONDS, Target
from failing_pipelines import PIPELINES, write

from airflow_provider_mage._runs.report import failure_of

URL = "http://mage.invalid/runs/1"


@pytest.fixture(scope="module")
def failing(real_mage):
    """All of the pipelines that fail, run side by side: the ids of their runs."""
    write(real_mage.server.project_dir)
    return {name: real_mage.server.start_run(name) for name in PIPELINES}


def ended(client, run_id):
    give_up = time.monotonic() + RUN_SECONDS
    while not (run := client.get_pipeline_run(run_id)).status.is_terminal:
        assert time.monotonic() < give_up, run
        time.sleep(0.5)
    return run


@pytest.fixture
def client(real_mage, connect):
    return connect(real_mage, oauth_token=real_mage.owner.headers["OAUTH-TOKEN"])


@pytest.mark.parametrize("name", PIPELINES)
def test_failure_names_block_exception_and_line(client, failing, name, caplog):
    expected = PIPELINES[name]
    run = ended(client, failing[name])

    with caplog.at_level("INFO"):
        lines = str(failure_of(run, URL, client)).splitlines()

    block = name if expected.block is None else expected.block
    told = f"Block {block} failed: " if block else "None of its blocks has failed; Mage's log says: "
    assert lines[1].startswith(told + expected.reason)
    assert expected.line in lines[-2]
    assert lines[-1] == f"See {URL}"
    assert len(lines) <= 16
    for line in expected.wrote:
        assert f"[{block}] {line}" in caplog.messages


def test_error_in_the_log_is_newer_than_that_of_the_run(real_mage, client, failing):
    """After a repair, ``metrics.error`` is still that of the first failure."""
    run = ended(client, failing["raises"])
    block = real_mage.server.project_dir / "custom" / "raises.py"
    source = block.read_text()
    block.write_text(source.replace("raise ValueError", "raise LookupError"))
    client.retry_pipeline_run(run.id)
    run = ended(client, run.id)
    block.write_text(source)

    assert run.block_runs[0].error.startswith("ValueError")
    for old_errors in ((), None):
        assert "Block raises failed: LookupError" in str(failure_of(run, URL, client, old_errors=old_errors))


def test_hook_that_fails_and_blocks_behind_hooks_are_explained_by_their_logs(new_database, connect):
    """Both have metrics from their beginning, to which Mage adds no error."""
    with RealMage(new_database("hooks")) as server:
        target = Target(server, server.url, pause=0.5)
        features = server.project_dir / "metadata.yaml"
        features.write_text(features.read_text() + "features:\n  global_hooks: true\n")
        write(server.project_dir)
        hook = {
            "uuid": "looks_up_first",
            "resource_type": "Pipeline",
            "operation_type": "execute",
            "stages": ["before"],
            "conditions": ["success"],
            "strategies": ["raise"],
            "pipeline": {"uuid": "fails_twice"},
            "snapshot": True,
        }
        target.owner.post("/global_hooks", {"global_hook": hook})
        client = connect(target, oauth_token=target.owner.headers["OAUTH-TOKEN"])
        run = ended(client, server.start_run("raises"))

        [failed] = [block for block in run.block_runs if block.status.value == "failed"]
        assert (failed.block_uuid, failed.has_metrics, failed.error) == ("looks_up_first", True, None)
        assert "Block looks_up_first failed: Exception: Pipeline run" in str(failure_of(run, URL, client))
