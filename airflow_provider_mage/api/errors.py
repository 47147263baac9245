"""
What can go wrong with Mage.

::

    MageError
    ├── MageTransportError       there was no usable answer
    │   └── MageAnswerError      there was one, and it makes no sense
    ├── MageAPIError             Mage answered, and said no
    │   ├── MageAuthError        to these credentials
    │   └── MageNotFoundError    there is no such thing
    ├── MagePipelineRunFailed    the run is over, and Mage did not say "completed"
    └── StalledError             the run is not over, and nothing goes on in it

Every message is one sentence or two for a person, and holds no secret. All of them pickle, and
:func:`to_dict` and :func:`from_dict` take them through JSON; either way with all that they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.secrets import star

if TYPE_CHECKING:
    from collections.abc import Mapping


class MageError(Exception):
    """
    Anything that is wrong between this package and Mage.

    :param message: What happened and what to do.
    """

    retry_after: float | None = None
    """Seconds that the other side asked to wait, if it did."""

    def __init__(self, message: str) -> None:
        # Much of it may be quoted from an answer.
        super().__init__(star(message))

    @property
    def may_pass(self) -> bool:
        """Whether this is about the way to Mage, or its health, rather than about what was asked for."""
        return False

    @property
    def refused(self) -> bool:
        """Whether Mage refuses the connection's user altogether, and not only this request."""
        return False


class MageTransportError(MageError):
    """
    There was no usable answer: no connection, no time left, or something that is not Mage's API.

    :param message: What happened and what to do.
    :param may_have_arrived: Whether Mage may have acted on the request. False only where that is
        certain: the connection was refused, or was never made.
    :param temporary: Whether the same request may well succeed a little later.
    :param retry_after: Seconds that the other side asked to wait, if it did.
    :param what: What it is about: ``URL``, ``DNS``, ``TLS`` or ``Proxy``.
    """

    def __init__(
        self,
        message: str,
        *,
        may_have_arrived: bool = False,
        temporary: bool = False,
        retry_after: float | None = None,
        what: str = "URL",
    ) -> None:
        super().__init__(message)
        self.what = what
        self.may_have_arrived = may_have_arrived
        self.temporary = temporary
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.temporary


class MageAnswerError(MageTransportError):
    """
    An answer came that makes no sense: too large, not what was asked for, or about something else.

    :param message: What happened and what to do.
    :param is_too_large: Whether it was more than is read, so that asking for less may help.
    :param details: Those of every :class:`MageTransportError`.
    """

    def __init__(self, message: str, *, is_too_large: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.is_too_large = is_too_large


class MageAPIError(MageError):
    """
    Mage answered with an ``error`` object (which it mostly sends with HTTP status 200).

    :param message: What happened and what to do.
    :param code: Mage's own ``error.code``; 500 for most things that do not exist.
    :param type: Mage's own ``error.type``, such as ``record_not_found``; None for code 500.
    :param reason: The text of the exception on the server, or Mage's message, cut to a line.
    :param temporary: Whether something is wrong with the server itself.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        type: str | None = None,  # noqa: A002  # the name that Mage's own error object has for it
        reason: str = "",
        temporary: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.type = type
        self.reason = star(reason)
        self.temporary = temporary

    @property
    def may_pass(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.temporary


class MageAuthError(MageAPIError):
    """
    The API key, the log-in or the role was refused.

    :param message: What happened and what to do.
    :param what: What was refused: ``API key``, ``Credentials`` or ``Permission``.
    :param details: Those of every :class:`MageAPIError`.
    """

    def __init__(self, message: str, *, what: str = "Credentials", **details: Any) -> None:
        super().__init__(message, **details)
        self.what = what

    @property
    def refused(self) -> bool:
        """Whether it was key or log-in, rather than what the role allows."""
        return self.what != "Permission"


class MageNotFoundError(MageAPIError):
    """Mage has no pipeline, pipeline schedule or run of that name or id."""


class MagePipelineRunFailed(MageError):  # noqa: N818  # a public name; says what happened
    """
    A pipeline run is over, and its status is not ``completed``.

    :param message: Pipeline, run, status, failed blocks with their own errors, and the link.
    :param pipeline_run_id: The run.
    :param status: Its status: ``failed`` or ``cancelled``.
    :param failed_blocks: The ``block_uuid`` of each block that failed, in Mage's order.
    :param url: The run's page in Mage.
    :param log_url: The page with the log of the first of these blocks, or of the run; empty if there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        pipeline_run_id: int | None = None,
        status: str = "",
        failed_blocks: tuple[str, ...] = (),
        url: str = "",
        log_url: str = "",
    ) -> None:
        super().__init__(message)
        self.url = url
        self.log_url = log_url
        self.pipeline_run_id = pipeline_run_id
        self.status = status
        self.failed_blocks = failed_blocks


class StalledError(MageError):
    """A run stands still, and is not to be waited for any longer."""


def to_dict(error: Exception) -> dict[str, Any]:
    """Write an error, one of the above or a TimeoutError, in plain JSON: class, message and all fields."""
    return {"error": type(error).__name__, "message": str(error), "fields": dict(vars(error))}


def from_dict(written: Mapping[str, Any]) -> Exception:
    """
    Read what :func:`to_dict` has written. Version 0.1.0 wrote no fields.

    An error of a class that this version does not know is a :class:`MageError`.
    """
    classes: list[type[Exception]] = [MageError, *_subclasses(MageError), TimeoutError]
    known = {one.__name__: one for one in classes}
    error = known.get(str(written["error"]), MageError)(written["message"])
    fields = written.get("fields") or {}
    # JSON has no tuples.
    vars(error).update(
        {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    )
    return error


def _subclasses(cls: type[MageError]) -> list[type[MageError]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *_subclasses(sub))]
