"""What a real Mage cannot show: how the fake fails on purpose, and how it is steered."""

from __future__ import annotations

import random
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

from fakes import faults
from fakes.mage import FakeMage
from isolation import PORTS, free_ports

SCHEDULE_RUNS = ("POST", r"/pipeline_runs$")


@pytest.fixture
def fake():
    with FakeMage(authentication=False) as fake:
        fake.pipeline("p", ["a", "b", "c"])
        yield fake


@pytest.fixture
def schedule(fake):
    return fake.pipeline_schedule("p")


def send(fake, method, path, body=None, *, timeout=5, **options):
    url = f"{fake.url}/api{path}"
    return requests.request(method, url, json=body, allow_redirects=False, timeout=timeout, **options)


def start(fake, schedule, **options):
    return send(fake, "POST", f"/pipeline_schedules/{schedule.id}/pipeline_runs", {}, **options)


def status(fake, run):
    return send(fake, "GET", f"/pipeline_runs/{run.id}").json()["pipeline_run"]["status"]


class TestSteps:
    def test_run_is_over_at_the_second_look(self, fake, schedule):
        run = fake.pipeline_run(schedule)
        assert [status(fake, run) for _ in range(3)] == ["running", "completed", "completed"]
        assert fake.executions(run.id) == {"a": 1, "b": 1, "c": 1}

    @pytest.mark.parametrize("polls", [1, 3, 9, 40])
    def test_run_is_over_with_the_look_that_was_asked_for(self, fake, schedule, polls):
        fake.pipeline("p", ["a", "b"], fails_at="b", polls_to_finish=polls)
        run = fake.pipeline_run(schedule)
        assert [status(fake, run) for _ in range(polls)] == ["running"] * (polls - 1) + ["failed"]

    def test_a_list_is_a_look_at_every_active_run(self, fake, schedule):
        runs = [fake.pipeline_run(schedule) for _ in range(2)]
        for _ in range(2):
            send(fake, "GET", "/pipeline_runs?_format=with_basic_details")
        assert {run.status for run in runs} == {"completed"}

    def test_run_moves_step_by_step_when_told_to(self, fake, schedule):
        fake.pipeline("p", ["a", "b"], fails_at="b", polls_to_finish=None)
        run = fake.pipeline_run(schedule)
        seen = []
        for _ in range(9):
            assert status(fake, run) == run.status
            seen.append((run.status, *(block.status for block in run.block_runs)))
            fake.advance(run.id)
        assert seen == [
            ("initial",),
            ("running", "initial", "initial"),
            ("running", "queued", "initial"),
            ("running", "running", "initial"),
            ("running", "completed", "initial"),
            ("running", "completed", "queued"),
            ("running", "completed", "running"),
            ("running", "completed", "failed"),
            ("failed", "completed", "failed"),
        ]

    @pytest.mark.parametrize("steps", [0, 1, 3, 5])
    @pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
    def test_run_ends_when_told_to(self, fake, schedule, steps, end):
        run = fake.pipeline_run(schedule)
        fake.advance(run.id, steps)
        fake.finish(run.id, end, KeyError("gone"))
        assert run.status == end
        errors = [block.metrics["error"]["error"] for block in run.block_runs if block.status == "failed"]
        assert errors == (["'gone'"] if end == "failed" else [])
        assert max(fake.executions(run.id).values(), default=0) <= 1

    def test_block_fails_as_often_as_it_is_told_to(self, fake, schedule):
        fake.pipeline("p", ["a", "b"], fails_at="b", fails_times=2)
        run = fake.pipeline_run(schedule)
        for end in ("failed", "failed", "completed"):
            fake.advance(run.id, 20)
            assert run.status == end
            if end == "failed":
                retry = {"pipeline_run": {"pipeline_run_action": "retry_blocks"}}
                send(fake, "PUT", f"/pipeline_runs/{run.id}", retry)
        assert fake.executions(run.id) == {"a": 1, "b": 3}

    def test_block_stalls_until_it_is_let_go(self, fake, schedule):
        pipeline = fake.pipeline("p", ["a", "b"], stalls_at="b")
        run = fake.pipeline_run(schedule)
        assert {status(fake, run) for _ in range(5)} == {"running"}
        assert run.block_runs[1].status == "queued"
        pipeline.stalls_at = None
        assert status(fake, run) == "completed"

    def test_nothing_moves_without_a_scheduler(self, fake, schedule):
        fake.stop_scheduler()
        run = fake.pipeline_run(schedule)
        assert {status(fake, run) for _ in range(3)} == {"initial"}
        assert send(fake, "GET", "/status").json()["statuses"][0]["scheduler_status"] == "stopped"
        fake.start_scheduler()
        assert status(fake, run) == "completed"


