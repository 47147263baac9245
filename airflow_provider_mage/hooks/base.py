"""What the hooks of both connection types share: an Airflow Connection becomes an authenticated session."""

from __future__ import annotations

import math
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_mage._compat import mask_secret
from airflow_provider_mage.api.answer import public_url
from airflow_provider_mage.api.auth import Credentials, MageAuth, shared_auth
from airflow_provider_mage.api.session import MageSession

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from airflow.providers.common.compat.sdk import Connection

DEFAULT_TIMEOUT = 30.0
_SWITCH = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}


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
        extra = connection.extra_dejson
        for secret in (connection.password, self._extra(extra, "oauth_token"), self._extra(extra, "api_key")):
            if secret and secret != self.default_api_key:
                mask_secret(str(secret))
        return connection

    @cached_property
    def extra(self) -> dict[str, Any]:
        """The connection's extra fields that were filled in."""
        extra = self.connection.extra_dejson
        names = ("api_key", "oauth_token", "verify_ssl", "timeout", "share_login", "team_id")
        values = {name: self._extra(extra, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @cached_property
    def session(self) -> MageSession:
        """The session that every request of this hook goes through; it logs in at the first request."""
        new_auth = partial(shared_auth, shares_on_disk=self._switch("share_login", default=True))
        return self._new_session(new_auth, retry_for=self._retry_for)

    def _new_session(self, new_auth: Callable[..., MageAuth], *, retry_for: float) -> MageSession:
        connection = self.connection
        api_url = base_url(connection, default_host=self.default_host, suffix=self.api_path) + self.api_path
        credentials = Credentials(
            login=connection.login or None,
            password=connection.password or None,
            api_key=str(self.extra.get("api_key", self.default_api_key)),
            oauth_token=str(self.extra["oauth_token"]) if "oauth_token" in self.extra else None,
        )
        verify, timeout = self._verify(), self._timeout()
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

    def _extra(self, extra: dict[str, Any], name: str) -> Any:
        """Read an extra field; Airflow 2's forms may prefix it, Airflow 3's send null for an empty one."""
        value = extra.get(name)
        if value in (None, ""):
            value = extra.get(f"extra__{self.conn_type}__{name}")
        if isinstance(value, str):
            value = value.strip()
        return None if value == "" else value

    def _verify(self) -> bool | str:
        """Read ``verify_ssl``: a switch, or the path of a CA bundle."""
        value = str(self.extra.get("verify_ssl", True))
        if value.lower() in _SWITCH:
            return self._switch("verify_ssl", default=True)
        if not Path(value).exists():
            raise ValueError(
                f"Connection {self._conn_id!r}: `verify_ssl` in extra must be true, false or the path of a "
                f"CA bundle; there is no file {value!r}."
            )
        return value

    def _switch(self, name: str, *, default: bool) -> bool:
        """Read a switch, in any form that Airflow's UIs send."""
        return _SWITCH.get(str(self.extra.get(name, default)).lower(), default)

    def _timeout(self) -> float:
        value = self.extra.get("timeout", DEFAULT_TIMEOUT)
        try:
            timeout = float(value)
        except (TypeError, ValueError):
            timeout = 0.0
        if not (timeout > 0 and math.isfinite(timeout)):
            raise ValueError(
                f"Connection {self._conn_id!r}: `timeout` in extra must be a number of seconds above 0, "
                f"not {value!r}."
            )
        return timeout


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
    if not host:
        raise ValueError(f"{name} has no host: set it to the address of Mage, such as http://localhost:6789.")
    if "@" in host:  # first of all, as the other errors quote the host
        raise ValueError(f"{name}: put the user into login and password, not into the host.")
    if "://" not in host:
        if host.count(":") > 1 and not host.startswith("["):
            host = (
                f"[{host}]"  # an IPv6 address, whose brackets are lost where a connection is given as a URI
            )
        host = f"{connection.schema or 'http'}://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or connection.port or None
        hostname = parts.hostname
    except ValueError as error:
        raise ValueError(
            f"{name}: the host is not a usable address; set e.g. https://mage.example.com."
        ) from error
    if parts.scheme not in ("http", "https") or not hostname:
        raise ValueError(
            f"{name}: the host must be a name or an http(s) URL, such as https://mage.example.com; "
            f"{public_url(host)!r} is neither."
        )
    shown_host = f"[{hostname}]" if ":" in hostname else hostname
    path = parts.path.rstrip("/")
    path = path.removesuffix(suffix) if suffix else path
    return f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{path}"
