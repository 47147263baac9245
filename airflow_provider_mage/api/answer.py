"""
The one place that decides what an answer of Mage means.

Mage sends most of its errors with HTTP status 200 and an ``error`` object; its middleware uses real 401s;
whatever stands in front of it (a proxy, a log-in page, a load balancer) answers with pages of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from airflow_provider_mage.api.address import public_url
from airflow_provider_mage.api.errors import (
    MageAnswerError,
    MageAPIError,
    MageAuthError,
    MageError,
    MageNotFoundError,
    MageTransportError,
)
from airflow_provider_mage.api.foreign_text import excerpt, last_line

if TYPE_CHECKING:
    from requests import Response

    from airflow_provider_mage.api.records import Record

_Record = TypeVar("_Record", bound="Record")

# The most seconds to stay away for, whatever a server or a proxy asks for: one of them may ask for a day.
LONGEST_RETRY_AFTER = 60.0

# HTTP statuses that mean "later", whatever the body says. Mage itself sends none of them.
_BUSY = frozenset({408, 425, 429, 502, 503, 504})
_REFUSED_BEFORE_HANDLING = frozenset({429})
_TOKEN_ERRORS = ("invalid_oauth_token", "expired_oauth_token")
_COOKIE_ERRORS = ("Signature verification failed", "Not enough segments", "Signature has expired")
_DATABASE_TROUBLE = re.compile(
    r"\(sqlite3\.OperationalError\) database is locked"
    r"|\(psycopg2\.(OperationalError|InterfaceError|errors\.AdminShutdown)\)"
)
# What Mage says to whoever is not logged in and would have to be (observed).
_NEEDS_LOG_IN = "invalid scope"
_NO_JSON: Any = object()
_NO_API = "check that the connection's host, port and base path are those of a Mage server"


class Answer(dict[str, Any]):
    """
    The JSON object that Mage answered with.

    :param body: The object.
    :param request: The request, for errors.
    """

    def __init__(self, body: Mapping[str, Any], request: str) -> None:
        super().__init__(body)
        self.request = request

    def member(self, name: str) -> dict[str, Any]:
        """Return the one record of that name, as Mage sends it, or raise a MageAnswerError."""
        record = self.get(name)
        if not isinstance(record, dict):
            raise self._not_mage(name)
        return record

    def inside(self, name: str) -> Answer:
        """Return the one record of that name, to read what is listed in it."""
        return Answer(self.member(name), self.request)

    def members(self, name: str) -> list[Any]:
        """Return what is listed under a name, each of it anything at all, or raise a MageAnswerError."""
        records = self.get(name)
        if not isinstance(records, list):
            raise self._not_mage(name)
        return records

    def one(self, name: str, kind: type[_Record], **known: Any) -> _Record:
        """
        Read the one record of that name.

        :param name: What the answer calls it.
        :param kind: What it is.
        :param known: Fields that are known already, whatever the record says.
        :return: The record.
        :raises MageAnswerError: If there is none, or none that makes sense.
        """
        try:
            return kind.from_api({**self.member(name), **known})
        except ValueError as error:
            odd = what_is_odd(error)
        # Not in the `except`: what it has caught holds the record.
        raise MageAnswerError(
            f"The answer's {name!r} makes no sense: {odd}. Check whether a proxy changes answers, and which "
            f"version Mage is. The request was {self.request}.",
            may_have_arrived=True,
            temporary=True,
        )

    def first(self, name: str, kind: type[_Record]) -> _Record:
        """Read the first record that is listed under a name; parameters and errors as for :meth:`one`."""
        records = self.members(name)
        return Answer({name: records[0] if records else None}, self.request).one(name, kind)

    def _not_mage(self, name: str) -> MageAnswerError:
        return MageAnswerError(
            f"The server answered without {name!r}; check that the connection's host is a Mage server. The "
            f"request was {self.request}.",
            may_have_arrived=True,
        )


def as_object(row: Any) -> dict[str, Any]:
    """Return an object that is wanted as Mage sends it, or raise a ValueError if it is none."""
    if not isinstance(row, dict):
        raise ValueError(f"an object is needed, not {type(row).__name__}")
    return row


def what_is_odd(error: ValueError) -> str:
    """Say which field of a record is wrong, and how, without the record's values."""
    if not isinstance(error, ValidationError):
        return excerpt(str(error))
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return excerpt(f"`{field}`: {first['msg']}" if field else first["msg"])


