"""A busy server is asked again, and the report of a failure shows what the servers said."""

import os
import shutil
import subprocess
import sys

import pytest
import requests
import stages

from isolation import REPOSITORY
from mage_server import says_busy
from repeating import ask_patiently

FAILING_TESTS = """
from server_logs import note, watch

def test_before(tmp_path_factory):
    path = tmp_path_factory.mktemp("server") / "its.log"
    watch("A server", path)
    log = path.open("a", buffering=1)
    log.write("[2026-01-01 00:00:00,000] INFO long before\\n")
    test_it.log = log

def test_it():
    test_it.log.write("[2026-01-01 00:00:01,000] {a.py:1} DEBUG - chatter\\nthat goes on\\n")
    test_it.log.write("[2026-01-01 00:00:02,000] {a.py:1} \\x1b[31mERROR\\x1b[0m - the disk is full\\n")
    note("A server", "GET /runs: 503 busy")
    raise AssertionError("it failed")
"""


def answer(status_code, body=b"{}"):
    made = requests.Response()
    made.status_code, made._content = status_code, body
    return made


def asked(*answers, repeat_if_lost=True, **options):
    """Ask a server that gives these answers, and return the last one, the notes and what was left."""
    left, notes = list(answers), []

    def ask():
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    last = ask_patiently(ask, what="GET /runs", repeat_if_lost=repeat_if_lost, note=notes.append, **options)
    return last.status_code, notes, len(left)


def test_a_server_that_is_at_fault_is_asked_again_and_quoted():
    status_code, [note], left = asked(answer(503, b"too busy"), answer(200))
    assert (status_code, left) == (200, 0)
    assert note.endswith("GET /runs: 503 too busy")


def test_a_lost_answer_is_asked_for_again_only_where_that_changes_nothing_twice():
    status_code, [note], left = asked(requests.ReadTimeout("slow"), answer(200))
    assert (status_code, left) == (200, 0)
    assert "slow" in note
    with pytest.raises(requests.ReadTimeout):
        asked(requests.ReadTimeout("slow"), answer(200), repeat_if_lost=False)


def test_an_answer_that_blames_the_caller_is_the_answer():
    assert asked(answer(404), answer(200)) == (404, [], 1)


def test_mage_says_in_the_body_that_it_is_at_fault():
    locked = answer(200, b'{"error": {"code": 500, "message": "database is locked"}}')
    status_code, [note], left = asked(locked, answer(200), is_busy=says_busy)
    assert (status_code, left) == (200, 0)
    assert "database is locked" in note
    unknown = answer(200, b'{"error": {"code": 404}}')
    assert asked(unknown, answer(200), is_busy=says_busy) == (200, [], 1)


def test_a_report_shows_what_the_servers_said_during_the_test_that_failed(tmp_path):
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(FAILING_TESTS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--tb=short",
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "dev")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "A server wrote (its.log)" in done.stdout
    assert "ERROR - the disk is full" in done.stdout
    assert "A server had to be asked again" in done.stdout
    assert "GET /runs: 503 busy" in done.stdout
    for absent in ("long before", "chatter", "that goes on"):
        assert absent not in done.stdout


def test_red_stage_is_repeated_at_the_end_of_all():
    say = "import sys; print('long\\n= short test summary info =\\nFAILED it'); sys.exit(int(sys.argv[1]))"
    wanted = [stages.Stage(name, [sys.executable, "-c", say, name]) for name in ("0", "1")]
    said = stages.report(stages.run(wanted, at_once=2)).splitlines()
    assert said[:4] == ["", "==> 1, again", "= short test summary info =", "FAILED it"]
    assert sorted(line.split()[-1] for line in said[5:]) == ["1)", "green"]
