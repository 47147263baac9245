"""
Who we are to Mage: one log-in, used by every request, renewed once when Mage no longer accepts it.

A log-in blocks a Mage server for about a second (bcrypt on its only thread, observed), so everything in one
process that uses the same credentials shares one :class:`MageAuth`, by way of :func:`shared_auth`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from requests.auth import AuthBase

from airflow_provider_mage.api import secrets
from airflow_provider_mage.api.address import api_root, public_url
from airflow_provider_mage.api.answer import read_answer, token_was_refused
from airflow_provider_mage.api.errors import MageAuthError, MageError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.models import LogIn, User
from airflow_provider_mage.api.records import is_word
from airflow_provider_mage.api.token_cache import TokenCache
from airflow_provider_mage.api.wire import Http, guard

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from airflow_provider_mage.api.answer import Answer

_Read = TypeVar("_Read")

MAGE_API_KEY = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"
"""The public key of every open-source Mage server (API overview, "Examples")."""


@dataclass(frozen=True)
class Credentials:
    """
    What a connection knows of its user.

    :param login: An e-mail address, or a user name.
    :param password: Its password.
    :param api_key: The key that every request carries; it names the client, not the user.
    :param oauth_token: A session token to use instead of logging in: raw, or as ``POST /sessions`` sends it.
    :raises ValueError: If key or token cannot be sent in a header; ``requests`` would quote it in its error.
    """

    login: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str = field(default=MAGE_API_KEY, repr=False)
    oauth_token: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str | None, ...]:
        """What nobody may read. A password that the login shows is none, as that of Mage's first user."""
        is_shown = self.password is not None and self.password in (self.login or "")
        return (None if is_shown else self.password, self.api_key, self.oauth_token)

    def __post_init__(self) -> None:
        for name in ("api_key", "oauth_token"):
            value = getattr(self, name) or ""
            if not is_word(value):
                raise ValueError(
                    f"`{name}` must be one word of ASCII characters: check it for blanks and line ends."
                )


