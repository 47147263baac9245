"""What goes wrong between a client and Mage.

Each fault says whether Mage acts on the request before the trouble begins: what a client cannot know is the
point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakes.messages import HTML, Answer, Request, UncaughtError, database_error

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Fault:
    """
    One kind of trouble, for ``FakeMage.inject``.

    :param is_processed: Whether Mage gets the request and acts on it.
    :param change: Makes the answer out of the request and Mage's own answer, which is None if it did not
        get it; None
        leaves it as it is.
    :param wait_before: Seconds that the request is stuck in front of Mage.
    :param wait_after: Seconds that the answer is stuck on its way back.
    """

    name: str
    is_processed: bool
    change: Callable[[Request, Answer | None], Answer] | None = None
    wait_before: float = 0
    wait_after: float = 0


def _instead(answer: Answer) -> Callable[[Request, Answer | None], Answer]:
    return lambda request, mages_own: answer


NO_ANSWER = 0
"""The status of an answer that is not sent."""

CLOSE_BEFORE = Fault("close before", is_processed=False, change=_instead(Answer(NO_ANSWER, ending="close")))
CLOSE_AFTER = Fault("close after", is_processed=True, change=_instead(Answer(NO_ANSWER, ending="close")))
RESET_BEFORE = Fault("reset before", is_processed=False, change=_instead(Answer(NO_ANSWER, ending="reset")))
RESET_AFTER = Fault("reset after", is_processed=True, change=_instead(Answer(NO_ANSWER, ending="reset")))
EMPTY_BODY = Fault("empty body", is_processed=True, change=_instead(Answer(200)))
WEB_PAGE = Fault(
    "web page",
    is_processed=False,
    change=_instead(Answer(200, b"<!DOCTYPE html><title>Welcome</title>", HTML)),
)
LOGIN_REDIRECT = Fault(
    "login redirect",
    is_processed=False,
    change=_instead(Answer(302, b"", HTML, headers={"Location": "/sign-in?next=%2Fapi"})),
)


def _cut(answer: Answer | None) -> tuple[bytes, int]:
    body = answer.body if answer else b""
    return body[: len(body) // 2], len(body)


TRUNCATED_JSON = Fault(
    "truncated JSON", is_processed=True, change=lambda request, answer: Answer(200, _cut(answer)[0])
)
"""A whole HTTP message with half a JSON text in it."""

TRUNCATED_BODY = Fault(
    "truncated body",
    is_processed=True,
    change=lambda request, answer: Answer(200, _cut(answer)[0], ending="close", promised=_cut(answer)[1]),
)
"""Half an HTTP message: the connection closes before the promised length."""


def http_error(status: int, *, is_processed: bool = False, retry_after: float | None = None) -> Fault:
    """Answer with an error page of a proxy's; after Mage has acted on the request, if ``is_processed``."""
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    answer = Answer(status, page.encode(), HTML, headers=headers)
    return Fault(f"HTTP {status}", is_processed=is_processed, change=_instead(answer))


def too_many_requests(retry_after: float = 1) -> Fault:
    """Answer 429, before Mage sees the request."""
    return http_error(429, retry_after=retry_after)


def late_answer(seconds: float) -> Fault:
    """Let Mage act at once, and its answer come late."""
    return Fault("late answer", is_processed=True, wait_after=seconds)


def late_request(seconds: float) -> Fault:
    """Let the request wait in front of Mage's one thread, which acts on it even if nobody waits any more."""
    return Fault("late request", is_processed=True, wait_before=seconds)


def database_locked(*, is_processed: bool = False) -> Fault:
    """
    Answer as Mage does when SQLite stays locked, after 15-45 s of its own attempts.

    The text holds the statement and its parameters: the run's variables, or a session token.
    """
    return _database_error("database locked", "(sqlite3.OperationalError) database is locked", is_processed)


def database_away(*, is_processed: bool = False) -> Fault:
    """Answer as Mage does when PostgreSQL is restarted while it talks to it."""
    text = (
        "(psycopg2.OperationalError) server closed the connection unexpectedly\n"
        "\tThis probably means the server terminated abnormally\n"
        "\tbefore or while processing the request.\n"
    )
    return _database_error("database away", text, is_processed)


def _database_error(name: str, text: str, is_processed: bool) -> Fault:
    def change(request: Request, answer: Answer | None) -> Answer:
        parameters = (request.headers.get("oauth-token"), request.body.decode())
        statement = "INSERT INTO pipeline_run (pipeline_schedule_id, variables) VALUES (?, ?)"
        error = database_error("OperationalError", text, statement, parameters)
        return error.answer({"resource": "pipeline_runs"})

    return Fault(name, is_processed=is_processed, change=change)


def crash(text: str = "list index out of range") -> Fault:
    """Answer as Mage does when something of its own fails: code 500, and the text of the exception."""
    answer = UncaughtError(LookupError(text)).answer({"resource": "pipeline_runs"})
    return Fault("crash", is_processed=False, change=_instead(answer))
