"""Real HTTP on loopback for the fakes: what arrives is kept, and what goes wrong can be chosen."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from fakes.faults import NO_ANSWER
from fakes.messages import Answer, Request
from isolation import LOOPBACK, PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from fakes.faults import Fault


class Handler(Protocol):
    """What a server answers."""

    def handle(self, request: Request) -> Answer:
        """Answer a request, and do what it asks for."""


@dataclass
class _Trap:
    """A fault that waits for its requests."""

    fault: Fault
    method: str | None
    path: re.Pattern[str]
    skip: int
    times: int | None


class FakeServer:
    """
    A server for as long as its ``with`` block, of whatever API.

    :param api: What it answers; called by one thread at a time.
    """

    def __init__(self, api: Handler) -> None:
        self.requests: list[Request] = []
        """Every request that arrived, the oldest first."""
        self._api = api
        self._traps: list[_Trap] = []
        self._lock = threading.RLock()
        self._server: _Server | None = None
        self._port = 0
        self._crashes: list[str] = []

    # The server

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()
        if self._crashes and error is None:
            raise AssertionError(f"{type(self).__name__} itself failed:\n" + "\n".join(self._crashes))

    @property
    def root(self) -> str:
        """Where it is, without any path."""
        return f"http://{LOOPBACK}:{self._port}"

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse every connection and lose those there are; it comes back on the same port."""
        self._hang_up()
        try:
            yield
        finally:
            self._listen()

    # What was asked

    def count(self, method: str | None = None, path: str = "") -> int:
        """Count the requests of a method (None: of any) in whose path a regular expression is found."""
        return len(self.requests_of(method, path))

    def requests_of(self, method: str | None = None, path: str = "") -> list[Request]:
        """Return the requests of a method (None: of any) in whose path a regular expression is found."""
        return [
            request
            for request in list(self.requests)
            if method in (None, request.method) and re.search(path, request.path)
        ]

    # What goes wrong

    def inject(
        self,
        fault: Fault,
        times: int | None = 1,
        match: tuple[str | None, str] = (None, ""),
        *,
        skip: int = 0,
    ) -> None:
        """
        Let a fault happen to the next matching requests.

        Of several faults, the one injected first is used up first.

        :param times: To how many; None: to all that follow.
        :param match: Their method (None: any), and a regular expression that is found in their path.
        :param skip: How many matching requests pass unharmed before.
        """
        with self._lock:
            self._traps.append(_Trap(fault, match[0], re.compile(match[1]), skip, times))

    def heal(self) -> None:
        """Forget all faults that have not happened yet."""
        with self._lock:
            self._traps.clear()

    def _fault_for(self, request: Request) -> Fault | None:
        for trap in self._traps:
            if trap.method not in (None, request.method) or not trap.path.search(request.path):
                continue
            if trap.skip:
                trap.skip -= 1
                continue
            if trap.times is not None:
                trap.times -= 1
                if trap.times == 0:
                    self._traps.remove(trap)
            return trap.fault
        return None

    def answer(self, request: Request, until: threading.Event) -> Answer:
        """
        Answer one request, with whatever fault is due.

        :param until: Set when the server goes down: nothing waits any longer.
        """
        with self._lock:
            self.requests.append(request)
            fault = self._fault_for(request)
        if fault is None:
            answer = self._handle(request)
        else:
            request.fault = fault.name
            until.wait(fault.wait_before)
            own = self._handle(request) if fault.is_processed else None
            until.wait(fault.wait_after)
            answer = fault.change(request, own) if fault.change else own or Answer(NO_ANSWER, ending="close")
        request.status = answer.status or None
        return answer

    def _handle(self, request: Request) -> Answer:
        try:
            with self._lock:
                return self._api.handle(request)
        except Exception:
            self._crashes.append(traceback.format_exc())
            raise

    def _listen(self) -> None:
        while self._server is None:
            # Any that Linux would choose might be an outgoing connection's while this server is down.
            port = self._port or random.choice(PORTS)  # noqa: S311  chance, not a secret
            try:
                self._server = _Server((LOOPBACK, port), self)
            except OSError:
                if self._port:
                    raise
        self._port = port
        self._server.start()

    def _hang_up(self) -> None:
        server, self._server = self._server, None
        if server:
            server.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them, and no test leaves a thread or a socket behind
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        super().__init__(address, _Handler)
        self.fake = fake
        self.is_down = threading.Event()
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, name=type(fake).__name__
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.is_down.set()
        self.shutdown()
        self._thread.join()
        self.socket.close()
        with self._connections_lock:
            for connection in self._connections:
                _shut_down(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are none of a test's business, and the fake keeps crashes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server
    connection: socket.socket

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=url.path,
            query=parse_qs(url.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )
        answer = self.server.fake.answer(request, self.server.is_down)
        if answer.status:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            length = len(answer.body) if answer.promised is None else answer.promised
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        if answer.ending != "keep":
            self.close_connection = True
        if answer.ending == "reset":
            self._reset()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _respond  # noqa: N815  the base class's names

    def _reset(self) -> None:
        """Close so that the client gets a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def version_string(self) -> str:
        return "TornadoServer/6.4.2"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Keep quiet."""


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it was gone already
        connection.shutdown(socket.SHUT_RDWR)
