"""The proxy, if any, that a request goes through: ``requests`` reads it from the environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from urllib3.util import parse_url

from airflow_provider_mage.api import secrets
from airflow_provider_mage.api.errors import MageTransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True)
class Proxy:
    """
    A proxy, by what may be shown of it.

    :param variable: The environment variable that names it, or several have the same meaning.
    :param address: Its host and port.
    :param host: The host that is reached through it.
    """

    variable: str
    address: str
    host: str

    def __str__(self) -> str:
        return f"the proxy {self.address} (`{self.variable}`)"

    @property
    def way_around(self) -> str:
        """What to do if there is to be no proxy."""
        return f"if Mage is to be reached without a proxy, add {self.host} to `NO_PROXY`"


def proxy_of(url: str) -> Proxy | None:
    """
    Return the proxy that a request to a URL goes through.

    :param url: The URL.
    :return: The proxy; None if there is none.
    :raises MageTransportError: If what the environment says of it cannot be used. Nothing has been sent then.
    """
    try:
        parts = urlsplit(url)
        proxies = get_environ_proxies(url)
        text = select_proxy(url, proxies)
    except ValueError:  # no URL, as whoever sends something to it will say
        return None
    if not text:
        return None
    variable = f"{parts.scheme}_proxy" if parts.scheme in proxies else "all_proxy"
    host = parts.hostname or ""
    address, fault = _read(text)
    if fault:
        way_around = Proxy(variable, "", host).way_around
        raise MageTransportError(
            f"The proxy that `{variable}` in the environment names cannot be used: {fault}; {way_around}.",
            what="Proxy",
        )
    return Proxy(variable, address, host)


@lru_cache(maxsize=32)
def _read(text: str) -> tuple[str, str]:
    """Return a proxy's address, without its user, and what is wrong with its URL: none of it may be shown."""
    for secret in _passwords(text):
        secrets.learn(secret)
    authority, _, rest = text.partition("://")[2].partition("/") if "://" in text else text.partition("/")
    if "@" in rest or "#" in authority or "?" in authority:
        return "", "its user or password has to be percent-encoded (`%23` for `#`, `%2F` for `/`)"
    usable = "it has to be like http://host:port"
    try:
        whole = prepend_scheme_if_needed(text, "http")
        parts = parse_url(whole)
        if parts.scheme not in _SCHEMES or not parts.host:
            return "", usable
        parts.host.encode("idna")
        if parts.scheme.startswith("socks"):
            import socks  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
        HTTPAdapter().proxy_manager_for(whole)
    except ImportError:
        return "", "for SOCKS, install `requests[socks]`"
    except Exception:  # noqa: BLE001  whatever it is, it may quote the password
        return "", usable
    return parts.netloc or parts.host, ""


def _passwords(text: str) -> Iterator[str]:
    user = text.partition("://")[2] or text
    password = user.rpartition("@")[0].partition(":")[2]
    yield password
    yield unquote(password)


def refusal_in(cause: BaseException) -> int | None:
    """Return the HTTP status with which a proxy has refused a tunnel; None if it is not about that."""
    match = re.match(r"Tunnel connection failed: (\d{3})\b", str(cause))
    return int(match[1]) if match else None
