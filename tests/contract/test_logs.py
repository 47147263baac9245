"""What Mage's logs are like, on the fake and on a real server: what streaming and reasons lean on."""

from __future__ import annotations

import json
import re

import pytest
from contract.shapes import differences
from contract.targets import assert_shape
from contract.test_standstill import write_pipeline
from contract.tested import VERSION

from airflow_provider_mage.api.errors import MageNotFoundError
from airflow_provider_mage.api.logs import MOST_FILES

FILE = {"name", "path", "size", "modified_timestamp", "content"}
LOGS = {
    "block_run_logs": list,
    "pipeline_run_logs": list,
    "total_block_run_log_count": int,
    "total_pipeline_run_log_count": int,
}
NAMES = ["writes", *(f"is_quiet_{number:02}" for number in range(MOST_FILES + 2))]
BLOCK = """
if "custom" not in globals():
    from mage_ai.data_preparation.decorators import custom


@custom
def run(*args, **kwargs):
    {code}
"""
WRITES = 'print("one")\n    print("two\\nlines")\n    print("größer")'


@pytest.fixture
def client(mage, connect):
    return connect(mage, oauth_token=mage.owner.headers["OAUTH-TOKEN"])


@pytest.fixture(scope="module")
def run_ids():
    """The runs of the pipeline, by the server that they are on."""
    return {}


@pytest.fixture
def run(mage, wire, client, run_ids):
    """The one run of a pipeline one of whose blocks writes something."""
    if mage.is_fake not in run_ids:
        if mage.is_fake:
            prints = {"writes": ["one", "two\nlines", "größer"]}
            mage.server.pipeline("writing", NAMES, prints=prints, polls_to_finish=3)
        else:
            folder = mage.server.project_dir
            (folder / "custom").mkdir(exist_ok=True)
            for name in NAMES:
                code = (
                    'print("one")\n    print("two\\nlines")\n    print("größer")'
                    if name == "writes"
                    else "pass"
                )
                (folder / "custom" / f"{name}.py").write_text(BLOCK.format(code=code))
            blocks = [{"uuid": name, "name": name, "type": "custom", "language": "python"} for name in NAMES]
            write_pipeline(folder, "writing", blocks)
        run_ids[mage.is_fake] = wire.run(wire.schedule("writing"))
        wire.wait_for(run_ids[mage.is_fake], "completed")
    return client.get_pipeline_run(run_ids[mage.is_fake])


def logs(wire, query):
    answer = wire.get(f"/pipelines/writing/logs?{query}")
    assert_shape(answer, {"logs": [dict], "metadata": dict})
    [found] = answer.json()["logs"]
    assert differences(found, LOGS) == []
    return found


def of_block(run, name="writes"):
    return next(block for block in run.block_runs if block.block_uuid == name)


def test_block_run_has_one_file_named_for_it(wire, run):
    block = of_block(run)
    found = logs(wire, f"pipeline_run_id[]={run.id}&block_run_id[]={block.id}")

    assert found["pipeline_run_logs"] == []
    [file] = found["block_run_logs"]
    assert set(file) == FILE
    assert file["name"] == "writes.log"
    assert file["path"].endswith("/writes.log")
    assert file["content"].endswith("\n")


def test_line_is_a_time_and_an_object_that_says_whose_it_is(wire, run):
    block = of_block(run)
    [file] = logs(wire, f"pipeline_run_id[]={run.id}&block_run_id[]={block.id}")["block_run_logs"]
    rows = []
    for line in file["content"].splitlines():
        time, _, text = line.partition(" ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", time)
        rows.append(json.loads(text))

    assert {(row["block_run_id"], row["block_uuid"], row["pipeline_run_id"]) for row in rows} == {
        (block.id, "writes", run.id)
    }
    assert {row["level"] for row in rows} == {"INFO"}
    assert len({row["uuid"] for row in rows}) == len(rows)
    assert rows[0]["message"] == "Start executing block with BlockExecutor."
    assert rows[-1]["message"].startswith("Finish executing block with ")


def test_what_a_block_prints_are_its_records(client, run):
    [file] = client.list_log_files("writing", run.id, [of_block(run).id])
    messages = [record.message for record in file.read()[0]]

    # A line end within a text divides it, or does not.
    assert "\n".join(messages[1:-1]).splitlines() == ["one", "two", "lines", "größer"]


def test_several_block_runs_are_one_request_of_twenty_files_at_most(client, run):
    ids = [block.id for block in run.block_runs]

    assert len(client.list_log_files("writing", run.id, ids[:5])) == 5
    assert len(client.list_log_files("writing", run.id, ids)) == MOST_FILES


def test_filter_without_its_brackets_filters_nothing(wire, run):
    everything = logs(wire, "pipeline_run_id=999999")

    assert len(everything["pipeline_run_logs"]) >= 2
    assert logs(wire, "pipeline_run_id[]=999999")["pipeline_run_logs"] == []


def test_log_of_a_run_itself_is_asked_for_with_one_block_at_most(wire, client, run):
    found = logs(wire, f"pipeline_run_id[]={run.id}&_limit=1")

    assert {file["name"] for file in found["pipeline_run_logs"]} == {"pipeline.log", "scheduler.log"}
    assert len(found["block_run_logs"]) == 1
    assert {file.name for file in client.list_log_files("writing", run.id)} == {
        "pipeline.log",
        "scheduler.log",
    }


def test_unknown_run_has_no_logs_and_an_unknown_pipeline_is_an_error(client, run):
    assert client.list_log_files("writing", 999999, [999999]) == []
    with pytest.raises(MageNotFoundError):
        client.list_log_files("nobody", run.id)


def test_exception_is_a_record_with_a_traceback_and_the_traceback_once_more(wire, client):
    run_id = wire.run(wire.schedule("broken_orders"))
    wire.wait_for(run_id, "failed")
    run = client.get_pipeline_run(run_id)
    block = of_block(run, "check_orders")
    [file] = client.list_log_files("broken_orders", run_id, [block.id])
    [row] = [
        json.loads(line.partition(" ")[2]) for line in file.content.splitlines() if '"EXCEPTION"' in line
    ]

    assert row["message"] == "Failed to execute block check_orders"
    text = "4 of 40 orders have a negative amount"
    assert row["error_stacktrace"] == ([text] if VERSION.lists_errors else text)
    traceback = row["error"][0] if VERSION.lists_errors else row["error"]
    assert traceback.startswith("Traceback (most recent call last):")
    assert "\nValueError: 4 of 40 orders have a negative amount" in file.content
    told = [record for record in file.read()[0] if record.message.startswith("Failed")]
    assert [(record.error, record.code_line.number) for record in told] == [
        ("ValueError: 4 of 40 orders have a negative amount", 10)
    ]
    assert file.read()[0][-1] == told[-1]


def test_reading_again_begins_where_it_ended(client, run):
    [file] = client.list_log_files("writing", run.id, [of_block(run).id])
    records, mark = file.read()
    [again] = client.list_log_files("writing", run.id, [of_block(run).id])

    assert records
    assert again.read(mark) == ([], mark)
