"""What is sent again, when, and for how long."""

import re

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProtocolError

from airflow_provider_mage.api.auth import Credentials
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAPIError, MageAuthError, MageTransportError
from airflow_provider_mage.api.retries import FIRST_PAUSE, RetryPolicy, call_with_retries
from airflow_provider_mage.api.transport import translate_request_error
from fakes import faults

OK = {"pipelines": []}
POOL = None


def refused():
    reason = NewConnectionError(POOL, "Connection refused")
    return requests.ConnectionError(MaxRetryError(POOL, "/", reason))


def connect_timeout():
    reason = ConnectTimeoutError(POOL, "timed out")
    return requests.ConnectTimeout(MaxRetryError(POOL, "/", reason))


def broken():
    return requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")))


NEVER_ARRIVED = [refused(), connect_timeout(), (429, b"slow down")]
MAY_HAVE_ARRIVED = [
    requests.ReadTimeout("read timed out"),
    broken(),
    requests.exceptions.ChunkedEncodingError("incomplete"),
    (200, b""),
    (200, b'{"pipeline_run": {"id"'),
    (500, b"<html>"),
    (502, b"<html>"),
    (503, b""),
    (504, b""),
    (200, {"error": {"code": 500, "exception": "(sqlite3.OperationalError) database is locked"}}),
    (200, {"error": {"code": 500, "exception": "(psycopg2.OperationalError) FATAL: in recovery mode"}}),
]
FINAL = [
    (200, {"error": {"code": 500, "exception": "Pipeline x does not exist."}}),
    (200, {"error": {"code": 403, "message": "Unauthorized"}}),
    (200, b"<html>"),
    (302, b"", {"Location": "/login"}),
    (404, b""),
    requests.exceptions.SSLError("certificate verify failed"),
    requests.exceptions.InvalidURL("no host"),
    requests.exceptions.InvalidHeader("bad"),
]


def name_of(failure):
    return type(failure).__name__ if isinstance(failure, Exception) else f"{failure[0]} {failure[1]!s:.20}"


@pytest.mark.parametrize("failure", [*NEVER_ARRIVED, *MAY_HAVE_ARRIVED], ids=name_of)
def test_read_is_repeated_after_whatever_will_pass(scripted, failure):
    session = scripted(failure, failure, OK)

    assert session.get("pipelines") == OK
    assert len(session.wire.requests) == 3


@pytest.mark.parametrize("failure", NEVER_ARRIVED, ids=name_of)
def test_write_is_repeated_if_it_certainly_did_not_arrive(scripted, failure):
    session = scripted(failure, failure, OK)

    assert session.post("pipelines", json={"a": 1}) == OK
    assert [request.body for request in session.wire.requests] == [b'{"a": 1}'] * 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("failure", MAY_HAVE_ARRIVED, ids=name_of)
def test_write_is_not_repeated_if_it_may_have_arrived(scripted, failure, method):
    session = scripted(failure, OK)

    with pytest.raises(MageTransportError) as caught:
        session.request(method, "pipelines", json={})

    assert caught.value.may_have_arrived
    assert len(session.wire.requests) == 1


@pytest.mark.parametrize("failure", MAY_HAVE_ARRIVED, ids=name_of)
def test_write_that_does_no_harm_twice_is_repeated(scripted, failure):
    session = scripted(failure, OK)

    assert session.put("pipelines", json={}, is_repeatable=True) == OK


@pytest.mark.parametrize("failure", FINAL, ids=name_of)
def test_nothing_is_repeated_if_that_will_not_help(scripted, clock, failure):
    session = scripted(failure, OK)

    with pytest.raises((MageTransportError, MageAPIError)):
        session.get("pipelines")

    assert len(session.wire.requests) == 1
    assert clock.sleeps == []


def test_start_run_is_not_repeated_after_a_read_timeout(mage, session):
    schedule = mage.pipeline_schedule("daily_orders")
    client = MageClient(session(mage, retry_for=60, timeout=0.3))
    client.list_pipelines()
    mage.inject(faults.late_answer(1), match=("POST", r"/pipeline_runs$"))

    with pytest.raises(MageTransportError, match="No answer came in time: check that Mage is up") as caught:
        client.create_pipeline_run(schedule.id)

    assert caught.value.may_have_arrived
    assert mage.count("POST", r"/pipeline_runs$") == 1
    assert len(mage.pipeline_runs) == 1


def test_start_run_is_repeated_while_the_server_is_down(mage, session, clock):
    schedule = mage.pipeline_schedule("daily_orders")
    client = MageClient(session(mage, retry_for=60))
    client.list_pipelines()
    down = mage.down()
    down.__enter__()
    wait = clock.sleep

    def come_back(seconds):
        if len(clock.sleeps) == 2:
            down.__exit__(None, None, None)
        wait(seconds)

    clock.sleep = come_back

    assert client.create_pipeline_run(schedule.id).id == 1
    assert len(mage.pipeline_runs) == 1
    assert len(clock.sleeps) == 3


