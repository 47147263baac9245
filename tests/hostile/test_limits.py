"""Answers without an end where they would hurt most: in a triggerer, and behind the Test button."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from functools import partial
from itertools import chain, repeat

import pytest

from airflow_provider_mage._runs.poller import RunPoller, Watcher
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.models import PipelineRun
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.triggers.threads import threads_of
from fakes.raw import RawServer, message

HEAD = b"HTTP/1.1 200 OK\r\n"
BOMB = message(gzip.compress(bytes(300 * 2**20)), Content_Encoding="gzip")


def drip(is_over):
    yield HEAD + b"Content-Length: 100000\r\n\r\n"
    while not is_over.wait(0.1):
        yield b" "


ENDLESS = {
    "drip": drip,
    "flood": lambda _: chain([HEAD + b"\r\n"], repeat(bytes(2**20))),
    "bomb": lambda _: [BOMB],
    "headers": lambda _: chain([HEAD], repeat(b"X: 1\r\n" * 10_000)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_who_waits_beside_it_hears_of_its_run(kind):
    date = "2026-01-01 00:00:00"
    ended = [{"id": number, "status": "completed", "completed_at": date} for number in (2, 3, 4)]

    def answer(line):
        if "/pipeline_runs/1 " in line:
            return ENDLESS[kind](server.is_over)
        found = re.search(r"/pipeline_runs/(\d+) ", line)
        if found:
            return [message(json.dumps({"pipeline_run": ended[int(found[1]) - 2]}).encode())]
        return [message(json.dumps({"pipeline_runs": ended, "metadata": {"next": False}}).encode())]

    async def hear_of(poller, run_id):
        async with poller.watch(Watcher(run_id, 10.0)) as sightings:
            return await sightings.get()

    async def scenario(client):
        with threads_of("hostile") as call:
            poller = RunPoller(partial(call, Connected(lambda: client).ask))
            return await asyncio.gather(*(hear_of(poller, run_id) for run_id in (1, 2, 3, 4)))

    with RawServer(answer) as server:
        session = MageSession(f"{server.url}/api", retry_for=0.0, timeout=1.0)
        odd, *sound = asyncio.run(asyncio.wait_for(scenario(MageClient(session)), 120))
        session.http.close()

    assert isinstance(getattr(odd, "error", odd), MageTransportError)
    assert [run.id for run in sound if isinstance(run, PipelineRun)] == [2, 3, 4]


@pytest.mark.parametrize("kind", ENDLESS)
def test_the_test_button_says_what_is_wrong(kind, monkeypatch):
    with RawServer(lambda _: ENDLESS[kind](server.is_over)) as server:
        user = {"login": "login", "password": "password"}
        connection = {"conn_type": "mage", "host": server.url, "extra": {"timeout": 1}, **user}
        monkeypatch.setenv("AIRFLOW_CONN_ENDLESS", json.dumps(connection))

        is_well, text = MageHook("endless").test_connection()

    assert not is_well
    assert server.url in text
