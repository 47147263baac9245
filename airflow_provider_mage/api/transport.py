"""What stands between us and an answer: which failure an exception is, and what may be sent again."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import requests
import tenacity
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from airflow_provider_mage.api.answer import public_url
from airflow_provider_mage.api.errors import MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 20.0
SHORT_PAUSE = 1.0
_Answer = TypeVar("_Answer")


class Clock(Protocol):
    """The time, as in the module ``time``, which is one."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


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


def call_with_retries(
    send: Callable[[], _Answer],
    *,
    is_repeatable: bool,
    retry_for: float,
    clock: Clock,
    longest_pause: float = LONGEST_PAUSE,
) -> _Answer:
    """
    Call ``send`` until it returns, for as long as that may help and is safe.

    A failure is retried if it is temporary, and if either the request does no harm when it arrives twice or
    it certainly has not arrived. Pauses double, with jitter; none is shorter than what the server asked for
    in ``Retry-After``.

    :param send: Makes one request and judges its answer.
    :param is_repeatable: Whether Mage may get the request twice.
    :param retry_for: Seconds after which no further attempt begins; 0 makes one attempt.
    :param clock: The time.
    :param longest_pause: The most seconds between two attempts, unless the server asks for more.
    :return: What it returned.
    :raises MageTransportError: The last failure.
    """
    started = clock.monotonic()

    def may_repeat(error: BaseException) -> bool:
        return (
            isinstance(error, MageTransportError)
            and error.temporary
            and (is_repeatable or not error.may_have_arrived)
        )

    def is_out_of_time(state: tenacity.RetryCallState) -> bool:
        return clock.monotonic() - started + state.upcoming_sleep > retry_for

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_repeat),
        wait=partial(_pause, longest=longest_pause),
        stop=is_out_of_time,
        sleep=clock.sleep,
        before_sleep=_log_pause,
        reraise=True,
    )
    return retrying(send)


_back_off: Any = tenacity.wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE) + tenacity.wait_random(
    0, FIRST_PAUSE
)


def _pause(state: tenacity.RetryCallState, longest: float) -> float:
    asked = getattr(state.outcome.exception() if state.outcome else None, "retry_after", None)
    return max(min(float(_back_off(state)), longest), asked or 0.0)


def _log_pause(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.info("%s Trying again in %.1f s.", error, state.upcoming_sleep)
