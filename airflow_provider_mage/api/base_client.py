"""What the clients of Mage's APIs share: one conversation, a retry policy and a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mage.api.answer import members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from airflow_provider_mage.api.retries import Clock, RetryPolicy
    from airflow_provider_mage.api.session import MageSession

PAGE_SIZE = 100


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

        :param url: The address of the server, with its base path if it has one.
        :param login: An e-mail address or a user name; None for a server without authentication.
        :param password: Its password.
        :param options: Anything else that :class:`~airflow_provider_mage.api.session.MageSession` takes, such
            as ``timeout`` or ``verify``.
        :return: The client.
        """
        from airflow_provider_mage.api.auth import Credentials, MageAuth
        from airflow_provider_mage.api.session import MageSession

        api_url = url.rstrip("/") + cls.api_path
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
        """Seconds that one request waits for a connection, and for each part of an answer."""
        return self.session.timeout

    def is_same_connection(self, other: BaseClient) -> bool:
        """Tell whether another client, made in this process, has the same address, user and settings."""
        return self.session.auth is other.session.auth and self.session.api_url == other.session.api_url

    def _read_list(
        self, *path: str | int, page_size: int = PAGE_SIZE, offset: int = 0, **params: Any
    ) -> Iterator[dict[str, Any]]:
        """Read a list row by row, and its next page when that is needed; Mage's own limit is 40 rows."""
        while True:
            answer = self.session.get(*path, **params, _limit=page_size, _offset=offset)
            rows = members(answer, str(path[-1]))
            yield from rows
            offset += len(rows)
            if not rows or not (answer.get("metadata") or {}).get("next"):
                return
