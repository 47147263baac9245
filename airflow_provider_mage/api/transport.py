"""Which failure of the way to Mage an exception of ``requests`` stands for."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from airflow_provider_mage.api.address import public_url
from airflow_provider_mage.api.answer import sentence
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.foreign_text import excerpt
from airflow_provider_mage.api.proxies import proxy_of, refusal_in
from airflow_provider_mage.api.secrets import star

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_mage.api.proxies import Proxy

# What a proxy that refuses a tunnel may mean by "later".
_BUSY_PROXY = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROXY_WANTS_LOG_IN = 407
# What OpenSSL makes of a server that speaks http; it depends on its version.
_SPEAKS_HTTP = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL|HTTP_REQUEST")


class FailedRequest(Exception):  # noqa: N818  what happened, not what is wrong
    """What ``requests`` has raised, by its text alone: the exception holds headers, proxy and address."""


def speaks_tls(url: str, timeout: float) -> bool:
    """Whether a TLS connection can be made to a URL's host and port, within some seconds."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 80), timeout) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname),
        ):
            return True
    except (OSError, ValueError):
        return False


def translate_request_error(error: requests.RequestException, method: str, url: str) -> MageTransportError:
    """
    Say in Mage's terms what a ``requests`` exception means, and whether the request may have arrived.

    Its ``__cause__`` is set, and holds no secret. So it has to be raised outside of the ``except`` that has
    caught the exception, which would be its ``__context__`` else.
    """
    try:
        translated = _translate(error, f"{method} {public_url(url)}", proxy_of(url))
    except MageTransportError as unusable:  # the proxy: what is wrong with it, and not what was made of it
        return MageTransportError(str(unusable), what=unusable.what)
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
        return _failure_of_tls(str(error), where)
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return MageTransportError(
            f"JSON cannot hold this: check it for NaN and infinity. The request was {where}."
        )
    if isinstance(error, ValueError):  # its classes for requests that cannot be made
        return MageTransportError(
            f"This is not a usable address: check the connection's host. The request was {where}."
        )
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return MageTransportError(
            "No address was found for the host's name: check the connection's host, and that this machine "
            f"can look names up. The request was {where}.",
            temporary=True,
            what="DNS",
        )
    never_left = _was_never_connected(causes)
    if isinstance(error, requests.Timeout):
        what = "No connection was made in time" if never_left else "No answer came in time"
    elif never_left:
        what = "No connection could be made"
    else:
        what = "The connection broke before a whole answer came"
    through = f", and so is {proxy}; {proxy.way_around}" if proxy else ""
    return MageTransportError(
        f"{what}: check that Mage is up and that the connection's host and port are right{through}. The "
        f"request was {where}.",
        may_have_arrived=not never_left,
        temporary=True,
    )


def _failure_of_tls(text: str, where: str) -> MageTransportError:
    if _SPEAKS_HTTP.search(text):
        message = (
            "The host speaks http, not https, on this port: set the connection's scheme to http, or check "
            "its port."
        )
    elif "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        message = (
            f"The server's TLS certificate was not accepted ({excerpt(why) or 'no reason given'}): set CA "
            "bundle (`ca_bundle`) in the connection to the certificate authority that has signed it, and "
            "check that the host's name is the one that it is for."
        )
    else:
        message = (
            "No TLS connection could be made: check the connection's host and port, and the TLS versions "
            "that the server has."
        )
    return MageTransportError(f"{message} The request was {where}.", what="TLS")


def _failure_of_proxy(causes: list[BaseException], where: str, proxy: Proxy) -> MageTransportError | None:
    """Say what the proxy is to blame for; None if it is not the proxy, or that is not certain."""
    status = next((status for status in map(refusal_in, causes) if status is not None), None)
    if status is not None:
        return _proxy_refusal(where, proxy, status)
    if any(isinstance(cause, ProxyError) for cause in causes) and any(
        isinstance(cause, SSLError) for cause in causes
    ):
        return MageTransportError(
            f"No TLS connection to {proxy} could be made: check that it speaks TLS (most are to be given as "
            f"http://), and that its certificate is in your CA bundle; {proxy.way_around}. The request was "
            f"{where}.",
            what="Proxy",
        )
    if not _was_never_connected(causes):
        return None
    return MageTransportError(
        f"{sentence(str(proxy))} cannot be reached: check its address and that it is up; {proxy.way_around}. "
        f"The request was {where}.",
        temporary=True,
        what="Proxy",
    )


def _proxy_refusal(where: str, proxy: Proxy, status: int) -> MageTransportError:
    if status == _PROXY_WANTS_LOG_IN:
        advice = "wants a log-in (HTTP 407): write user and password into its address"
    elif status in _BUSY_PROXY:
        advice = f"could not connect to Mage (HTTP {status}): see whether it can reach that host and port"
    else:
        advice = f"refuses to connect to Mage (HTTP {status}): see its rules"
    return MageTransportError(
        f"{sentence(str(proxy))} {advice}; {proxy.way_around}. The request was {where}.",
        temporary=status in _BUSY_PROXY,
        what="Proxy",
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
