"""Requests and answers, and the shapes in which Mage says no."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fakes.project import SERVER_STACK

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass
class Request:
    """
    One request, as it arrived; tests find them in ``FakeMage.requests``.

    :param path: Without the query, with the base path.
    :param headers: By lower-case name.
    :param fault: The name of the fault that was injected into it.
    :param status: The HTTP status it was answered with; None if there was no answer.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    fault: str | None = None
    status: int | None = None

    @property
    def json(self) -> Any:
        """Its body as JSON; None if that is empty."""
        return json.loads(self.body) if self.body else None

    def first(self, name: str) -> str | None:
        """Return the first value of a query parameter, the one that Mage looks at."""
        return self.query.get(name, [None])[0]


@dataclass
class Answer:
    """
    What goes back.

    :param ending: What becomes of the connection: kept, closed, or reset (as after a crash).
    :param promised: The Content-Length, if it is not the length of the body.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    ending: Literal["keep", "close", "reset"] = "keep"
    promised: int | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any], status: int = 200) -> Answer:
        """Answer with JSON."""
        return cls(status, json.dumps(data).encode())


class ApiError(Exception):
    """What Mage raises as its own ``ApiError``: an ``error`` object, mostly with HTTP status 200."""

    def __init__(
        self, code: int, message: str, type_: str, *, http_status: int = 200, errors: Any = None
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.error: dict[str, Any] = {"code": code, "message": message, "type": type_}
        if errors is not None:
            self.error["errors"] = errors

    def answer(self, *, http_error_codes: bool) -> Answer:
        """Return it as sent: ``status`` repeats the HTTP status, but not those of the middleware."""
        status = self.error["code"] if http_error_codes else 200
        return Answer.of(
            {"error": self.error, "status": status}, status if http_error_codes else self.http_status
        )


def database_error(name: str, text: str, statement: str, parameters: Any) -> UncaughtError:
    """Return an exception of SQLAlchemy's, which quotes the statement and its parameters."""
    cause = type(name, (Exception,), {"__module__": "sqlalchemy.exc"})
    lines = [
        text,
        f"[SQL: {statement}]",
        f"[parameters: {parameters}]",
        "(Background on this error at: https://sqlalche.me/e/21/e3q8)",
    ]
    return UncaughtError(cause("\n".join(lines)))


class UncaughtError(Exception):
    """
    Any other exception on the server: HTTP 200, code 500, and no ``type``.

    ``exception`` is its text, ``message`` the traceback that ends in it, ``errors`` the server's own stack.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause

    def answer(self, url_parameters: Mapping[str, str]) -> Answer:
        """Return it as sent."""
        last_lines = "".join(traceback.format_exception_only(type(self.cause), self.cause))
        message = (
            "Traceback (most recent call last):\n"
            '  File "/srv/mage/lib/python3.11/site-packages/tornado/web.py", line 1790, in _execute\n'
            f"    result = await result\n             ^^^^^^^^^^^^\n{last_lines}"
        )
        error = {"code": 500, "errors": list(SERVER_STACK), "exception": str(self.cause), "message": message}
        return Answer.of({"error": error, "url_parameters": dict(url_parameters)})
