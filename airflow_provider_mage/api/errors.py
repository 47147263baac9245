"""
What can go wrong with Mage.

::

    MageError
    ├── MageTransportError       there was no usable answer
    ├── MageAPIError             Mage answered, and said no
    │   ├── MageAuthError        to these credentials
    │   └── MageNotFoundError    there is no such thing
    └── MagePipelineRunFailed    the run is over, and Mage did not say "completed"

Every message is one sentence or two for a person, and holds no secret. All of them pickle.
"""

from __future__ import annotations

from http import HTTPStatus


class MageError(Exception):
    """Anything that is wrong between this package and Mage."""

    @property
    def may_pass(self) -> bool:
        """Whether this is about the way to Mage, or its health, rather than about what was asked for."""
        return False


class MageTransportError(MageError):
    """
    There was no usable answer: no connection, no time left, or something that is not Mage's API.

    :param message: What happened and what to do.
    :param may_have_arrived: Whether Mage may have acted on the request. False only where that is
        certain: the connection was refused, or was never made.
    :param temporary: Whether the same request may well succeed a little later.
    :param retry_after: Seconds that the other side asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        may_have_arrived: bool = False,
        temporary: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived
        self.temporary = temporary
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.temporary


class MageAPIError(MageError):
    """
    Mage answered with an ``error`` object (which it mostly sends with HTTP status 200).

    :param message: What happened and what to do.
    :param code: Mage's own ``error.code``; 500 for most things that do not exist.
    :param type: Mage's own ``error.type``, such as ``record_not_found``; None for code 500.
    :param reason: The text of the exception on the server, or Mage's message, cut to a line.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        type: str | None = None,  # noqa: A002  # the name that Mage's own error object has for it
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.type = type
        self.reason = reason

    @property
    def may_pass(self) -> bool:
        """Whether something is wrong with the server itself."""
        return self.code == HTTPStatus.INTERNAL_SERVER_ERROR


class MageAuthError(MageAPIError):
    """The API key, the log-in or the role was refused."""


class MageNotFoundError(MageAPIError):
    """Mage has no pipeline, pipeline schedule or run of that name or id."""

    @property
    def may_pass(self) -> bool:
        """Never, although Mage often says so with code 500 (observed)."""
        return False


class MagePipelineRunFailed(MageError):  # noqa: N818  # a public name; says what happened
    """
    A pipeline run is over, and its status is not ``completed``.

    :param message: Pipeline, run, status, failed blocks with their own errors, and the link.
    :param pipeline_run_id: The run.
    :param status: Its status: ``failed`` or ``cancelled``.
    :param failed_blocks: The ``block_uuid`` of each block that failed, in Mage's order.
    """

    def __init__(
        self,
        message: str,
        *,
        pipeline_run_id: int | None = None,
        status: str = "",
        failed_blocks: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.pipeline_run_id = pipeline_run_id
        self.status = status
        self.failed_blocks = failed_blocks
