"""What the hooks of both connection types share: an Airflow Connection becomes an authenticated session."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_mage._compat import mask_secret
from airflow_provider_mage.api.answer import public_url
from airflow_provider_mage.api.auth import Credentials, MageAuth, shared_auth
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.api.transport import is_address
from airflow_provider_mage.hooks.extra import NAMES, Extra

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from airflow.providers.common.compat.sdk import Connection

LAST_PORT = 65535


class MageBaseHook(BaseHook):
    """
    Turns an Airflow Connection into an authenticated session.

    Subclasses say where their API is. Hooks of one connection in one process share one log-in.

    :param conn_id: The Airflow connection.
    :param retry_for: Seconds after which a request that could not be answered is not sent again.
    """

    conn_type: ClassVar[str]
    default_host: ClassVar[str | None] = None
    api_path: ClassVar[str] = ""
    default_api_key: ClassVar[str]
    sends_cookie: ClassVar[bool] = False

    def __init__(self, conn_id: str, *, retry_for: float = 60.0) -> None:
        super().__init__()
        self._conn_id = conn_id
        self._retry_for = retry_for

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection; its secrets are masked in logs from here on."""
        connection = self.get_connection(self._conn_id)
        if connection.password:
            mask_secret(connection.password)
        fields = Extra(self._conn_id, self.conn_type, connection.extra).fields
        for secret in (fields.get("oauth_token"), fields.get("api_key")):
            if secret and secret != self.default_api_key:
                mask_secret(str(secret))
        return connection

    @cached_property
    def extra(self) -> dict[str, Any]:
        """The connection's extra fields that were filled in."""
        return {name: value for name, value in self._extra.fields.items() if name in NAMES}

    @cached_property
    def _extra(self) -> Extra:
        return Extra(self._conn_id, self.conn_type, self.connection.extra)

    @cached_property
    def session(self) -> MageSession:
        """The session that every request of this hook goes through; it logs in at the first request."""
        new_auth = partial(shared_auth, shares_on_disk=self._extra.switch("share_login", default=True))
        return self._new_session(new_auth, retry_for=self._retry_for)

    def _new_session(self, new_auth: Callable[..., MageAuth], *, retry_for: float) -> MageSession:
        connection = self.connection
        self._extra.point_out_misspelt()
        api_url = base_url(connection, default_host=self.default_host, suffix=self.api_path) + self.api_path
        verify, timeout = self._extra.verify(api_url), self._extra.timeout()
        api_key = self._extra.text("api_key") or self.default_api_key
        oauth_token = self._extra.text("oauth_token")
        try:
            credentials = Credentials(
                connection.login or None, connection.password or None, api_key, oauth_token
            )
        except ValueError as error:
            raise ValueError(f"Connection {self._conn_id!r}: {error}") from None
        auth = new_auth(
            api_url,
            credentials,
            verify=verify,
            timeout=timeout,
            use_cookie=self.sends_cookie,
            on_secret=mask_secret,
        )
        return MageSession(api_url, auth=auth, verify=verify, timeout=timeout, retry_for=retry_for)

    def _trial_session(self) -> MageSession:
        """Return a session for the Test button: it repeats nothing, and uses no log-in made before."""
        self._extra.switch("share_login", default=True)  # of no use here, but may be wrong
        return self._new_session(MageAuth, retry_for=0.0)

    def get_conn(self) -> requests.Session:
        """
        Log in, and hand out the session that this hook works with.

        :return: An authenticated ``requests.Session``. Key and token are among its headers; its requests
            carry a newer token when Mage has refused that one.
        :raises MageError: If Mage cannot be reached or refuses the connection's credentials.
        """
        self.session.log_in()
        self.session.http.headers.update(self.session.auth.headers())
        return self.session.http


def base_url(connection: Connection, *, default_host: str | None, suffix: str) -> str:
    """
    Read a server's address: a bare host or a URL, with or without a port and a base path.

    :param connection: The Airflow connection.
    :param default_host: The address of a connection without a host.
    :param suffix: The API's own path; a host that ends with it is taken without.
    :return: Scheme, host, port and base path, with no slash at the end.
    :raises ValueError: If the connection holds no usable address.
    """
    name = f"Connection {connection.conn_id!r}"
    host = (connection.host or "").strip() or default_host
    unusable = f"{name}: the host is not a usable address; set e.g. https://mage.example.com."
    if not host:
        raise ValueError(f"{name} has no host: set it to the address of Mage, such as http://localhost:6789.")
    if "@" in host:  # first of all, as the other errors quote the host
        raise ValueError(f"{name}: put the user into login and password, not into the host.")
    if "://" not in host:
        if host.count(":") > 1 and not host.startswith("["):
            # An IPv6 address, whose brackets are lost where a connection is given as a URI.
            host = f"[{host}]"
        host = f"{(connection.schema or '').strip() or 'http'}://{host}"
    if not host.isprintable():  # urlsplit leaves some of these out in silence
        raise ValueError(f"{name}: the host holds a line end or a control character; remove it.")
    try:
        parts = urlsplit(host)
        port = parts.port or connection.port or None
        hostname = parts.hostname
    except ValueError as error:
        raise ValueError(unusable) from error
    if port is not None and not 0 < port <= LAST_PORT:
        raise ValueError(f"{name}: the port must be a number up to {LAST_PORT}, not {port}.")
    if parts.scheme not in ("http", "https") or not hostname:
        raise ValueError(
            f"{name}: the host must be a name or an http(s) URL, such as https://mage.example.com; "
            f"{public_url(host)!r} is neither."
        )
    shown_host = f"[{hostname}]" if ":" in hostname else hostname
    path = parts.path.rstrip("/")
    path = path.removesuffix(suffix) if suffix else path
    url = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{path}"
    if not is_address(url):
        raise ValueError(unusable)
    return url
