"""An answer may come slowly, may be endless, or packed: it is read within limits, or not at all."""

import gzip
import json
import re
import subprocess
import sys
import threading
import time
import zlib
from itertools import chain, repeat

import pytest
import requests

from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.errors import MageAnswerError, MageTransportError
from airflow_provider_mage.api.session import MageSession
from fakes.raw import RawServer, message

BODY = json.dumps({"statuses": [{"scheduler_status": "running"}]}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def drip(server, *beginning, drop=b" "):
    """Send the beginning, and then a byte at a time, each well within any limit on the time between two."""
    yield from beginning
    while not server[0].is_over.wait(0.05):
        yield drop


SLOW = {
    "status line": lambda server: drip(server, b"HTTP/1.1 200 O", drop=b"K"),
    "header": lambda server: drip(server, HEAD + b"X-Drip: ", drop=b"x"),
    "headers": lambda server: drip(server, HEAD, drop=b"X: 1\r\n"),
    "body": lambda server: drip(server, HEAD + b"Content-Length: 100000\r\n\r\n"),
    "body without an end": lambda server: drip(server, HEAD + b"\r\n"),
    "chunk": lambda server: drip(server, CHUNKED + b"100000\r\n"),
    "chunks": lambda server: drip(server, CHUNKED, drop=b"1\r\n \r\n"),
    "size of a chunk": lambda server: drip(server, CHUNKED, drop=b"1"),
    "trailers": lambda server: drip(server, CHUNKED + b"0\r\n", drop=b"X: 1\r\n"),
    "to be continued": lambda server: drip(server, drop=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "error page": lambda server: drip(server, b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>"),
    "redirect": lambda server: drip(server, b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"),
}


@pytest.fixture
def serving(request):
    """Serve an answer made of pieces, which may want to know whether the server is still there."""
    servers = []

    def serve(answer, **options):
        own = []
        server = RawServer(lambda _: answer(own), **options)
        own.append(server)
        servers.append(server.__enter__())
        return server

    yield serve
    for server in servers:
        server.__exit__(None, None, None)


def session_of(server, **options):
    return MageSession(f"{server.url}/api", retry_for=0.0, **{"timeout": 1.0, **options})


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_a_request_ends_in_time_however_slowly_its_answer_comes(serving, answer):
    session = session_of(serving(answer))

    with pytest.raises(MageTransportError) as caught:
        session.get("status")

    # The latter on a machine that is busy for the whole second.
    assert re.search("^No whole answer came within 1 s|No answer came in time", str(caught.value))
    assert caught.value.temporary
    assert caught.value.may_have_arrived


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_a_log_in_ends_in_time_too(serving, answer):
    server = serving(answer)
    auth = MageAuth(f"{server.url}/api", Credentials("a", "secret-4711"), timeout=1.0)

    with pytest.raises(MageTransportError) as caught:
        session_of(server, auth=auth).get("status")

    assert "/sessions" in str(caught.value)
    assert not caught.value.may_have_arrived


def test_no_answer_at_all_is_called_so(serving):
    def silence(server):
        server[0].is_over.wait()
        yield b""

    with pytest.raises(MageTransportError, match="No answer came in time"):
        session_of(serving(silence)).get("status")


FLOOD = bytes(2**20)
ENDLESS = {
    "body": lambda _: chain([HEAD + b"\r\n"], repeat(FLOOD)),
    "promised": lambda _: chain([HEAD + b"Content-Length: 99999999999\r\n\r\n"], repeat(FLOOD)),
    "chunks": lambda _: chain([CHUNKED], repeat(b"100000\r\n" + FLOOD + b"\r\n")),
    "error page": lambda _: chain([b"HTTP/1.1 500 Oh\r\n\r\n"], repeat(FLOOD)),
    "bomb": lambda _: [message(gzip.compress(bytes(300 * 2**20)), Content_Encoding="gzip")],
}


# http.client and urllib3 have limits of their own for these, depending on their versions.
ENDLESS_LINES = {
    "header": lambda _: chain([b"HTTP/1.1 200 OK\r\nX: "], repeat(b"y" * 2**20)),
    "headers": lambda _: chain([HEAD], repeat(b"X: 1\r\n" * 10_000)),
    "to be continued": lambda _: repeat(b"HTTP/1.1 100 Go\r\n\r\n" * 10_000),
    "size of a chunk": lambda _: chain([CHUNKED], repeat(b"1" * 2**20)),
    "extension of a chunk": lambda _: chain([CHUNKED + b"1;"], repeat(FLOOD)),
    "trailer": lambda _: chain([CHUNKED + b"0\r\n"], repeat(b"x" * 2**20)),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(serving, answer):
    with pytest.raises(MageAnswerError, match=r"^The answer is larger than 32 MiB; ask for less") as caught:
        session_of(serving(answer), timeout=60.0).get("status")

    assert caught.value.may_have_arrived
    assert not caught.value.temporary


@pytest.mark.parametrize("answer", ENDLESS_LINES.values(), ids=ENDLESS_LINES)
def test_what_is_no_body_has_limits_too(serving, answer):
    with pytest.raises(MageTransportError):
        session_of(serving(answer), timeout=60.0).get("status")


MEASURE = """
import resource, sys
from airflow_provider_mage.api import MageSession, MageTransportError
session = MageSession(sys.argv[1] + "/api", retry_for=0, timeout=60)
try:
    session.get("status")
except MageTransportError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(server):
    """Return the most MiB that a process has needed that asks a server once."""
    command = [sys.executable, "-c", MEASURE, server.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own
    return int(done.stdout) / 1024


@pytest.mark.parametrize("what", ["body", "chunks", "size of a chunk", "bomb"])
def test_what_is_too_large_costs_no_more_memory_than_is_said(serving, what):
    usual = peak(serving(lambda _: [message(BODY)]))

    assert peak(serving({**ENDLESS, **ENDLESS_LINES}[what])) - usual < 100


@pytest.mark.parametrize("pack", [gzip.compress, lambda body: body], ids=["gzip", "plain"])
def test_a_packed_answer_is_unpacked(serving, pack):
    encoding = {"Content_Encoding": "gzip"} if pack is gzip.compress else {}
    server = serving(lambda _: [message(pack(BODY), **encoding)])

    assert session_of(server).get("status") == json.loads(BODY)


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "x" * 500])
def test_an_encoding_that_was_not_asked_for_is_not_tried(serving, encoding):
    server = serving(lambda _: [message(zlib.compress(BODY), Content_Encoding=encoding)])

    with pytest.raises(MageAnswerError, match="which was not asked for; check the proxy"):
        session_of(server).get("status")


def test_connections_are_used_again(serving):
    server = serving(lambda _: [message(BODY)], keep_alive=True)
    session = session_of(server)

    for _ in range(3):
        session.get("status")

    assert (server.connections, len(server.requests)) == (1, 3)


def test_time_since_a_request_is_none_of_the_next(serving, monkeypatch):
    server = serving(lambda _: [message(BODY)], keep_alive=True)
    session = session_of(server, timeout=60.0)

    for _ in range(3):
        monkeypatch.setattr(time, "monotonic", lambda clock=time.monotonic: clock() + 3600)
        assert session.get("status")

    assert server.connections == 1


def test_requests_at_the_same_time_have_limits_of_their_own(serving):
    slow, quick = serving(SLOW["body"]), serving(lambda _: [message(BODY)])
    outcomes = []

    def hang():
        with pytest.raises(MageTransportError):
            session_of(slow).get("status")
        outcomes.append("slow")

    thread = threading.Thread(target=hang)
    thread.start()
    assert session_of(quick).get("status")
    thread.join(60)

    assert outcomes == ["slow"]


def test_limits_hold_by_way_of_a_proxy(serving, monkeypatch):
    proxy = serving(SLOW["body"])
    monkeypatch.setenv("http_proxy", proxy.url)
    session = MageSession("http://mage.test/api", retry_for=0.0, timeout=1.0)

    with pytest.raises(MageTransportError, match=r"No whole answer came|No answer came in time"):
        session.get("status")

    assert proxy.requests == ["GET http://mage.test/api/status HTTP/1.1"]


def test_who_has_the_session_of_requests_has_the_limits_and_its_errors(serving):
    http = session_of(serving(SLOW["body"])).http

    with pytest.raises(requests.RequestException, match=r"No whole answer came|timed out"):
        http.get(f"{serving(SLOW['body']).url}/")