@dataclass(frozen=True)
class Token:
    """
    A session token and the header that carries it.

    ``POST /sessions`` returns a JWT around the token proper. The token proper goes into ``OAUTH-TOKEN``,
    where the server answers its faults cleanly; a token that is no such JWT goes into the cookie as it came
    (API overview, "OAuth token").
    """

    value: str = field(repr=False)
    in_cookie: bool

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request made with this token."""
        return {"Cookie": f"oauth_token={self.value}"} if self.in_cookie else {"OAUTH-TOKEN": self.value}


class MageAuth(AuthBase):
    """
    Authenticates requests, logging in at the first one. Safe to share between threads and sessions.

    :param api_url: The API's root, such as ``http://localhost:6789/api``.
    :param credentials: The user; without login and token, requests carry the API key only.
    :param verify: TLS verification, as in ``requests``: True, False or the path of a CA bundle.
    :param timeout: Seconds that each request of a log-in may take.
    :param use_cookie: Send every token as it came, in the cookie, as the Mage Pro API overview does it.
    :param on_secret: Called with every token as soon as it is known.
    :param shares_on_disk: Whether the processes of this user on this host share one log-in.
    """

    def __init__(
        self,
        api_url: str,
        credentials: Credentials,
        *,
        verify: bool | str = True,
        timeout: float = 30.0,
        use_cookie: bool = False,
        on_secret: Callable[[str], None] | None = None,
        shares_on_disk: bool = False,
    ) -> None:
        self._api_url = api_root(api_url)
        self._credentials = credentials
        self._verify = verify
        self._timeout = timeout
        self._use_cookie = use_cookie
        self._tell_secret = on_secret or (lambda _: None)
        user_in_url = api_url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        for secret in (*credentials.secrets, user_in_url.partition(":")[2]):
            secrets.learn(secret)
        self._cache = self._make_cache() if shares_on_disk and self._can_log_in else None
        self._session_token: str | None = None
        # Reentrant: a task that is killed in the middle of a log-in cancels its run from the signal handler.
        self._lock = threading.RLock()
        self._token: Token | None = None
        # Whether the token, or that none is needed, is known.
        self._is_settled = False
        # What ``POST /sessions`` told of the user; None if the token came from elsewhere.
        self.user: User | None = None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put key and token into a request's headers."""
        request.headers.update(self.headers())
        request.register_hook("response", self._renew_once)
        return request

    @property
    def is_logged_in(self) -> bool:
        """Whether requests carry a user's token."""
        return self._token is not None

    def on_secret(self, secret: str) -> None:
        """Take note of whatever turns out to be a secret; to be called by others, too."""
        secrets.learn(secret)
        self._tell_secret(secret)

    def headers(self) -> dict[str, str]:
        """
        Log in, if that is still to be done.

        :return: The headers that authenticate a request.
        :raises MageAuthError: If Mage refuses the credentials.
        :raises MageTransportError: If Mage cannot be reached.
        """
        with self._lock:
            if not self._is_settled:
                self._token = self._first_token()
                self._is_settled = True
            token = self._token
        return {"X-API-KEY": self._credentials.api_key, **(token.headers if token else {})}

    def _renew_once(self, response: requests.Response, **send_options: Any) -> requests.Response:
        """
        Log in again and send a request again whose token Mage refused.

        Mage checks the token before it looks at the request, so the request has had no effect. A request that
        was redirected to another host has lost its key; that host gets nothing new either.
        """
        if not self._can_log_in or "X-API-KEY" not in response.request.headers:
            return response
        # The token that another process has left on disk may be refused too: then there is a second renewal.
        for _ in range(1 if self._cache is None else 2):
            if not token_was_refused(response):
                break
            response.close()
            self._renew(response.request.headers)
            response = self._send_again(response, send_options)
        return response

    def _send_again(self, response: requests.Response, send_options: dict[str, Any]) -> requests.Response:
        request = response.request.copy()
        for name in ("OAUTH-TOKEN", "Cookie"):
            request.headers.pop(name, None)
        request.headers.update(self.headers())
        again: requests.Response = response.connection.send(request, **send_options)
        again.history.append(response)
        again.request = request
        return again

    def _make_cache(self) -> TokenCache:
        user = (self._api_url, self._credentials.login, self._credentials.api_key, self._use_cookie)
        return TokenCache(repr(user), self._credentials.password or "")

    @property
    def _can_log_in(self) -> bool:
        return bool(self._credentials.login and self._credentials.password)

    def _renew(self, refused_headers: Any) -> None:
        """Replace the refused token, unless another thread has done so meanwhile."""
        with self._lock:
            current = self._token.headers if self._token else {}
            if all(refused_headers.get(name) == value for name, value in current.items()):
                if self._cache is not None and self._session_token is not None:
                    self._cache.drop(self._session_token)
                self._token, self._is_settled = self._log_in(), True

    def _first_token(self) -> Token | None:
        given = self._credentials.oauth_token
        if given:
            self.on_secret(given)
            return self._token_of(given, in_cookie=False)
        return self._log_in() if self._can_log_in else None

    def _log_in(self) -> Token | None:
        """Take over another process's log-in, or make one; None where authentication is switched off."""
        if self._cache is None:
            value = self._create_token()
        else:
            with self._cache.read_or_lock() as stored:
                value = stored or self._create_token()
                if value is not None and value != stored:
                    self._cache.write(value)
        self._session_token = value
        if value is None:
            return None
        self.on_secret(value)
        return self._token_of(value, in_cookie=True)

    def _create_token(self) -> str | None:
        """Trade login and password for a token; None where the server has authentication switched off."""
        login = self._credentials.login or ""
        try:
            session = self._create_session("email" if "@" in login else "username")
        except MageNotFoundError as refusal:
            if not self._requires_log_in():
                return None
            if "@" in login:
                raise self._wrong_credentials(refusal) from refusal
            try:
                # LDAP servers look for the user name in `email` (session resource of mage-ai).
                session = self._create_session("email")
            except MageNotFoundError as refusal_too:
                raise self._wrong_credentials(refusal_too) from refusal_too
        self.user = session.user
        return session.token

    def _token_of(self, value: str, *, in_cookie: bool) -> Token:
        token = Token(value, in_cookie=True) if self._use_cookie else _unwrap(value, in_cookie=in_cookie)
        self.on_secret(token.value)
        return token

    def _create_session(self, login_field: str) -> LogIn:
        body = {"session": {login_field: self._credentials.login, "password": self._credentials.password}}
        return self._send("POST", "sessions", body, read=lambda answer: answer.one("session", LogIn))

    def _requires_log_in(self) -> bool:
        try:
            statuses = self._send("GET", "status", read=lambda answer: answer.get("statuses"))
        except MageError as error:  # Mage Cloud need not have this endpoint
            if isinstance(error, MageTransportError) and error.temporary:
                raise
            return True
        first = statuses[0] if isinstance(statuses, list) and statuses else None
        return bool(first.get("require_user_authentication", True)) if isinstance(first, dict) else True

    def _wrong_credentials(self, refusal: MageNotFoundError) -> MageAuthError:
        padded = [
            f"The {name} begins or ends with a blank or a line end."
            for name, value in (("login", self._credentials.login), ("password", self._credentials.password))
            if value and value != value.strip()
        ]
        return MageAuthError(
            f"Mage at {public_url(self._api_url)} refused the log-in of {self._credentials.login!r}: "
            + " ".join(["check the connection's login and password.", *padded]),
            code=refusal.code,
            type=refusal.type,
            reason=refusal.reason,
        )

    def _send(self, method: str, path: str, body: Any = None, *, read: Callable[[Answer], _Read]) -> _Read:
        url = f"{self._api_url}/{path}"
        try:
            return guard(method, url, lambda: read(self._ask(method, url, body)))
        except MageTransportError as error:
            # A log-in that was lost can be made again; what it was for has not been sent.
            error.may_have_arrived = False
            raise

    def _ask(self, method: str, url: str, body: Any) -> Answer:
        with Http(self._timeout) as http:
            response = http.request(
                method,
                url,
                json=body,
                headers={"X-API-KEY": self._credentials.api_key},
                auth=lambda request: request,  # else requests looks for credentials in ~/.netrc
                verify=self._verify,
                allow_redirects=False,
            )
        return read_answer(response)