def test_pauses_double_with_jitter_up_to_a_limit(scripted, clock):
    session = scripted(broken(), retry_for=600)

    with pytest.raises(MageTransportError):
        session.get("pipelines")

    steps = [min(FIRST_PAUSE * 2**number, RetryPolicy.longest_pause) for number in range(len(clock.sleeps))]
    assert len(steps) > 8
    for step, slept in zip(steps, clock.sleeps, strict=True):
        assert step <= slept <= step + FIRST_PAUSE
    assert len({slept - step for step, slept in zip(steps, clock.sleeps, strict=True)}) > 3


def test_server_that_asks_for_a_pause_gets_it(scripted, clock):
    session = scripted((503, b"", {"Retry-After": "17"}), OK)

    session.get("pipelines")

    assert clock.sleeps == [17.0]


def test_server_that_asks_for_no_pause_is_not_hammered(scripted, clock):
    session = scripted((503, b"", {"Retry-After": "0"}))

    with pytest.raises(MageTransportError):
        session.get("pipelines")

    assert min(clock.sleeps) >= FIRST_PAUSE
    assert len(session.wire.requests) < 12


def test_pause_that_is_too_long_is_not_begun(scripted, clock):
    session = scripted((503, b"", {"Retry-After": "59"}), OK, retry_for=58)

    with pytest.raises(MageTransportError):
        session.get("pipelines")

    assert clock.sleeps == []


@pytest.mark.parametrize("retry_for", [0.0, 5.0, 60.0])
def test_retries_end_in_time(scripted, clock, retry_for):
    started = clock.now
    session = scripted(broken(), retry_for=retry_for)

    with pytest.raises(MageTransportError):
        session.get("pipelines")

    assert retry_for - RetryPolicy.longest_pause - FIRST_PAUSE <= clock.now - started <= retry_for


def test_attempts_that_take_long_count_too(scripted, clock):
    session = scripted(requests.ReadTimeout(), retry_for=60)
    send = session.wire.send

    def slow(request, **options):
        clock.now += 25
        return send(request, **options)

    session.wire.send = slow

    with pytest.raises(MageTransportError):
        session.get("pipelines")

    assert len(session.wire.requests) == 3


@given(
    retry_for=st.floats(0, 300),
    asked=st.lists(st.none() | st.floats(0, 400), min_size=1),
    took=st.floats(0, 40),
)
def test_no_attempt_begins_too_late_and_no_pause_is_too_short(retry_for, asked, took):
    begun, sleeps, now = [], [], [0.0]

    class OwnClock:
        time = monotonic = staticmethod(lambda: now[0])

        @staticmethod
        def sleep(seconds):
            sleeps.append(seconds)
            now[0] += seconds

    def fail():
        begun.append(now[0])
        now[0] += took
        raise MageTransportError("no", temporary=True, retry_after=asked[(len(begun) - 1) % len(asked)])

    with pytest.raises(MageTransportError):
        call_with_retries(fail, RetryPolicy(retry_for), is_repeatable=True, clock=OwnClock)

    assert begun[0] == 0.0
    assert max(begun) <= retry_for
    for number, slept in enumerate(sleeps):
        wanted = asked[number % len(asked)] or 0.0
        assert max(FIRST_PAUSE, wanted) <= slept <= max(RetryPolicy.longest_pause + FIRST_PAUSE, wanted)


def test_retry_is_announced_without_the_query(scripted, caplog):
    caplog.set_level("INFO")
    scripted(broken(), OK).get("pipelines", key="hidden")

    assert "The connection broke before a whole answer came" in caplog.text
    assert "The request was GET http://mage.test/api/pipelines. Trying again" in caplog.text
    assert re.search(r"Trying again in (0\.\d|1\.0) s", caplog.text)
    assert "hidden" not in caplog.text


def test_refused_credentials_are_not_tried_again(mage, session, clock):
    one = session(mage, retry_for=60, credentials=Credentials(mage.email, "wrong"))

    with pytest.raises(MageAuthError):
        one.get("pipelines")

    assert mage.count("POST", r"/sessions$") == 1
    assert clock.sleeps == []


def test_connection_that_breaks_under_a_log_in_delays_even_a_write(mage, session):
    """The write has not been sent yet."""
    schedule = mage.pipeline_schedule("daily_orders")
    mage.inject(faults.RESET_AFTER, match=("POST", r"/sessions$"))

    MageClient(session(mage, retry_for=60)).create_pipeline_run(schedule.id)

    assert mage.count("POST", r"/sessions$") == 2
    assert len(mage.pipeline_runs) == 1


def test_body_that_json_cannot_hold_is_named_and_not_sent(scripted, clock):
    session = scripted(OK)

    with pytest.raises(MageTransportError, match="JSON cannot hold this: check it for NaN") as caught:
        session.post("pipelines", json={"rate": float("nan")})

    assert not caught.value.may_have_arrived
    assert (session.wire.requests, clock.sleeps) == ([], [])


@pytest.mark.parametrize(
    "failure", [refused(), broken(), requests.ReadTimeout(), requests.exceptions.SSLError()]
)
def test_failures_are_told_without_user_and_query(failure):
    error = translate_request_error(failure, "GET", "http://me:pass@mage.test/api?api_key=hidden")

    assert str(error).endswith(" The request was GET http://mage.test/api.")


def test_interrupt_is_not_retried(clock):
    calls = []

    def interrupted():
        calls.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_with_retries(interrupted, RetryPolicy(60), is_repeatable=True, clock=clock)
    assert calls == [1]
