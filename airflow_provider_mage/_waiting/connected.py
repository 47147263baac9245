"""A client that follows its Airflow connection: a person may correct host or password while tasks wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_mage.api.errors import MageError, MageTransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage.api.base_client import BaseClient

    Client = TypeVar("Client", bound=BaseClient)
else:
    Client = TypeVar("Client")

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class Connected(Generic[Client]):
    """
    Asks a server, and reads the connection again before it says that the server is lost.

    :param connect: Reads the connection and makes a client, which should not repeat requests itself.
    :param client: Such a client, if there is one already.
    """

    def __init__(self, connect: Callable[[], Client], client: Client | None = None) -> None:
        self._connect = connect
        self._client = client

    def ask(self, question: Callable[[Client], Answer]) -> Answer:
        """
        Ask the server something that does no harm if it is asked twice.

        What that raises is raised only if the connection is still the one that it was.
        """
        # Several threads may come here at once; at worst, the connection is read once more than needed.
        client = self._client = self._client or self._connect()
        try:
            return question(client)
        except MageError as error:
            if not (isinstance(error, MageTransportError) or error.refused):
                raise
            current = self._read_again()
            if current is None or current.is_same_connection(client):
                raise
            log.info("The Airflow connection has changed: using it as it is now.")
            self._client = current
            return question(current)

    def _read_again(self) -> Client | None:
        try:
            return self._connect()
        except Exception as error:  # noqa: BLE001  whatever it is, it says nothing about what is waited for
            log.warning("Cannot read the Airflow connection: using it as it was. %s", error)
            return None
