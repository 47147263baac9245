"""A proxy from the environment: what its failures mean, and that nobody sees its password."""

import socket
import struct
import threading
import traceback

import pytest

from airflow_provider_mage.api import secrets
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.session import MageSession

PASSWORD = "pr0xy-s3cret"
URLS = ["http://mage.test/api", "https://mage.test/api"]
HTTPS = URLS[1:]


class RawProxy:
    """Answers every request with the same bytes, and keeps what it was sent; None resets the connection."""

    def __init__(self, answer):
        self.answer, self.received = answer, b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.received += connection.recv(65536)
                if self.answer is None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    connection.sendall(self.answer)


@pytest.fixture
def proxy():
    opened = []

    def start(status="", *, answer=None):
        opened.append(
            RawProxy(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode() if status else answer)
        )
        return opened[-1]

    yield start
    for one in opened:
        one.socket.close()


@pytest.fixture
def fail(monkeypatch, clock):
    """Send something through a proxy, and return the error and all that can be seen of it and below it."""

    def send(proxy_url, url=URLS[0], *, variables=("http_proxy", "https_proxy"), auth=None):
        for name in variables:
            monkeypatch.setenv(name, proxy_url)
        with pytest.raises(MageTransportError) as caught:
            MageSession(url, auth=auth, retry_for=0, timeout=5, clock=clock).post("x", json={})
        return caught.value

    return send


def everything_of(error):
    """All texts of an error, and of the exceptions that hang on it in any way."""
    texts, links, seen = traceback.format_exception(error), [error], set()
    while links:
        link = links.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
            links += [link.__cause__, link.__context__, *link.args, *vars(link).values()]
    return "\n".join(texts)


def with_user(address, scheme="http"):
    return f"{scheme}://me:{PASSWORD}@{address}"


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-proxy.invalid:3128"])
def test_request_never_leaves_where_the_proxy_is_out_of_reach(fail, url, scheme, address):
    error = fail(with_user(address, scheme), url)

    assert (error.may_have_arrived, error.temporary) == (False, True)
    assert f"The proxy {address} (`{url.partition(':')[0]}_proxy`) cannot be reached" in str(error)
    assert "add mage.test to `NO_PROXY`" in str(error)
    assert PASSWORD not in everything_of(error)
    assert "NewConnectionError" in str(error.__cause__) or "NameResolutionError" in str(error.__cause__)


@pytest.mark.parametrize(
    ("status", "says", "temporary"),
    [
        ("407 Proxy Authentication Required", "wants a log-in", False),
        ("403 Forbidden", "refuses to connect to Mage", False),
        ("405 Method Not Allowed", "refuses to connect to Mage", False),
        ("502 Bad Gateway", "could not connect to Mage", True),
        ("503 Service Unavailable", "could not connect to Mage", True),
    ],
)
def test_request_never_leaves_where_the_proxy_makes_no_tunnel(fail, proxy, status, says, temporary):
    refusing = proxy(status)
    error = fail(with_user(refusing.address), HTTPS[0])

    assert refusing.received.startswith(b"CONNECT mage.test:443")
    assert (error.may_have_arrived, error.temporary) == (False, temporary)
    assert f"The proxy {refusing.address} (`https_proxy`) {says}" in str(error)
    assert "add mage.test to `NO_PROXY`" in str(error)
    assert PASSWORD not in everything_of(error)


def test_proxy_that_sees_the_request_and_wants_a_log_in_is_named(fail, proxy):
    refusing = proxy("407 Proxy Authentication Required")
    error = fail(f"http://{refusing.address}")

    assert (error.may_have_arrived, error.temporary) == (False, False)
    assert f"The proxy {refusing.address} (`http_proxy`) wants a log-in" in str(error)
    assert "`NO_PROXY`" in str(error)