def read_answer(response: Response, *, is_logged_in: bool = False) -> Answer:
    """
    Judge an answer.

    :param response: The answer, whole.
    :param is_logged_in: Whether the request carried a token, for the advice in an error.
    :return: The JSON object that Mage answered with.
    :raises MageTransportError: If this is no answer of Mage's API.
    :raises MageAPIError: If Mage said no.
    """
    where = describe_request(response)
    status = response.status_code
    if response.is_redirect:
        target = excerpt(public_url(response.headers["Location"]))
        raise MageTransportError(
            f"The server redirects to {target!r}, which Mage's API never does: check the connection's "
            f"scheme, host and base path, and whether a proxy wants a log-in of its own. The "
            f"request was {where}."
        )
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        from airflow_provider_mage.api.proxies import proxy_of  # which needs requests

        # No server answers this. Of http, the proxy sees the request itself.
        proxy = proxy_of(response.url) or "a proxy on the way"
        raise MageTransportError(
            f"{sentence(str(proxy))} wants a log-in (HTTP 407): write user and password into its address; if "
            f"Mage is to be reached without a proxy, add its host to `NO_PROXY`. The request was {where}.",
            what="Proxy",
        )
    if status in _BUSY:
        raise _unusable(
            response,
            f"The server, or a proxy in front of it, is overloaded or being restarted (HTTP {status}): try "
            f"again later. The request was {where}.",
            temporary=True,
        )
    body = _json_of(response)
    if body is _NO_JSON:
        raise _no_json(response, where)
    if not isinstance(body, dict):
        raise _unusable(
            response, f"The server answered JSON that is not an object: {_NO_API}. The request was {where}."
        )
    error = body.get("error")
    if isinstance(error, Mapping) and error:
        raise _api_error(error, where, status, is_logged_in=is_logged_in)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _unusable(
            response,
            f"Mage failed without saying why (HTTP {status}): see the server's log. The request was {where}.",
            temporary=True,
        )
    if error:
        raise _api_error({"message": error}, where, status, is_logged_in=is_logged_in)
    if status >= HTTPStatus.BAD_REQUEST:
        raise _unusable(
            response,
            f"The server refused without saying why (HTTP {status}): {_NO_API}. The request was {where}.",
        )
    return Answer(body, where)


def token_was_refused(response: Response) -> bool:
    """
    Tell whether the log-in behind a request has expired or was revoked, so that a new one may help.

    A raw token is refused with HTTP 401 and a type of its own. A cookie that Mage cannot decode (its secret
    has changed) comes back as HTTP 200 with code 500 and the decoder's text (observed).
    """
    body = _json_of(response)
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return False
    return error.get("type") in _TOKEN_ERRORS or (
        error.get("code") == HTTPStatus.INTERNAL_SERVER_ERROR and error.get("exception") in _COOKIE_ERRORS
    )


def describe_request(response: Response) -> str:
    """Name a request as its method and URL, without query and user."""
    return f"{response.request.method} {public_url(response.url)}"


def sentence(text: str) -> str:
    """Begin a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _json_of(response: Response) -> Any:
    """
    Decode a body, which is UTF-8 whatever its headers say, as JSON is.

    This decoder minds how deep a body nests, and takes no half of a character that nobody could store. Its
    error stays here, as it may quote the body: a log-in's token, say.
    """
    try:
        return from_json(response.content)
    except ValueError:
        return _NO_JSON


def _no_json(response: Response, where: str) -> MageTransportError:
    status, text = response.status_code, response.content[:100].strip()
    is_page = text.startswith(b"<")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        advice, temporary = "see the server's log", True
    elif status >= HTTPStatus.BAD_REQUEST or is_page:
        advice, temporary = _NO_API, False
    else:
        advice, temporary = "the answer was cut short on its way, or this is not Mage", True
    what = "a web page instead of JSON" if is_page else "something that is not whole JSON"
    return _unusable(
        response,
        f"The server answered with {what if text else 'an empty body'} (HTTP {status}): {advice}. The "
        f"request was {where}.",
        temporary=temporary,
    )


def _unusable(response: Response, message: str, *, temporary: bool = False) -> MageTransportError:
    return MageTransportError(
        message,
        may_have_arrived=response.status_code not in _REFUSED_BEFORE_HANDLING,
        temporary=temporary,
        retry_after=_retry_after(response),
    )


def _retry_after(response: Response) -> float | None:
    """Seconds from a ``Retry-After`` header; its rare date form is left to the usual back-off."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_RETRY_AFTER) if value.isascii() and value.isdigit() else None