class TestWithoutAnswer:
    @pytest.mark.parametrize(
        ("fault", "is_processed"),
        [
            (faults.CLOSE_BEFORE, False),
            (faults.RESET_BEFORE, False),
            (faults.CLOSE_AFTER, True),
            (faults.RESET_AFTER, True),
            (faults.TRUNCATED_BODY, True),
        ],
        ids=lambda value: getattr(value, "name", None),
    )
    def test_connection_breaks(self, fake, schedule, fault, is_processed):
        fake.inject(fault, match=SCHEDULE_RUNS)
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            start(fake, schedule)
        assert len(fake.pipeline_runs) == is_processed
        assert [request.fault for request in fake.requests] == [fault.name]
        assert start(fake, schedule).json()["pipeline_run"]["status"] == "initial"

    def test_reset_is_a_reset(self, fake):
        fake.inject(faults.RESET_BEFORE)
        with socket.create_connection(("127.0.0.1", urlsplit(fake.url).port), timeout=5) as connection:
            connection.sendall(b"GET /api/status HTTP/1.1\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)

    @pytest.mark.parametrize(
        "fault", [faults.late_answer(30), faults.late_request(30)], ids=lambda fault: fault.name
    )
    def test_answer_is_too_late_and_nobody_waits_for_it_in_the_end(self, schedule, fake, fault):
        fake.inject(fault)
        begin = time.monotonic()
        with pytest.raises(requests.ReadTimeout):
            start(fake, schedule, timeout=0.2)
        assert len(fake.pipeline_runs) == (fault.wait_before == 0)
        with fake.down():
            assert len(fake.pipeline_runs) == 1
        assert time.monotonic() - begin < 5

    def test_server_is_down_and_comes_back_as_it_was(self, fake, schedule):
        url = fake.url
        with requests.Session() as session:
            session.get(f"{url}/api/status", timeout=5)
            with fake.down(), pytest.raises(requests.ConnectionError):
                session.get(f"{url}/api/status", timeout=5)
            assert session.get(f"{url}/api/pipeline_schedules/{schedule.id}", timeout=5).status_code == 200
        assert fake.url == url


class TestWrongAnswers:
    def test_proxy_answers_instead(self, fake, schedule):
        fake.inject(faults.http_error(502))
        fake.inject(faults.http_error(504, is_processed=True))
        fake.inject(faults.too_many_requests(7))
        answers = [start(fake, schedule) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [502, 504, 429]
        assert all(answer.text.startswith("<html>") for answer in answers)
        assert answers[2].headers["Retry-After"] == "7"
        assert len(fake.pipeline_runs) == 1

    def test_body_is_not_what_it_should_be(self, fake, schedule):
        for fault in (faults.TRUNCATED_JSON, faults.EMPTY_BODY, faults.WEB_PAGE, faults.LOGIN_REDIRECT):
            fake.inject(fault)
        cut, empty, page, redirect = (start(fake, schedule) for _ in range(4))
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            cut.json()
        assert empty.content == b""
        assert page.headers["Content-Type"].startswith("text/html")
        assert (redirect.status_code, redirect.headers["Location"]) == (302, "/sign-in?next=%2Fapi")
        assert requests.get(f"{fake.url}/sign-in", timeout=5).text.startswith("<!DOCTYPE html>")
        assert len(fake.pipeline_runs) == 2

    @pytest.mark.parametrize("is_processed", [False, True])
    def test_database_is_locked_and_the_answer_quotes_what_was_sent(self, fake, schedule, is_processed):
        fake.inject(faults.database_locked(is_processed=is_processed))
        path = f"/pipeline_schedules/{schedule.id}/pipeline_runs"
        answer = send(fake, "POST", path, {"pipeline_run": {"variables": {"password": "s3cret"}}})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (200, 500)
        assert error["exception"].startswith("(sqlite3.OperationalError) database is locked\n[SQL: INSERT")
        assert "s3cret" in error["exception"]
        assert len(fake.pipeline_runs) == is_processed


class TestInjecting:
    def test_harms_only_what_matches_and_only_so_often(self, fake, schedule):
        fake.inject(faults.http_error(503), times=2, match=SCHEDULE_RUNS, skip=1)
        codes = []
        for _ in range(5):
            codes.append(start(fake, schedule).status_code)
            assert send(fake, "GET", "/pipeline_runs").status_code == 200
        assert codes == [200, 503, 503, 200, 200]

    def test_goes_on_until_healed(self, fake):
        fake.inject(faults.http_error(503), times=None)
        assert {send(fake, "GET", "/status").status_code for _ in range(4)} == {503}
        fake.heal()
        assert send(fake, "GET", "/status").status_code == 200


class TestRecord:
    def test_keeps_what_was_asked(self, fake, schedule):
        send(fake, "GET", "/pipeline_runs?status[]=failed,running&_limit=2")
        path = f"/pipeline_schedules/{schedule.id}/pipeline_runs"
        send(fake, "POST", path, {"pipeline_run": {"variables": {"a": 1}}}, headers={"X-Request": "7"})
        first, second = fake.requests
        assert (first.path, first.query) == (
            "/api/pipeline_runs",
            {"status[]": ["failed,running"], "_limit": ["2"]},
        )
        assert second.json == {"pipeline_run": {"variables": {"a": 1}}}
        assert (second.headers["x-request"], second.status) == ("7", 200)
        assert (fake.count(), fake.count("GET"), fake.count(path="/pipeline_runs$")) == (2, 1, 2)
        assert fake.requests_of("POST", "/pipeline_schedules/") == [second]

    def test_counts_the_log_ins_that_succeeded(self):
        with FakeMage(password="right") as fake:
            for password in ("right", "wrong", "right"):
                session = {"username": fake.username, "password": password}
                send(fake, "POST", "/sessions", {"session": session}, headers={"X-API-KEY": fake.api_key})
            assert (fake.log_ins, len(fake.session_tokens()), fake.count("POST", "/sessions")) == (2, 2, 3)


class TestServer:
    def test_keeps_connections_alive_and_answers_many_at_once(self, fake, schedule):
        fake.inject(faults.late_answer(0.2), times=None, match=("GET", "/status"))

        def ask():
            with requests.Session() as session:
                for _ in range(2):
                    answer = session.get(f"{fake.url}/api/status", timeout=5)
                    assert answer.headers.get("Connection", "keep-alive") == "keep-alive"
                    answered.append(answer.status_code)

        answered = []
        threads = [threading.Thread(target=ask) for _ in range(20)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answered == [200] * 40
        assert time.monotonic() - begin < 3

    def test_takes_a_free_port_that_no_outgoing_connection_is_given(self, fake, monkeypatch):
        taken, [free] = urlsplit(fake.url).port, free_ports(1)
        assert taken in PORTS
        choices = iter([taken, free])
        monkeypatch.setattr(random, "choice", lambda ports: next(choices) if ports is PORTS else None)
        with FakeMage() as other:
            assert urlsplit(other.url).port == free

    def test_leaves_nothing_behind(self):
        before = threading.active_count()
        with FakeMage() as fake, requests.Session() as session:
            session.get(f"{fake.url}/api/status", timeout=5)
            assert threading.active_count() > before
        assert threading.active_count() == before

    def test_does_not_keep_its_own_mistakes_to_itself(self):
        fake = FakeMage(authentication=False).__enter__()
        fake.pipeline("p").blocks = None
        with pytest.raises(requests.ConnectionError):
            send(fake, "GET", "/pipelines")
        with pytest.raises(AssertionError, match="FakeMage itself failed"):
            fake.__exit__(None, None, None)
