"""A proxy between the provider and a Mage, real or fake, that does to requests what networks do to them."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from fakes.faults import (
    CLOSE_BEFORE,
    EMPTY_BODY,
    RESET_AFTER,
    RESET_BEFORE,
    TRUNCATED_BODY,
    TRUNCATED_JSON,
    Fault,
    http_error,
    late_answer,
    late_request,
)
from fakes.messages import HTML, Answer, Request
from fakes.server import FakeServer

if TYPE_CHECKING:
    from collections.abc import Sequence

DUPLICATE = Fault("delivered twice", is_processed=True)
"""Mage gets the request twice, and the client the first answer, as from a proxy that repeats requests."""

OUTAGE = Fault("outage", is_processed=False, wait_before=10.0)
"""The request is lost, every connection breaks, and for a moment no new one is accepted."""

OUTAGE_SECONDS = 0.4
UPSTREAM_TIMEOUT = 120.0
PER_HOP = {"connection", "content-length", "host"}
"""Headers that are made anew on the way to Mage, by lower-case name."""


def single_faults(timeout: float) -> list[Fault]:
    """
    Everything that can happen to one request and leave the others alone.

    :param timeout: How long the client waits for an answer; what is late is later than that.
    """
    return [
        CLOSE_BEFORE,
        RESET_BEFORE,
        RESET_AFTER,
        late_request(1.5 * timeout),
        late_answer(1.5 * timeout),
        http_error(502),
        http_error(503),
        http_error(504, is_processed=True),
        TRUNCATED_BODY,
        TRUNCATED_JSON,
        EMPTY_BODY,
        DUPLICATE,
    ]


class Forwarder:
    """
    Passes requests on, each over a connection of its own.

    :param upstream: The URL of the server behind the proxy.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc

    def handle(self, request: Request) -> Answer:
        """Pass a request on; if nobody is there, answer as proxies do."""
        target = f"{request.path}?{urlencode(request.query, doseq=True)}" if request.query else request.path
        headers = {name: value for name, value in request.headers.items() if name not in PER_HOP}
        connection = http.client.HTTPConnection(self.upstream, timeout=UPSTREAM_TIMEOUT)
        try:
            connection.request(request.method, target, request.body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers.get("Content-Type", HTML))
        except (OSError, http.client.HTTPException):
            return Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", HTML)
        finally:
            connection.close()


class FaultyProxy(FakeServer):
    """
    Passes requests on for as long as its ``with`` block, but for those that are given a fault.

    :param upstream: The URL of the Mage behind it.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(Forwarder(upstream))
        self._random_faults: Sequence[Fault] = ()
        self._dice = random.Random()  # noqa: S311  chance, not a secret
        self._outages: list[threading.Thread] = []

    @property
    def faults(self) -> Counter[str]:
        """How often each fault has happened."""
        return Counter(request.fault for request in list(self.requests) if request.fault)

    def disturb_every_second(self, faults: Sequence[Fault], seed: int) -> None:
        """From now on, let some random fault happen to every second request, whoever sends it."""
        self._dice.seed(seed)
        self._random_faults = faults

    def calm_down(self) -> None:
        """From now on, pass everything on."""
        self._random_faults = ()
        self.heal()

    def down_for_a_moment(self) -> None:
        """Break every connection and accept no new one for a while; what is on its way to Mage gets there."""
        with self.down():
            time.sleep(OUTAGE_SECONDS)

    def _hang_up(self) -> None:
        for outage in self._outages:
            if outage is not threading.current_thread():
                outage.join()
        super()._hang_up()

    def _fault_for(self, request: Request) -> Fault | None:
        fault = super()._fault_for(request)
        if fault is None and self._random_faults and len(self.requests) % 2 == 0:
            fault = self._dice.choice(self._random_faults)
        if fault is OUTAGE:
            self._outages.append(threading.Thread(target=self.down_for_a_moment))
            self._outages[-1].start()
        return fault

    def _handle(self, request: Request) -> Answer:
        """Unlike its parent, pass on many requests at a time."""
        answer = self._api.handle(request)
        if request.fault == DUPLICATE.name:
            self._api.handle(request)
        return answer
