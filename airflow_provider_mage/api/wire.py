"""
Requests with limits: whatever the other side sends, or does not send, one request ends in time and in memory.

``requests`` limits the time between two bytes only, and the size of an answer not at all.
"""

from __future__ import annotations

import io
import time
from contextvars import ContextVar
from functools import lru_cache
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from airflow_provider_mage.api.address import public_url
from airflow_provider_mage.api.errors import MageAnswerError, MageError, MageTransportError
from airflow_provider_mage.api.foreign_text import excerpt
from airflow_provider_mage.api.proxies import proxy_of
from airflow_provider_mage.api.secrets import star
from airflow_provider_mage.api.transport import FailedRequest, translate_request_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_Read = TypeVar("_Read")

LARGEST_ANSWER = 32 * 2**20
"""Bytes of a body, also after it is unpacked. A page of 100 runs with ordinary variables has some 100 KB."""

# Bytes of an answer that are no body: http.client takes a hundred headers of up to 64 KiB.
_HEADERS = 7 * 2**20

# Bytes to unpack at once: gzip makes at most a thousand times as many of them.
_PART = 16 * 2**10


class UnusableAnswer(requests.RequestException):
    """
    An answer that is beyond the limits, or that is packed in another way than was asked for.

    :param sentence: What is wrong, and what to do.
    :param is_late: Whether it took too long, so that another one may well be better.
    :param is_too_large: Whether it was too large, so that less may well be read.
    """

    def __init__(self, sentence: str, *, is_late: bool = False, is_too_large: bool = False) -> None:
        super().__init__(sentence)
        self.is_late = is_late
        self.is_too_large = is_too_large


class Http(requests.Session):
    """
    A ``requests`` session that holds to the limits, and that takes key and token to no other host.

    :param timeout: Seconds for a request as a whole, unless it has its own limit.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        # Other encodings unpack to far more than a thousand times their size.
        self.headers["Accept-Encoding"] = "gzip"
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def request(  # type: ignore[override]  # passes on what it does not name
        self, method: str, url: str, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request; parameters as in ``requests``."""
        options.setdefault("timeout", self._timeout)
        # Else requests prefers REQUESTS_CA_BUNDLE to a session that does not verify.
        options.setdefault("verify", self.verify)
        return super().request(method, url, *args, **options)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Take everything that authenticates off a request that is redirected to another host."""
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):
            for name in ("Authorization", "X-API-KEY", "OAUTH-TOKEN", "Cookie"):
                prepared_request.headers.pop(name, None)


def guard(method: str, url: str, ask: Callable[[], _Read]) -> _Read:
    """
    Make a request by calling ``ask``, and turn whatever goes wrong into a :class:`MageError`.

    :param method: The HTTP method, for the error.
    :param url: The URL, for the error, and to find the proxy.
    :param ask: Sends the request, and reads the answer.
    :return: What ``ask`` returns.
    :raises MageError: That names the request, and holds no secret, nor does its cause.
    """
    failure: MageError
    proxy_of(url)  # raises if what the environment says of it is no use
    try:
        return ask()
    except MageError:
        raise
    except UnusableAnswer as error:
        text = f"{error} The request was {method} {public_url(url)}."
        if error.is_late:
            failure = MageTransportError(text, may_have_arrived=True, temporary=True)
        else:
            failure = MageAnswerError(text, may_have_arrived=True, is_too_large=error.is_too_large)
    except requests.RequestException as error:
        failure = translate_request_error(error, method, url)
    except Exception as error:  # noqa: BLE001  of everything that there is
        # An answer may hold anything, and http.client, urllib3, requests and the codecs each have ways of
        # their own to stumble over it. Nearly all of them do so when the request has been sent.
        failure = MageAnswerError(
            f"The answer makes no sense ({type(error).__name__}); check what stands between this host and "
            f"Mage. The request was {method} {public_url(url)}.",
            may_have_arrived=True,
        )
        failure.__cause__ = FailedRequest(star(f"{type(error).__name__}: {excerpt(str(error))}"))
    # Not in the `except`: what it has caught holds key and token.
    raise failure


class _Budget:
    """
    What one answer may still take.

    :param seconds: The time for all of it; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._bytes = 0
        self.exceeded: UnusableAnswer | None = None

    def time_left(self) -> float | None:
        """Return seconds, more than 0; None if there is no limit."""
        if self._ends_at is None:
            return None
        left = self._ends_at - time.monotonic()
        if left <= 0:
            self.out_of_time()
        return left

    def take(self, count: int) -> None:
        """Take note of bytes that were read."""
        self._bytes += count
        if self._bytes > LARGEST_ANSWER + _HEADERS:
            self.out_of_space()

    def out_of_time(self) -> NoReturn:
        """Give up, as :meth:`out_of_space` does, unless nothing came at all: urllib3 has a word for that."""
        if self._bytes:
            self._give_up(
                f"No whole answer came within {self._seconds:g} s, although some of it did; check the way to "
                "Mage, or give the connection a longer `timeout`.",
                is_late=True,
            )
        raise TimeoutError("timed out")

    def out_of_space(self) -> NoReturn:
        """Give up with an error that http.client and urllib3 know how to handle, as it is a socket's."""
        self._give_up(
            f"The answer is larger than {LARGEST_ANSWER // 2**20} MiB; ask for less at once, and check that "
            "this is Mage.",
            is_too_large=True,
        )

    def _give_up(self, sentence: str, **why: bool) -> NoReturn:
        self.exceeded = UnusableAnswer(sentence, **why)
        raise OSError(sentence)