@pytest.mark.parametrize("url", URLS)
def test_proxy_that_speaks_no_tls_is_to_blame_and_not_mages_certificate(fail, proxy, url):
    plain = proxy("400 Bad Request")
    error = fail(with_user(plain.address, "https"), url)

    if "Cannot set verify_mode to CERT_NONE" in str(error.__cause__):
        pytest.skip("requests 2.32 may not speak TLS to a proxy at all, where the server has none.")
    assert (error.may_have_arrived, error.temporary) == (False, False)
    assert f"No TLS connection to the proxy {plain.address}" in str(error)
    assert PASSWORD not in everything_of(error)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", None])
def test_request_that_the_proxy_has_seen_may_have_arrived(fail, proxy, answer):
    breaking = proxy(answer=answer)
    error = fail(with_user(breaking.address))

    assert b"POST http://mage.test/api/x" in breaking.received
    assert (error.may_have_arrived, error.temporary) == (True, True)
    assert f"the proxy {breaking.address}" in str(error)
    assert PASSWORD not in everything_of(error)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("proxy_url", "says"),
    [
        (f"http://me:{PASSWORD}@proxy:port", "like http://host:port"),
        (f"http://me:{PASSWORD}@proxy:999999", "like http://host:port"),
        (f"http://me:{PASSWORD}@[::1", "like http://host:port"),
        (f"http://me:{PASSWORD}@", "like http://host:port"),
        (f"http://me:{PASSWORD}@{'a' * 300}:1", "like http://host:port"),
        (f"ftp://me:{PASSWORD}@127.0.0.1:1", "like http://host:port"),
        (f"me:{PASSWORD}@127.0.0.1:1", "like http://host:port"),
        (f"http://me:{PASSWORD}\u0141@127.0.0.1:1", "like http://host:port"),
        ("http://me:pr0xy#s3cret@127.0.0.1:1", "percent-encoded"),
        ("http://me:1#s3cret@127.0.0.1:1", "percent-encoded"),
        ("http://me:pr0xy/s3cret@127.0.0.1:1", "percent-encoded"),
        ("http://me:1?s3cret@127.0.0.1:1", "percent-encoded"),
    ],
)
def test_proxy_setting_that_is_none_is_named_and_nothing_of_it_shown(fail, url, proxy_url, says):
    error = fail(proxy_url, url)

    assert (error.may_have_arrived, error.temporary) == (False, False)
    assert f"`{url.partition(':')[0]}_proxy`" in str(error)
    assert says in str(error)
    assert "add mage.test to `NO_PROXY`" in str(error)
    assert "s3cret" not in everything_of(error)
    assert "pr0xy" not in everything_of(error)


def test_socks_without_its_library_is_told(fail, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "socks", None)
    error = fail(f"socks5h://me:{PASSWORD}-without@127.0.0.1:1")

    assert (error.may_have_arrived, error.temporary) == (False, False)
    assert "install `requests[socks]`" in str(error)
    assert PASSWORD not in everything_of(error)


def test_proxy_for_everything_is_named_by_its_own_variable(fail):
    error = fail("http://127.0.0.1:1", variables=("ALL_PROXY",))

    assert "The proxy 127.0.0.1:1 (`all_proxy`) cannot be reached" in str(error)


def test_log_in_goes_through_the_proxy_too(fail):
    auth = MageAuth(URLS[0], Credentials("me", "my-password"))
    error = fail(with_user("127.0.0.1:1"), auth=auth)

    assert (error.may_have_arrived, error.temporary) == (False, True)
    assert "The proxy 127.0.0.1:1" in str(error)
    assert str(error).endswith("/sessions.")
    assert PASSWORD not in everything_of(error)


def test_no_proxy_goes_around_it(mage, session, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert session(mage).get("pipelines")["pipelines"]


@pytest.mark.parametrize("url", ["http://[x/api", "http://mage:port/api", "http:///api"])
def test_address_that_is_none_is_not_the_proxys_fault(fail, monkeypatch, url):
    monkeypatch.setenv("NO_PROXY", "example.com")
    error = fail("http://127.0.0.1:1", url)

    assert "not a usable address: check the connection's host" in str(error)


def test_password_of_a_proxy_is_starred_from_then_on(fail):
    fail("http://me:an%23other@127.0.0.1:1")

    assert secrets.star("an#other, an%23other") == "***, ***"
