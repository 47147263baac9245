"""
The ways of waiting that are compared, each in a process of its own.

    contenders.py NAME FIRST_RUN_ID COUNT SECONDS [--until-ended]

It prints ``begin`` when it has come to its steady state, and what it saw as JSON so many seconds later, or
before if it need only last until every run has ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import psutil
from airflow_tasks import CONN_ID, HTTP_CONN_ID, connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from typing_extensions import Self

    from mage_server import MageServer

POLL_INTERVAL = float(os.environ.get("BENCH_POLL_INTERVAL", "10"))
WORKERS = 32
"""Threads of the way that blocks one per run; as many as Airflow's default parallelism."""

LAG_EVERY = 0.02
UNTIL_ENDED = "--until-ended"


class Contender:
    """
    One way of waiting in a process of its own, in its steady state when the ``with`` block begins.

    :param name: The way.
    :param run_ids: The runs that are waited for, one id after the other.
    :param seconds: How long, from then on.
    :param env: Environment variables that it needs beside this process's own.
    :param until_ended: Whether it need not go on when every run has ended.
    """

    def __init__(
        self,
        name: str,
        run_ids: range,
        seconds: float,
        env: Mapping[str, str],
        *,
        until_ended: bool = False,
    ) -> None:
        self._name = name
        arguments = [name, str(run_ids[0]), str(len(run_ids)), str(seconds), *[UNTIL_ENDED] * until_ended]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        output = self._process.stdout
        if output is None or "begin\n" not in iter(output.readline, ""):
            raise RuntimeError(f"{self._name} did not begin to wait")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def seen(self) -> dict[str, Any]:
        """Wait for its end, and return what it has seen."""
        output, _ = self._process.communicate()
        seen: dict[str, Any] = json.loads(output)
        return seen


def environment(server: MageServer, poll_interval: float, created_after: float) -> dict[str, str]:
    """
    Return what a contender is told of a server.

    :param server: The server.
    :param poll_interval: Seconds between two looks at a run.
    :param created_after: When the first of the runs was created or before, as in ``time.time()``.
    :return: Environment variables.
    """
    return {
        **connections(server),
        "BENCH_API_KEY": server.api_key,
        "BENCH_TOKEN": server.session_tokens()[0],
        "BENCH_CREATED_AFTER": str(created_after),
        "BENCH_POLL_INTERVAL": str(poll_interval),
    }


async def ours(run_id: int) -> Any:
    """This package's trigger, whose event it returns."""
    from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger

    if str(run_id) in stored_triggers():
        path, arguments = stored_triggers()[str(run_id)]
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**arguments)
    else:
        created_after = float(os.environ["BENCH_CREATED_AFTER"])
        trigger = MagePipelineRunTrigger(CONN_ID, run_id, POLL_INTERVAL, created_after=created_after)
    payload = None
    async for event in trigger.run():
        payload = event.payload
    return payload


@cache
def stored_triggers() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what Airflow stores of the triggers that operators have deferred to, by run, if they have."""
    path = os.environ.get("BENCH_TRIGGERS")
    stored: dict[str, tuple[str, dict[str, Any]]] = json.loads(Path(path).read_text()) if path else {}
    return stored


async def request_per_run(run_id: int) -> None:
    """The usual trigger: a client of its own, asking about its own run at every poll."""
    from airflow_provider_mage.hooks.mage import MageHook

    # The log-in is shared all the same: a thousand of them would keep Mage busy for a quarter of an hour.
    client = await asyncio.to_thread(lambda: MageHook(CONN_ID).client)
    while not (await asyncio.to_thread(client.get_pipeline_run, run_id)).status.is_terminal:  # noqa: ASYNC110
        await asyncio.sleep(POLL_INTERVAL)


async def http_operator(run_id: int) -> None:
    """What the HTTP provider's operator defers to, once per poll, as it ends at the first answer."""
    from airflow.providers.http.triggers.http import HttpResponseSerializer, HttpTrigger

    while True:
        trigger = HttpTrigger(
            HTTP_CONN_ID, method="GET", endpoint=f"api/pipeline_runs/{run_id}", headers=http_headers()
        )
        async for event in trigger.run():
            if event.payload["status"] != "success":
                continue
            response = HttpResponseSerializer.deserialize(event.payload["response"])
            if is_completed(response.json()):
                return
        await asyncio.sleep(POLL_INTERVAL)


def http_sensor(run_id: int) -> bool:
    """Poke the HTTP provider's sensor once."""
    from airflow.providers.http.sensors.http import HttpSensor

    sensor = HttpSensor(
        task_id=f"wait_{run_id}",
        http_conn_id=HTTP_CONN_ID,
        endpoint=f"api/pipeline_runs/{run_id}",
        headers=http_headers(),
        response_check=lambda response: is_completed(response.json()),
    )
    return bool(sensor.poke({}))


