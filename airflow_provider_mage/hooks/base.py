"""What the hooks of both connection types share: an Airflow Connection becomes an authenticated session."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_mage._compat import has_flask_forms, mask_secret
from airflow_provider_mage.api.address import read_address
from airflow_provider_mage.api.auth import Credentials, MageAuth, shared_auth
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.hooks.extra import NAMES, Extra, SettingError
from airflow_provider_mage.hooks.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from airflow.providers.common.compat.sdk import Connection


class MageBaseHook(BaseHook):
    """
    Turns an Airflow Connection into an authenticated session.

    Subclasses say where their API is. Hooks of one connection in one process share one log-in.

    :param conn_id: The Airflow connection.
    :param retry_for: Seconds after which a request that could not be answered is not sent again.
    """

    conn_type: ClassVar[str]
    conn_name_attr: ClassVar[str]
    default_host: ClassVar[str | None] = None
    default_scheme: ClassVar[str] = "http"
    default_port: ClassVar[int | None] = None
    api_path: ClassVar[str] = ""
    default_api_key: ClassVar[str]
    sends_cookie: ClassVar[bool] = False

    def __init__(self, conn_id: str, *, retry_for: float = 60.0) -> None:
        super().__init__()
        self._conn_id = conn_id
        self._retry_for = retry_for

    @property
    def connection(self) -> Connection:
        """The Airflow connection; its secrets are masked in logs from here on."""
        return self._settings[0]

    @property
    def extra(self) -> dict[str, Any]:
        """The connection's extra fields that were filled in."""
        return {name: value for name, value in self._extra.fields.items() if name in NAMES}

    @property
    def _extra(self) -> Extra:
        return self._settings[1]

    @cached_property
    def _settings(self) -> tuple[Connection, Extra]:
        try:
            connection = self.get_connection(self._conn_id)
        except AirflowNotFoundException as error:
            raise AirflowNotFoundException(
                f"Airflow has no connection {self._conn_id!r}: create one of type {self.conn_type} with that "
                f"id, or name another in `{self.conn_name_attr}`."
            ) from error
        if connection.password:
            mask_secret(connection.password)
        extra = Extra(self._conn_id, self.conn_type, connection.extra)
        for secret in (extra.fields.get("oauth_token"), extra.fields.get("api_key")):
            if secret and secret != self.default_api_key:
                mask_secret(str(secret))
        return connection, extra

    @cached_property
    def session(self) -> MageSession:
        """The session that every request of this hook goes through; it logs in at the first request."""
        new_auth = partial(shared_auth, shares_on_disk=self._extra.switch("share_login"))
        return self._new_session(new_auth, retry_for=self._retry_for)

    def _new_session(
        self, new_auth: Callable[..., MageAuth], *, retry_for: float, longest: float = inf
    ) -> MageSession:
        connection = self.connection
        self._extra.point_out_misspelt()
        server = base_url(
            connection,
            default_host=self.default_host,
            suffix=self.api_path,
            default_scheme=self.default_scheme,
            default_port=self.default_port,
        )
        api_url = server + self.api_path
        verify, timeout = self._extra.verify(api_url), min(self._extra.timeout(), longest)
        credentials = Credentials(
            connection.login or None,
            connection.password or None,
            self._extra.word("api_key") or self.default_api_key,
            self._extra.word("oauth_token"),
        )
        auth = new_auth(
            api_url,
            credentials,
            verify=verify,
            timeout=timeout,
            use_cookie=self.sends_cookie,
            on_secret=mask_secret,
        )
        return MageSession(api_url, auth=auth, verify=verify, timeout=timeout, retry_for=retry_for)

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection, for Airflow's Test button. It repeats nothing, and uses no log-in made before.

        :return: Whether it works, and a sentence: what was found, or first what is wrong (URL, DNS, TLS,
            Proxy, API key, Credentials, Permission, Version or Settings). It takes some five seconds at most.
        """
        trial = Trial()
        try:
            self._extra.switch("share_login")  # of no use here, but may be wrong
            session = self._new_session(MageAuth, retry_for=0.0, longest=trial.longest_request)
        except SettingError as error:
            return False, f"{error.what}: {error.sentence}"
        return trial.run(lambda: self._try(session, trial), session.api_url)

    @abstractmethod
    def _try(self, session: MageSession, trial: Trial) -> str:
        """Return what was found; raise a MageError or an UnfitError for what is wrong."""

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


def missing_log_in(who: str) -> str:
    """Say that there is neither a token nor a whole log-in."""
    sentence = f"{who} wants a log-in: give the connection a login and a password."
    if has_flask_forms():
        sentence += " (Airflow 2 sends a stored password to no test: to test it, type it again.)"
    return sentence


def base_url(
    connection: Connection,
    *,
    default_host: str | None,
    suffix: str,
    default_scheme: str = "http",
    default_port: int | None = None,
) -> str:
    """
    Read a connection's address: a bare host or a URL, with or without a port and a base path.

    :param connection: The Airflow connection.
    :param default_host: The address of a connection without a host.
    :param suffix: The API's own path; a host that ends with it is taken without.
    :param default_scheme: The scheme of a connection without one.
    :param default_port: The port of a bare host name that is reached by http.
    :return: Scheme, host, port and base path, with no slash at the end.
    :raises SettingError: If the connection holds no usable address.
    """
    host = (connection.host or "").strip() or default_host
    conn_id = connection.conn_id
    if not host:
        sentence = "the host is missing: set it to the address of Mage, such as http://localhost:6789"
        raise SettingError(conn_id, sentence, "URL")
    try:
        return read_address(
            host,
            scheme=connection.schema,
            port=connection.port,
            default_scheme=default_scheme,
            default_port=default_port,
            suffix=suffix,
        )
    except ValueError as error:
        cause, sentence = error.__cause__, str(error)
    raise SettingError(conn_id, sentence, "URL") from cause
