"""Which failure of the way to Mage an exception of ``requests`` stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

from airflow_provider_mage.api.answer import public_url
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.proxies import proxy_of, refusal_in
from airflow_provider_mage.api.secrets import star

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_mage.api.proxies import Proxy

# What a proxy that refuses a tunnel may mean by "later".
_BUSY_PROXY = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROXY_WANTS_LOG_IN = 407
# RFC 1035
LONGEST_HOST = 253


class FailedRequest(Exception):  # noqa: N818  what happened, not what is wrong
    """What ``requests`` has raised, by its text alone: the exception holds headers, proxy and address."""


def is_address(url: str) -> bool:
    """Whether a request to a URL can be made, as ``requests`` and the look-up of names have it."""
    try:
        prepared = requests.Request("GET", url).prepare()
        host = urlsplit(str(prepared.url)).hostname or ""
        host.encode("idna")
    except ValueError:  # of the base of all that they raise
        return False
    return not re.search(r"[\s\\%<>\"{}|^`]", host) and len(host) <= LONGEST_HOST


def translate_request_error(error: requests.RequestException, method: str, url: str) -> MageTransportError:
    """
    Say in Mage's terms what a ``requests`` exception means, and whether the request may have arrived.

    Its ``__cause__`` is set, and holds no secret. So it has to be raised outside of the ``except`` that has
    caught the exception, which would be its ``__context__`` else.
    """
    try:
        translated = _translate(error, f"{method} {public_url(url)}", proxy_of(url))
    except MageTransportError as unusable:  # the proxy: what is wrong with it, and not what was made of it
        return MageTransportError(str(unusable))
    text = re.sub(r"(?<=url: )\S+", lambda url: public_url(url[0]), str(error))
    translated.__cause__ = FailedRequest(star(f"{type(error).__name__}: {text}"))
    return translated


def _translate(error: requests.RequestException, where: str, proxy: Proxy | None) -> MageTransportError:
    causes = list(_causes(error))
    if proxy is not None:
        failure = _failure_of_proxy(causes, where, proxy)
        if failure is not None:
            return failure
    if isinstance(error, requests.exceptions.SSLError):
        return MageTransportError(
            f"{where}: the server's TLS certificate was not accepted; set `verify_ssl` in the connection's "
            "extra to the path of your CA bundle, or check that the server speaks https at all."
        )
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return MageTransportError(f"{where}: JSON cannot hold this; check it for NaN and infinity.")
    if isinstance(error, ValueError):  # its classes for requests that cannot be made
        return MageTransportError(f"{where}: this is not a usable address; check the connection's host.")
    never_left = _was_never_connected(causes)
    if isinstance(error, requests.Timeout):
        what = "no connection was made in time" if never_left else "no answer came in time"
    elif never_left:
        what = "no connection could be made"
    else:
        what = "the connection broke before a whole answer came"
    through = f", and so is {proxy}; {proxy.way_around}" if proxy else ""
    return MageTransportError(
        f"{where}: {what}; check that Mage is up and that the connection's host and port are right{through}.",
        may_have_arrived=not never_left,
        temporary=True,
    )


def _failure_of_proxy(causes: list[BaseException], where: str, proxy: Proxy) -> MageTransportError | None:
    """Say what the proxy is to blame for; None if it is not the proxy, or that is not certain."""
    status = next((status for status in map(refusal_in, causes) if status is not None), None)
    if status is not None:
        return _proxy_refusal(where, proxy, status)
    if any(isinstance(cause, ProxyError) for cause in causes) and any(
        isinstance(cause, SSLError) for cause in causes
    ):
        return MageTransportError(
            f"{where}: no TLS connection to {proxy} could be made; check that it speaks TLS (most are to be "
            f"given as http://), and that its certificate is in your CA bundle; {proxy.way_around}."
        )
    if not _was_never_connected(causes):
        return None
    return MageTransportError(
        f"{where}: {proxy} cannot be reached; check its address and that it is up; {proxy.way_around}.",
        temporary=True,
    )


def _proxy_refusal(where: str, proxy: Proxy, status: int) -> MageTransportError:
    if status == _PROXY_WANTS_LOG_IN:
        advice = "wants a log-in (HTTP 407): write user and password into its address"
    elif status in _BUSY_PROXY:
        advice = f"could not connect to Mage (HTTP {status}): see whether it can reach that host and port"
    else:
        advice = f"refuses to connect to Mage (HTTP {status}): see its rules"
    return MageTransportError(
        f"{where}: {proxy} {advice}; {proxy.way_around}.", temporary=status in _BUSY_PROXY
    )


def _was_never_connected(causes: list[BaseException]) -> bool:
    """Whether no connection was made, so that nothing can have been sent."""
    never = (NewConnectionError, ConnectTimeoutError, requests.ConnectTimeout)
    return any(isinstance(cause, never) for cause in causes)


def _causes(error: object) -> Iterator[BaseException]:
    """Yield an exception and those that ``requests`` and ``urllib3`` have wrapped in it, outermost first."""
    seen = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "reason", None) or getattr(error, "original_error", None)
        if not isinstance(wrapped, BaseException):
            wrapped = next((one for one in error.args if isinstance(one, BaseException)), None)
        error = wrapped
