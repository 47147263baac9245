"""Answers that are no JSON, no HTTP, or nothing at all: those that are kept, and others at random."""

from __future__ import annotations

import base64
import encodings.aliases
import gzip
import json
import random
import time
from pathlib import Path

import pytest
from oddities import complaint

from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.session import MageSession
from fakes.raw import RawServer, message

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.http"))

RUN = json.dumps({"pipeline_run": {"id": 7, "status": "running", "block_runs": [], "variables": {"a": "ü"}}})
DEEP = b"[" * 100_000


def answers():
    """Return well-formed and odd answers, from which the others are made."""
    good = RUN.encode()
    yield message(good)
    yield message(gzip.compress(good), Content_Encoding="gzip")
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good)
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    yield message(b'{"error": {"code": 500, "exception": "no", "errors": ["a"]}}')
    yield message(b"<html>", "502 Bad Gateway", Retry_After="5")
    yield message(b"", "302 Found", Location="/sign-in")
    yield message(b"", "401 Unauthorized", Set_Cookie="a=b; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT")
    yield message(b"", "204 No Content")
    yield message(DEEP)
    yield message(b'{"pipeline_run": ' + DEEP + b"}")
    yield message(b'{"pipeline_run": {"id": ' + b"9" * 5000 + b"}}")
    for location in ("http://[x/", "/\xff", "http://x:99999/", "//", "http://a@b@c/", "\t", "x" * 70_000):
        yield message(b"", "302 Found", Location=location)
    for charset in {*encodings.aliases.aliases.values(), "idna", "none", "\xff", ""}:
        yield message(good, Content_Type=f"application/json; charset={charset}")
        yield message(b"\xff\xfe<html>", "500 Oh", Content_Type=f"text/html; charset={charset}")
    for path in CORPUS:
        yield path.read_bytes()


ANSWERS = list(answers())


@pytest.fixture
def ask():
    """Have a client and a log-in meet an answer, and return what is wrong with how they take it."""
    current = [b""]
    server = RawServer(lambda _: [current[0]])

    def ask(answer):
        current[0] = answer
        session = MageSession(f"{server.url}/api", retry_for=0.0, timeout=10.0)
        auth = MageAuth(f"{server.url}/api", Credentials("login", "password"), timeout=10.0)
        try:
            return complaint(lambda: MageClient(session).get_pipeline_run(7)) or complaint(auth.headers)
        finally:
            session.http.close()

    with server:
        yield ask


def test_kept_answers(ask):
    complaints = {answer[:200]: found for answer in ANSWERS if (found := ask(answer))}

    assert not complaints


def test_answers_made_at_random(ask, fuzz_seconds, fuzz_seed, record_property):
    chance, count, ends_at = random.Random(fuzz_seed), 0, time.monotonic() + fuzz_seconds  # noqa: S311
    while time.monotonic() < ends_at:
        answer = spoil(chance.choice(ANSWERS), chance)
        count += 1
        found = ask(answer)
        assert not found, f"seed {fuzz_seed}: {found}; to be kept: {base64.b64encode(answer).decode()}"

    record_property("tried", f"{count} answers, seed {fuzz_seed}")
    assert count


def spoil(answer, chance):
    """Return an answer with some of its bytes gone, doubled, changed, or where they do not belong."""
    spoiled = bytearray(answer)
    for _ in range(chance.randint(1, 4)):
        # Near the beginning, where the status line and the headers are, more often than not.
        reach = min(len(spoiled), chance.choice((40, 200, len(spoiled) or 1)))
        start = chance.randint(0, reach)
        end = min(len(spoiled), start + chance.choice((1, 1, 2, 8, 50)))
        piece = chance.choice(
            (
                b"",
                chance.randbytes(chance.randint(1, 9)),
                bytes(spoiled[start:end]) * chance.choice((2, 100)),
                chance.choice(
                    (b"\r\n", b"\0", b":", b"\xff", b"\n\n", b"-1", b"9" * 30, b"chunked", b"{", b"\\ud800")
                ),
            )
        )
        spoiled[start:end] = piece
    return bytes(spoiled)
