"""What the clients of Mage's APIs share: one conversation, a retry policy and a clock."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_provider_mage.api.address import MAGE_PORT, read_address
from airflow_provider_mage.api.answer import sentence, what_is_odd
from airflow_provider_mage.api.errors import MageAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from airflow_provider_mage.api.answer import Answer
    from airflow_provider_mage.api.retries import Clock, RetryPolicy
    from airflow_provider_mage.api.session import MageSession

log = logging.getLogger(__name__)

_Row = TypeVar("_Row")

PAGE_SIZE = 100

# The part of a page to ask for where the whole of it is too large to be read.
SMALLER_PAGE = 5

# Rows after which a list that says it goes on is not believed any more.
LONGEST_LIST = 100_000


class BaseClient:
    """
    A client of one API.

    :param session: The authenticated conversation with the server.
    """

    api_path: ClassVar[str] = ""
    """Where the API is, below the server's address."""

    def __init__(self, session: MageSession) -> None:
        self.session = session

    @classmethod
    def connect(cls, url: str, login: str | None = None, password: str | None = None, **options: Any) -> Self:
        """
        Make a client without Airflow. It logs in at its first request.

        :param url: The address of the server, as a connection has it: a host name or a URL, with a base path
            if there is one, with or without the API's own path.
        :param login: An e-mail address or a user name; None for a server without authentication.
        :param password: Its password.
        :param options: Anything else that :class:`~airflow_provider_mage.api.session.MageSession` takes, such
            as ``timeout`` or ``verify``.
        :return: The client.
        :raises ValueError: If this is no usable address.
        """
        from airflow_provider_mage.api.auth import Credentials, MageAuth
        from airflow_provider_mage.api.session import MageSession

        try:
            api_url = read_address(url.strip(), default_port=MAGE_PORT, suffix=cls.api_path) + cls.api_path
        except ValueError as error:
            raise ValueError(f"{sentence(str(error))}.") from None
        shared = {name: options[name] for name in ("timeout", "verify") if name in options}
        auth = MageAuth(api_url, Credentials(login, password), **shared)
        return cls(MageSession(api_url, auth=auth, **options))

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Return a client over the same session that repeats requests by another policy."""
        return type(self)(self.session.with_retries(retries))

    @property
    def retries(self) -> RetryPolicy:
        """For how long requests are repeated."""
        return self.session.retries

    @property
    def clock(self) -> Clock:
        """The time by which whoever has this client waits."""
        return self.session.clock

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self.session.timeout

    def is_same_connection(self, other: BaseClient) -> bool:
        """Tell whether another client, made in this process, has the same address, user and settings."""
        return self.session.auth is other.session.auth and self.session.api_url == other.session.api_url

    def _read_list(
        self,
        *path: str | int,
        read: Callable[[Mapping[str, Any]], _Row],
        page_size: int = PAGE_SIZE,
        offset: int = 0,
        must_hold: str | None = None,
        **params: Any,
    ) -> Iterator[_Row]:
        """
        Read a list row by row, and its next page when that is needed; Mage's own limit is 40 rows.

        :param path: Where the list is.
        :param read: Reads a row.
        :param page_size: The most rows to ask for at once.
        :param offset: How many to leave out before.
        :param must_hold: As for :meth:`_rows`.
        :param params: The rest of the query.
        :yield: The rows. One that moves from page to page, as others come and go, may appear twice.
        """
        seen: set[str] = set()
        while True:
            try:
                answer = self.session.get(*path, **params, _limit=page_size, _offset=offset)
            except MageAnswerError as error:
                # Runs carry their variables, and others' may be large.
                if not error.is_too_large or page_size == 1:
                    raise
                page_size = max(1, page_size // SMALLER_PAGE)
                continue
            rows = answer.members(str(path[-1]))
            yield from self._rows(answer, str(path[-1]), read, must_hold=must_hold)
            offset += len(rows)
            metadata, ids = answer.get("metadata"), {_id_of(row) for row in rows}
            # A server that ignores the offset would be asked for the same rows for ever.
            if not isinstance(metadata, dict) or not metadata.get("next") or ids <= seen:
                return
            seen |= ids
            if len(seen) > LONGEST_LIST:
                raise MageAnswerError(
                    f"The list goes on after {LONGEST_LIST} rows; check that the connection's host is a Mage "
                    f"server. The request was {answer.request}."
                )

    def _rows(
        self,
        answer: Answer,
        name: str,
        read: Callable[[Mapping[str, Any]], _Row],
        *,
        must_hold: str | None = None,
    ) -> Iterator[_Row]:
        """
        Read the rows that an answer lists. One that makes no sense is left out, with one warning.

        :param answer: The answer.
        :param name: What it calls them.
        :param read: Reads a row.
        :param must_hold: A text. Who looks for it must not miss it: if a row that makes no sense holds it,
            that is a MageAnswerError.
        :yield: The rows.
        """
        for row in answer.members(name):
            try:
                yield read(row)
            except ValueError as error:
                sentence = f"A row of {name!r} makes no sense: {what_is_odd(error)}."
                if must_hold is not None and must_hold in json.dumps(row):
                    raise MageAnswerError(
                        f"{sentence} It is the one that is looked for. The request was {answer.request}.",
                        may_have_arrived=True,
                        temporary=True,
                    ) from None
                if sentence not in self.session.warnings:
                    self.session.warnings.add(sentence)
                    log.warning("%s It is left out. The request was %s.", sentence, answer.request)


def _id_of(row: Any) -> str:
    return repr(row.get("id", row) if isinstance(row, dict) else row)