# http.client and urllib3 make the objects that read an answer; this is how these learn of its budget.
_budget: ContextVar[_Budget | None] = ContextVar("_budget", default=None)


class _Adapter(HTTPAdapter):
    """Reads an answer whole, within the limits, before anybody looks at it."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _limit(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return _limit(super().proxy_manager_for(proxy, **options))

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        budget = _Budget(_seconds(options.get("timeout")))
        token = _budget.set(budget)
        response = None
        try:
            response = super().send(request, *args, **{**options, "stream": True})
            response._content = bytes(_read(response, budget))  # noqa: SLF001  as `content` does it
        except Exception as error:
            if response is not None:
                response.close()
            if budget.exceeded is None:
                raise
            raise budget.exceeded from error
        finally:
            _budget.reset(token)
        return response


def _seconds(timeout: Any) -> float | None:
    """Return the time that ``requests`` was given for connecting and for the answer together."""
    parts = timeout if isinstance(timeout, tuple) else (timeout,)
    return None if None in parts else float(sum(parts))


def _read(response: requests.Response, budget: _Budget) -> bytearray:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise UnusableAnswer(
            f"The answer is in the encoding {encoding[:40]!r}, which was not asked for; check the proxy in "
            "front of Mage."
        )
    body = bytearray()
    for part in response.iter_content(_PART):
        body += part
        if len(body) > LARGEST_ANSWER:
            budget.out_of_space()
    return body


class _LimitedResponse(HTTPResponse):
    """Reads an answer within its budget, status line and headers included."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        budget = _budget.get()
        limited: Any = sock if budget is None else _LimitedSocket(sock, budget)
        super().__init__(limited, *args, **options)


class _LimitedSocket:
    """As much of a socket as http.client reads an answer with."""

    def __init__(self, sock: Any, budget: _Budget) -> None:
        self._sock = sock
        self._budget = budget

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._sock, mode, self._budget))


class _LimitedReader(io.RawIOBase):
    """Reads a socket, and waits each time no longer than the whole answer may still take."""

    def __init__(self, sock: Any, mode: str, budget: _Budget) -> None:
        self._sock = sock
        self._raw = sock.makefile(mode, buffering=0)
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._budget.time_left()
        if left is not None:
            self._sock.settimeout(left)
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            self._budget.out_of_time()
        self._budget.take(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _limit(manager: Any) -> Any:
    """Have a pool manager, of a proxy or not, make connections whose answers are limited."""
    manager.pool_classes_by_scheme = {
        scheme: _limited(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


@lru_cache
def _limited(pool: Any) -> Any:
    if issubclass(pool.ConnectionCls.response_class, _LimitedResponse):
        return pool
    connection = type(
        pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": _LimitedResponse}
    )
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})