def http_headers() -> dict[str, str]:
    """Key and token, which somebody else has got and keeps fresh."""
    return {"X-API-KEY": os.environ["BENCH_API_KEY"], "OAUTH-TOKEN": os.environ["BENCH_TOKEN"]}


def is_completed(answer: dict[str, Any]) -> bool:
    """Read a run's detail as a DAG author would."""
    return bool(answer["pipeline_run"]["status"] == "completed")


MODULES = (
    "airflow.providers.http.sensors.http",
    "airflow.providers.http.triggers.http",
    "airflow_provider_mage.hooks.mage",
    "airflow_provider_mage.triggers.pipeline",
)
"""Imported first, by whichever way, so that no time to import is measured, and memory compares."""

IN_TRIGGERER = {"ours": ours, "request_per_run": request_per_run, "http_operator": http_operator}
IN_WORKERS = {"http_sensor": http_sensor}


class Waiting:
    """
    One way of waiting, watched.

    :param run_ids: The runs that are waited for.
    :param seconds: How long, from the steady state on.
    :param warm_up: Seconds until that is reached.
    :param until_ended: Whether an event loop need not go on when every run has ended.
    """

    def __init__(self, run_ids: range, seconds: float, warm_up: float, *, until_ended: bool = False) -> None:
        self.run_ids = run_ids
        self.seconds = seconds
        self.warm_up = warm_up
        self.until_ended = until_ended
        self.events: dict[int, Any] = {}
        self.ended: dict[int, float] = {}
        self.lags: list[float] = []
        self._cpu = 0.0
        # Airflow logs to stdout, which nobody reads until all is over.
        self._parent = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    async def in_triggerer(self, wait: Callable[[int], Awaitable[Any]]) -> None:
        """Let one event loop wait for all runs, and measure how late it is to wake up meanwhile."""

        async def one(run_id: int) -> None:
            event = await wait(run_id)
            self.ended[run_id] = time.time()
            self.events[run_id] = event

        async def lag() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(LAG_EVERY)
                self.lags.append(time.perf_counter() - before - LAG_EVERY)

        tasks = [asyncio.create_task(one(run_id)) for run_id in self.run_ids]
        await asyncio.sleep(self.warm_up)
        self._begin()
        watch = asyncio.create_task(lag())
        if self.until_ended:
            await asyncio.wait(tasks, timeout=self.seconds)
        else:
            await asyncio.sleep(self.seconds)
        for task in [*tasks, watch]:
            task.cancel()
        self._print()
        await asyncio.gather(*tasks, watch, return_exceptions=True)

    def in_workers(self, poke: Callable[[int], bool]) -> None:
        """Poke for every run at every interval, as workers would."""
        end = time.monotonic() + self.warm_up + self.seconds

        def one(run_id: int) -> None:
            if time.monotonic() < end and poke(run_id):
                self.ended[run_id] = time.time()

        Timer(self.warm_up, self._begin).start()
        with ThreadPoolExecutor(WORKERS) as pool:
            while time.monotonic() < end:
                next_round = time.monotonic() + POLL_INTERVAL
                list(pool.map(one, [run_id for run_id in self.run_ids if run_id not in self.ended]))
                time.sleep(max(0.0, min(next_round, end) - time.monotonic()))
        self._print()

    def _begin(self) -> None:
        self._cpu = time.process_time()
        print("begin", file=self._parent, flush=True)

    def _print(self) -> None:
        seen = {
            "ended": self.ended,
            "events": self.events,
            "lags": self.lags,
            "cpu": time.process_time() - self._cpu,
            "memory": psutil.Process().memory_info().rss,
        }
        print(json.dumps(seen), file=self._parent, flush=True)


def main() -> None:
    """Wait as asked."""
    name, first, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    run_ids = range(first, first + count)
    for module in MODULES:
        importlib.import_module(module)
    if name in IN_WORKERS:
        Waiting(run_ids, seconds, POLL_INTERVAL).in_workers(IN_WORKERS[name])
    else:
        # Ours looks often at first, and comes to its poll interval after the sixth look.
        warm_up = POLL_INTERVAL * (2.3 if name == "ours" else 1)
        waiting = Waiting(run_ids, seconds, warm_up, until_ended=UNTIL_ENDED in sys.argv)
        asyncio.run(waiting.in_triggerer(IN_TRIGGERER[name]))


if __name__ == "__main__":
    main()
