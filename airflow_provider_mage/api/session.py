"""One authenticated conversation with a Mage API: every request of this package goes through here."""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_mage.api.address import api_root
from airflow_provider_mage.api.answer import read_answer
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.retries import Clock, RetryPolicy, call_with_retries
from airflow_provider_mage.api.wire import Http, guard

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_provider_mage.api.answer import Answer


class MageSession:
    """
    Sends requests to one Mage API and returns what Mage answered, or raises.

    :param api_url: The API's root, such as ``http://localhost:6789/api``; ``http://localhost:6789`` will do.
    :param auth: The user; by default none, for a server with authentication switched off.
    :param verify: TLS verification, as in ``requests``: True, False or the path of a CA bundle.
    :param timeout: Seconds that one request may take, from the connection to the end of the answer.
    :param retry_for: Seconds after which a request that could not be answered is not sent again.
    :param clock: The time; tests have their own.
    """

    def __init__(
        self,
        api_url: str,
        *,
        auth: MageAuth | None = None,
        verify: bool | str = True,
        timeout: float = 30.0,
        retry_for: float = 60.0,
        clock: Clock = time,
    ) -> None:
        self.api_url = api_root(api_url)
        self.auth = auth or MageAuth(self.api_url, Credentials(), verify=verify, timeout=timeout)
        self.http = Http(timeout)
        self.http.auth = self.auth
        self.http.verify = verify
        self.http.headers["Content-Type"] = "application/json"
        self.timeout = timeout
        self.retries = RetryPolicy(retry_for)
        self.clock = clock
        # What was said of odd answers already.
        self.warnings: set[str] = set()

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Return the same conversation, over the same connections, with another retry policy."""
        other = copy(self)
        other.retries = retries
        return other

    def get(self, *path: str | int, **params: Any) -> Answer:
        """Read a resource; parameters and errors as in :meth:`request`."""
        return self.request("GET", *path, params=params, is_repeatable=True)

    def post(self, *path: str | int, json: Any, params: dict[str, Any] | None = None) -> Answer:
        """Create a resource; sent again only if it did not arrive. Parameters as in :meth:`request`."""
        return self.request("POST", *path, json=json, params=params)

    def put(self, *path: str | int, json: Any, is_repeatable: bool = False) -> Answer:
        """Change a resource. Parameters as in :meth:`request`."""
        return self.request("PUT", *path, json=json, is_repeatable=is_repeatable)

    def request(
        self,
        method: str,
        *path: str | int,
        params: dict[str, Any] | None = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
        is_repeatable: bool = False,
    ) -> Answer:
        """
        Send one request, again where that is safe.

        :param method: The HTTP method.
        :param path: The segments after the API's root; each is quoted.
        :param params: The query.
        :param json: The body.
        :param headers: More headers than those of every request.
        :param timeout: Seconds that it may take; by default the session's.
        :param is_repeatable: Whether it does no harm if Mage gets the request twice.
        :return: The answer's JSON object.
        :raises MageTransportError: If there was no usable answer in the time that the policy gives.
        :raises MageAPIError: If Mage said no.
        :raises ValueError: If a segment of the path would not be one.
        """
        url = "/".join([self.api_url, *map(_quote, path)])

        def ask() -> Answer:
            response = self.http.request(
                method,
                url,
                params=params,
                json=json,
                headers=headers,
                timeout=timeout or self.timeout,
                allow_redirects=False,
            )
            return read_answer(response, is_logged_in=self.auth.is_logged_in)

        def send() -> Answer:
            return guard(method, url, ask)

        return call_with_retries(send, self.retries, is_repeatable=is_repeatable, clock=self.clock)

    def log_in(self) -> None:
        """
        Log in now rather than at the first request.

        :raises MageError: If that fails, after the same retries as any request.
        """
        call_with_retries(self.auth.headers, self.retries, is_repeatable=True, clock=self.clock)


def _quote(segment: str | int) -> str:
    text = str(segment)
    if text in ("", ".", ".."):  # these would change the path, and quoting them does not help
        raise ValueError(f"{text!r} cannot be the name or id of anything in Mage.")
    return quote(text, safe="")
