"""Where an API is, out of whatever people write for it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAGE_PORT = 6789
"""The port that Mage listens on unless it is told another."""

LAST_PORT = 65535
# RFC 1035
LONGEST_HOST = 253


def read_address(
    host: str,
    *,
    scheme: str | None = None,
    port: int | None = None,
    default_scheme: str = "http",
    default_port: int | None = None,
    suffix: str = "",
) -> str:
    """
    Read a server's address: a bare host or a URL, with or without a port and a base path.

    :param host: The host or URL.
    :param scheme: The scheme, if the host is no URL.
    :param port: The port, if the host has none.
    :param default_scheme: The scheme of a host that comes without any.
    :param default_port: The port of a bare host name that is reached by http, without any port or path.
    :param suffix: The API's own path; a host that ends with it is taken without.
    :return: Scheme, host, port and base path, with no slash at the end.
    :raises ValueError: If this is no usable address: a clause about the host, for a sentence.
    """
    unusable = "the host is not a usable address: set e.g. https://mage.example.com"
    if "@" in host:  # first of all, as the other errors quote the host
        raise ValueError("put the user into login and password, not into the host")
    is_url = "://" in host
    if not is_url:
        if host.count(":") > 1 and not host.startswith("["):
            # An IPv6 address, whose brackets are lost where a connection is given as a URI.
            host = f"[{host}]"
        host = f"{(scheme or '').strip() or default_scheme}://{host}"
    if not host.isprintable():  # urlsplit leaves some of these out in silence
        raise ValueError("the host holds a line end or a control character: remove it")
    try:
        parts = urlsplit(host)
        port = parts.port or port or None
        hostname = parts.hostname
    except ValueError as error:
        raise ValueError(unusable) from error
    if port is not None and not 0 < port <= LAST_PORT:
        raise ValueError(f"the port must be a number up to {LAST_PORT}, not {port}")
    if parts.scheme not in ("http", "https") or not hostname:
        raise ValueError(
            "the host must be a name or an http(s) URL, such as https://mage.example.com: "
            f"{public_url(host)!r} is neither"
        )
    path = parts.path.rstrip("/")
    if not (port or is_url or path or parts.scheme != "http"):
        port = default_port
    path = path.removesuffix(suffix) if suffix else path
    shown_host = f"[{hostname}]" if ":" in hostname else hostname
    url = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{path}"
    if not is_address(url):
        raise ValueError(unusable)
    return url


def api_root(url: str) -> str:
    """Return an API's root, with no slash at the end; of an address without a path, that of Mage."""
    url = url.rstrip("/")
    return url if "/" in url.partition("://")[2] else f"{url}/api"


def is_address(url: str) -> bool:
    """Whether a request to a URL can be made, as ``requests`` and the look-up of names have it."""
    import requests  # not needed by whoever reads answers only

    try:
        prepared = requests.Request("GET", url).prepare()
        host = urlsplit(str(prepared.url)).hostname or ""
        host.encode("idna")
    except ValueError:  # of the base of all that they raise
        return False
    return not re.search(r"[\s\\%<>\"{}|^`]", host) and len(host) <= LONGEST_HOST


def public_url(url: str) -> str:
    """Cut user, password, query and fragment off a URL, so that it can be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