def _api_error(error: Mapping[str, Any], where: str, status: int, *, is_logged_in: bool) -> MageError:
    code, kind, reason = error.get("code"), error.get("type"), _reason(error)
    if not isinstance(code, int) or isinstance(code, bool):
        code = status if status >= HTTPStatus.BAD_REQUEST else None
    if not isinstance(kind, str) or not kind:
        kind = None
    details: dict[str, Any] = {"code": code, "type": kind, "reason": reason}
    if _DATABASE_TROUBLE.search(reason):
        # SQLite is busy, or PostgreSQL restarts: nothing is wrong with the request, and whether it was stored
        # is open (observed).
        return MageTransportError(
            f"The database behind Mage was busy or away ({reason.rstrip('.')}): try again later. The request "
            f"was {where}.",
            may_have_arrived=True,
            temporary=True,
        )
    what, message = _refusal(kind, code, reason, is_logged_in=is_logged_in)
    if what is not None:
        return MageAuthError(f"{message} The request was {where}.", what=what, **details)
    if kind == "record_not_found" or code == HTTPStatus.NOT_FOUND:
        # Its message is whatever text the server last used, often that of a failed log-in (observed).
        message = "Mage has no such record: check the name or the id."
        return MageNotFoundError(f"{message} The request was {where}.", **details)
    # Often with code 500, which means something else everywhere else (observed). "(": SQLAlchemy, which
    # speaks of a table or a column.
    if "does not exist" in reason and not reason.startswith("("):
        message = f"{sentence(reason.rstrip('.'))}: check the name."
        return MageNotFoundError(f"{message} The request was {where}.", **details)
    message = f"Mage answered with an error (code {code}): {reason.rstrip('.')}."
    is_server = code == HTTPStatus.INTERNAL_SERVER_ERROR
    return MageAPIError(f"{message} The request was {where}.", temporary=is_server, **details)


def _refusal(
    kind: str | None, code: int | None, reason: str, *, is_logged_in: bool
) -> tuple[str | None, str]:
    """Say which part of the credentials Mage has refused, and what to do; None if none of them."""
    if kind == "invalid_api_key":
        return "API key", "Mage refused the API key: set API key (`api_key`) in the connection."
    if kind in _TOKEN_ERRORS:
        return "Credentials", (
            f"Mage refused the session token ({kind}): give the connection a login and a password, or a "
            "fresh OAuth token (`oauth_token`)."
        )
    if code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return None, ""
    if is_logged_in:
        advice = "the role of the connection's user does not allow this, or a setting of the server."
    elif _NEEDS_LOG_IN in reason or code == HTTPStatus.UNAUTHORIZED:
        advice = "the server wants a log-in: give the connection a login and a password."
    else:
        advice = "a setting of the server, such as DISABLE_NOTEBOOK_EDIT_ACCESS, does not allow this."
    what = "Permission" if code == HTTPStatus.FORBIDDEN else "Credentials"
    return what, f"Mage refused access ({reason.rstrip('.')}): {advice}"


def _reason(error: Mapping[str, Any]) -> str:
    """
    Return the text of the exception on the server, on one line.

    ``errors``, and often ``message``, hold the server's own stack. Where its database fails, the text goes on
    with the statement and its values, among which may be a token.
    """
    text = error.get("exception") or error.get("message") or "no reason given"
    if not isinstance(text, str):
        return excerpt(text)
    is_traceback = text.startswith("Traceback (most recent call last)")
    return excerpt((last_line(text) if is_traceback else text).partition("[SQL:")[0]) or "no reason given"