_auth_of = lru_cache(maxsize=128)(MageAuth)
# Two threads that ask at the same time get the same one; ``lru_cache`` alone may make two.
_auth_of_lock = threading.RLock()


def shared_auth(
    api_url: str,
    credentials: Credentials,
    *,
    verify: bool | str = True,
    timeout: float = 30.0,
    use_cookie: bool = False,
    on_secret: Callable[[str], None] | None = None,
    shares_on_disk: bool = False,
) -> MageAuth:
    """Return this process's one :class:`MageAuth` for these credentials (parameters as there)."""
    with _auth_of_lock:
        return _auth_of(
            api_url,
            credentials,
            verify=verify,
            timeout=timeout,
            use_cookie=use_cookie,
            on_secret=on_secret,
            shares_on_disk=shares_on_disk,
        )


def _unwrap(value: str, *, in_cookie: bool) -> Token:
    """Take the token proper out of the JWT of a session answer; what is no such JWT is one as it is."""
    import jwt  # not needed before a log-in

    try:
        token = jwt.decode(value, options={"verify_signature": False, "verify_exp": False}).get("token")
    except (jwt.InvalidTokenError, RecursionError):  # the latter for JSON that nests deep
        token = None
    if isinstance(token, str) and token and is_word(token):
        return Token(token, in_cookie=False)
    return Token(value, in_cookie=in_cookie)
