"""
The rules of a wait as a state machine: it has no clock, does not sleep and sends nothing.

Whoever waits tells :meth:`Watch.step` what was seen and what time it is, and is told what to do next
(:mod:`airflow_provider_mage._waiting.drive`). So a wait is the same in a worker and in a triggerer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow_provider_mage.api.errors import MageAnswerError, MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

log = logging.getLogger(__name__)

Seen = TypeVar("Seen")

FIRST_PAUSE = 1.0
PAUSE_GROWTH = 1.5
# Seconds after a limit at which it has surely passed.
JUST_AFTER = 0.01


@dataclass(frozen=True)
class WaitRules:
    """
    For how long to wait; all in seconds.

    :param poll_interval: The longest pause between two looks; the first ones are shorter.
    :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
    :param max_unreachable: How long the server may be out of reach.
    """

    poll_interval: float = 10.0
    deadline: float | None = None
    max_unreachable: float = 600.0

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what a trigger has stored; an option of another version is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})


@dataclass(frozen=True)
class Over(Generic[Seen]):
    """The wait is over, and this has ended it."""

    seen: Seen


@dataclass(frozen=True)
class Wait:
    """
    Nothing to do for now.

    :param look_in: Seconds until the next look, for whoever has to look.
    :param wake_in: Seconds until the next step, even if nothing is seen before; None for never.
    """

    look_in: float
    wake_in: float | None


class Reachable:
    """A sighting: the server answers again, after it had not."""


@dataclass(frozen=True)
class Unreachable:
    """
    A sighting: the server does not answer, as somebody has found out who asks it for others, too.

    :param error: Why.
    :param since: The time (as in ``time.time()``) of its last answer to anybody.
    """

    error: MageError
    since: float


class Watch(Generic[Seen]):
    """
    One wait.

    :param subject: What is waited for, as in "run 7".
    :param rules: For how long.
    """

    server: ClassVar[str] = "Mage"
    first_pause: ClassVar[float] = FIRST_PAUSE
    fate: ClassVar[str] = "may still be going on, and a retry of this task looks for it"
    """What there is to say of the subject when waiting ends because the server cannot be reached."""

    def __init__(self, subject: str, rules: WaitRules) -> None:
        self.subject = subject
        self.rules = rules
        self._state = f"{subject} has not been seen yet"
        self._pause = min(self.first_pause, rules.poll_interval)
        self._look_in = 0.0
        self._is_acting = False
        self._was_seen = False
        self._answered_at: float | None = None
        self._unreachable_since: float | None = None
        self._error: MageError | None = None

    def step(self, sighting: Seen | MageError | Unreachable | Reachable | None, now: float) -> Any:
        """
        Take note of what was seen, and say what to do next.

        :param sighting: What is waited for, as it is now, or why it could not be seen; None if there is
            nothing new, or what was to be done is done.
        :param now: The time, as in ``time.time()``.
        :return: :class:`Over`, :class:`Wait`, or something to be done before the next step.
        :raises TimeoutError: If the deadline has passed.
        :raises MageError: If waiting is of no use: the error will not pass, or has lasted too long.
        """
        # Whoever begins to wait has just had an answer, or begins to wait for one.
        if self._answered_at is None:
            self._answered_at = now
        if isinstance(sighting, MageError):
            self._miss(sighting, self._answered_at, now)
        elif isinstance(sighting, Unreachable):
            self._miss(sighting.error, sighting.since, now)
        elif sighting is not None:
            self._reach(now)
            if not isinstance(sighting, Reachable):
                self._was_seen = True
                self.see(sighting, now)
        # What an action has found is no look: pauses grow from look to look.
        if sighting is not None and not self._is_acting:
            self._look_in, self._pause = (
                max(self._pause, getattr(getattr(sighting, "error", sighting), "retry_after", None) or 0.0),
                min(self._pause * PAUSE_GROWTH, self.rules.poll_interval),
            )
        action = self.next_step(now)
        self._is_acting = action is not None
        return action or self._wait(now)

    def see(self, seen: Seen, now: float) -> None:
        """Take note of what is waited for, as it is now."""
        raise NotImplementedError

    def next_step(self, now: float) -> Any:
        """Return what is to be done before anything else; None if there is nothing."""
        raise NotImplementedError

    def next_duty(self) -> float | None:
        """Return the time at which there will be something to do even if nothing is seen; None for never."""
        return None

    def found_again(self, now: float) -> None:
        """Take note that the server answers, after it had not."""

    def _miss(self, error: MageError, answered_at: float, now: float) -> None:
        # No answer, or one that makes no sense, says nothing of what is waited for. If there never was a
        # better one, though, the connection may lead elsewhere.
        if not (error.may_pass or (self._was_seen and isinstance(error, MageTransportError))):
            raise error
        self._error = error
        # One line for an outage, however often it is looked.
        if self._unreachable_since is None:
            # However rare the looks are, one that fails is not the last.
            self._unreachable_since = max(answered_at, now - self.rules.max_unreachable / 2)
            log.warning(
                "%s %s; the state of %s is unknown. Retrying. %s",
                _trouble(error),
                self.server,
                self.subject,
                error,
            )

    def _reach(self, now: float) -> None:
        self._answered_at = now
        if self._unreachable_since is not None:
            log.info("%s can be reached again.", self.server)
            self._unreachable_since = None
            self.found_again(now)

    def _wait(self, now: float) -> Wait:
        self._check_limits(now)
        given_up_at = (
            None if self._unreachable_since is None else self._unreachable_since + self.rules.max_unreachable
        )
        moments = [
            moment for moment in (self.rules.deadline, given_up_at, self.next_duty()) if moment is not None
        ]
        # A pause that a server asks for, or that has grown, outlasts no limit.
        wake_in = max(0.0, min(moments) - now) + JUST_AFTER if moments else None
        look_in = self._look_in if wake_in is None else min(self._look_in, wake_in)
        return Wait(look_in, wake_in)

    def _check_limits(self, now: float) -> None:
        since = self._unreachable_since
        if since is not None and now - since >= self.rules.max_unreachable:
            raise MageTransportError(
                f"{_trouble(self._error)} {self.server} since {_format(since)}; {self.subject} {self.fate}. "
                f"Last seen: {self._state}. {self._error}",
                may_have_arrived=True,
            ) from self._error
        if self.rules.deadline is not None and now > self.rules.deadline:
            raise TimeoutError(f"Timed out: {self._state}.")


def _trouble(error: MageError | None) -> str:
    return "No usable answer from" if isinstance(error, MageAnswerError) else "Cannot reach"


def _format(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
