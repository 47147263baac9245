"""Mage's log files, record by record."""

import json
import logging

import pytest

from airflow_provider_mage.api.errors import MageNotFoundError
from airflow_provider_mage.api.logs import LogFile, LogRecord, Mark
from airflow_provider_mage.api.tracebacks import CodeLine
from fakes.faults import Fault
from fakes.messages import Answer


def line(message, uuid="u1", level="INFO", **more):
    row = {"level": level, "message": message, "uuid": uuid, "block_run_id": 1, "block_uuid": "load", **more}
    return f"2026-11-27T18:05:08 {json.dumps(row)}\n"


def read(content, mark=None):
    return LogFile("load.log", content=content).read(mark)


def test_records_have_what_mage_says_of_them():
    assert read(line("kept 36 orders", level="WARNING"))[0] == [
        LogRecord("kept 36 orders", logging.WARNING, "u1", 1, "load")
    ]


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("EXCEPTION", logging.ERROR),
        ("CRITICAL", logging.CRITICAL),
        ("NOTSET", logging.INFO),
        (7, logging.INFO),
    ],
)
def test_levels(level, number):
    assert read(line("a", level=level))[0][0].level == number


def test_exception_is_one_record_and_its_traceback_none():
    traceback = 'Traceback (most recent call last):\n  File "<string>", line 7, in load\nValueError: no\n'
    content = (
        line("Failed", level="EXCEPTION", error=traceback, error_stacktrace="no")
        + traceback
        + line("b", "u2")
    )

    records, mark = read(content)

    assert [(record.message, record.error, record.code_line) for record in records] == [
        ("Failed", "ValueError: no", CodeLine("<string>", 7, "load")),
        ("b", None, None),
    ]
    assert mark == Mark(5, "u2")


def test_lines_that_are_no_records_are_told_as_they_are():
    assert [record.message for record in read("what a driver prints\n\n" + line("a"))[0]] == [
        "what a driver prints",
        "a",
    ]


def test_reading_goes_on_where_it_ended():
    begun = line("a") + line("b", "u2")
    records, mark = read(begun + '2026-11-27T18:05:08 {"mess')

    assert [record.message for record in records] == ["a", "b"]
    assert read(begun, mark) == ([], mark)
    assert [record.message for record in read(begun + line("c", "u3"), mark)[0]] == ["c"]


def test_traceback_behind_a_mark_is_not_told():
    begun = line("Failed", error="Traceback …\nE: no\n", error_stacktrace="no")
    _, mark = read(begun)

    assert read(f"{begun}Traceback …\nE: no\n{line('c', 'u3')}", mark)[0][0].message == "c"


def test_file_that_was_begun_anew_is_read_from_its_start():
    """Mage renames a log of 20 MiB, and shows the new one only."""
    _, mark = read(line("a") + line("b", "u2"))

    assert [record.message for record in read(line("c", "u3") + line("d", "u4"), mark)[0]] == ["c", "d"]
    assert [record.message for record in read(line("b", "u2") + line("d", "u4"), mark)[0]] == ["d"]


@pytest.mark.parametrize(
    "odd",
    [
        "2026 {}\n",
        "2026 {not json\n",
        "{}\n",
        "2026 []\n",
        '2026 {"message": ["a"], "uuid": 7, "level": {}, "block_run_id": "1", "error": 5}\n',
        f'2026 {{"message": {"[" * 5000}\n',
        '2026 {"message": "\\ud800"}\n',
        '2026 {"uuid": "' + "u" * 100 + '"}\n',
    ],
)
def test_odd_lines_are_told_in_some_way(odd):
    records, mark = read(odd + line("a"))

    assert records[-1].message == "a"
    assert mark == Mark(2, "u1")
    assert len(records) == 2


def test_logs_of_blocks_are_those_of_the_run_that_is_asked_for(mage, client):
    mage.pipeline("daily_orders", ["load", "clean"], prints={"load": ["kept 36 orders"]})
    schedule = mage.pipeline_schedule("daily_orders")
    first, second = mage.pipeline_run(schedule), mage.pipeline_run(schedule)
    for run in (first, second):
        mage.finish(run.id)

    [file] = client.list_log_files("daily_orders", first.id, [first.block_runs[0].id])

    assert file.name == "load.log"
    assert [record.message for record in file.read()[0]] == [
        "Start executing block with BlockExecutor.",
        "kept 36 orders",
        "Finish executing block with BlockExecutor.",
    ]
    assert {record.block_run_id for record in file.read()[0]} == {first.block_runs[0].id}
    files = client.list_log_files("daily_orders", second.id, [block.id for block in second.block_runs])
    assert {file.name for file in files} == {"load.log", "clean.log"}


def test_log_of_a_run_itself_is_what_the_scheduler_says(mage, client):
    mage.pipeline("broken", ["load"], fails_at="load")
    run = mage.pipeline_run(mage.pipeline_schedule("broken"))
    mage.finish(run.id, "failed")

    files = client.list_log_files("broken", run.id)

    assert {file.name for file in files} == {"pipeline.log", "scheduler.log"}
    assert [record.error for file in files for record in file.read()[0]] == ["ValueError: no rows in load"]


def test_what_was_tried_in_mages_editor_is_left_out(mage, client):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    answer = {
        "name": "load.log",
        "path": "/srv/p/.logs/edit_pipeline/load/load.log",
        "content": line("tried"),
    }
    body = Answer.of({"logs": [{"block_run_logs": [answer], "pipeline_run_logs": []}]})
    mage.inject(Fault("edited", is_processed=True, change=lambda *_: body), match=("GET", "/logs$"))

    assert client.list_log_files("daily_orders", run.id, [1]) == []


def test_unknown_pipeline_is_not_found(client):
    with pytest.raises(MageNotFoundError):
        client.list_log_files("nobody", 1)
