"""A server of raw bytes: for answers that no HTTP library would send."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from isolation import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self


class RawServer:
    """
    A server for as long as its ``with`` block.

    :param answer: Makes the pieces to send out of a request's first line; the connection is closed after the
        last one, unless ``keep_alive``.
    :param keep_alive: Whether the connection stays open for more requests.
    """

    def __init__(self, answer: Callable[[str], Iterable[bytes]], *, keep_alive: bool = False) -> None:
        self.requests: list[str] = []
        """The first line of every request."""
        self.connections = 0
        self._answer = answer
        self._keep_alive = keep_alive
        self.is_over = threading.Event()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        # A thread that waits in `accept` is not woken by `close`.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as lines:
            while first := lines.readline():
                self.requests.append(first.decode("latin-1").strip())
                length = 0
                while (line := lines.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                lines.read(length)
                for piece in self._answer(self.requests[-1]):
                    connection.sendall(piece)
                    if self.is_over.is_set():
                        return
                if not self._keep_alive:
                    return


def message(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Write a whole answer; ``_`` in a header's name stands for ``-``."""
    fields = {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
