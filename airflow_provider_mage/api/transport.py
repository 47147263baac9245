"""Which failure of the way to Mage an exception of ``requests`` stands for."""

from __future__ import annotations

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from airflow_provider_mage.api.answer import public_url
from airflow_provider_mage.api.errors import MageTransportError


def translate_request_error(error: requests.RequestException, method: str, url: str) -> MageTransportError:
    """Say in Mage's terms what a ``requests`` exception means, and whether the request may have arrived."""
    error.request = None  # It holds key and token, and the exception becomes the cause of ours.
    where = f"{method} {public_url(url)}"
    if isinstance(error, requests.exceptions.SSLError):
        return MageTransportError(
            f"{where}: the server's TLS certificate was not accepted; set `verify_ssl` in the connection's "
            "extra to the path of your CA bundle, or check that the server speaks https at all."
        )
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return MageTransportError(f"{where}: JSON cannot hold this; check it for NaN and infinity.")
    if isinstance(error, ValueError):  # its classes for requests that cannot be made
        return MageTransportError(f"{where}: this is not a usable address; check the connection's host.")
    never_left = isinstance(error, requests.ConnectTimeout) or _was_never_connected(error)
    if isinstance(error, requests.Timeout):
        what = "no connection was made in time" if never_left else "no answer came in time"
    elif never_left:
        what = "no connection could be made"
    else:
        what = "the connection broke before a whole answer came"
    return MageTransportError(
        f"{where}: {what}; check that Mage is up and that the connection's host and port are right.",
        may_have_arrived=not never_left,
        temporary=True,
    )


def _was_never_connected(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been sent."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))
