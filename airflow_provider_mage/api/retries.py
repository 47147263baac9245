"""What may be sent again, for how long, and by which clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import tenacity

from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
_Answer = TypeVar("_Answer")


class Clock(Protocol):
    """The time, as in the module ``time``, which is one."""

    def time(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


@dataclass(frozen=True)
class RetryPolicy:
    """
    For how long, and with which pauses, a request that could not be answered is sent again.

    Which requests may be sent again is not a matter of policy: those that do no harm when they arrive twice,
    and those that certainly did not arrive.

    :param retry_for: Seconds after which no further attempt begins; 0 makes one attempt.
    :param longest_pause: The most seconds between two attempts, unless the server asks for more.
    """

    retry_for: float = 60.0
    longest_pause: float = 20.0


# For whoever asks again anyhow.
ONCE = RetryPolicy(0.0)

# For a task that is being killed: Airflow does not wait for long until it kills it for good.
KILLED = RetryPolicy(10.0)


def call_with_retries(
    send: Callable[[], _Answer], policy: RetryPolicy, *, is_repeatable: bool, clock: Clock
) -> _Answer:
    """
    Call ``send`` until it returns, for as long as that may help and is safe.

    Pauses double, with jitter; none is shorter than what the server asked for in ``Retry-After``. The last
    failure is raised as it was.
    """
    started = clock.monotonic()

    def may_repeat(error: BaseException) -> bool:
        return (
            isinstance(error, MageTransportError)
            and error.temporary
            and (is_repeatable or not error.may_have_arrived)
        )

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, MageTransportError) else None
        return max(min(float(_back_off(state)), policy.longest_pause), asked or 0.0)

    def is_out_of_time(state: tenacity.RetryCallState) -> bool:
        return clock.monotonic() - started + state.upcoming_sleep > policy.retry_for

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_repeat),
        wait=pause,
        stop=is_out_of_time,
        sleep=clock.sleep,
        before_sleep=_log_pause,
        reraise=True,
    )
    try:
        return retrying(send)
    except MageError as error:
        failure = error
    # Without the frames of the libraries below, which would be most of what a person reads.
    raise failure.with_traceback(None)


_back_off: Any = tenacity.wait_exponential(multiplier=FIRST_PAUSE) + tenacity.wait_random(0, FIRST_PAUSE)


def _log_pause(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    # One line for an outage, however long it is.
    level = logging.INFO if state.attempt_number == 1 else logging.DEBUG
    log.log(level, "%s Trying again in %.1f s.", error, state.upcoming_sleep)
