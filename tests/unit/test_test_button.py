"""The Test button: which of URL, API key, credentials, permission or version is wrong."""

import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY
from airflow_provider_mage.hooks import trial
from airflow_provider_mage.hooks.form import STORED_SECRET
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from airflow_provider_mage.hooks.trial import ANSWER_WITHIN
from fakes import faults
from fakes.mage import FakeMage

# Seconds that a busy machine may take on top.
PATIENCE = 20


@pytest.fixture(autouse=True)
def unhurried(request, monkeypatch):
    """Give a busy machine the time that it needs, where the test is not about that."""
    if "silent_port" not in request.fixturenames:
        monkeypatch.setattr(trial, "ANSWER_WITHIN", ANSWER_WITHIN + PATIENCE)


def press(conn_id, hook=MageHook):
    return hook(conn_id).test_connection()


def test_good_connection_says_what_was_found(mage, connect):
    found = "project airflow_provider_mage_examples, user admin (Owner), scheduler running."

    assert press(connect()) == (True, f"Connected to Mage 0.9.80 at {mage.url}: {found}")


def test_server_without_authentication_is_named_as_such(connect):
    with FakeMage(authentication=False) as server:
        for fields in ({"login": None, "password": None}, {}):
            works, text = press(connect(host=server.url, **fields))

            assert works
            assert ", without log-in, " in text


def test_given_token_is_named_as_such(mage, connect):
    MageHook(connect()).get_conn()
    conn_id = connect(login=None, password=None, extra={"oauth_token": mage.session_tokens()[0]})
    works, text = press(conn_id)

    assert works
    assert ", user of the given OAuth token, " in text


def test_user_without_a_role_is_named_as_such(mage, connect, edited):
    no_role = edited(lambda answer: answer["session"]["user"].update(project_access=0))
    mage.inject(no_role, match=("POST", "/sessions$"))

    assert ", user admin (no role in the project), " in press(connect())[1]


def test_scheduler_that_stands_still_is_told(mage, connect):
    mage.stop_scheduler()

    works, text = press(connect())

    assert works
    assert text.endswith(", scheduler stopped.")


@pytest.fixture
def silent_port():
    """The port of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": None}, "^URL: The host is missing: set it"),
        ({"host": "ftp://mage"}, "^URL: The host must be a name or an http"),
        ({"host": "http://127.0.0.1:1"}, "^URL: No connection could be made: check"),
        ({"host": "http://127.0.0.1:{silent}"}, "^URL: No answer came in time: check"),
        ({"host": "{mage}/wrong"}, "^URL: The server answered with a web page instead of JSON .*base path"),
        ({"host": "http://no-such-host.invalid"}, "^DNS: No address was found for the host's name: check"),
        (
            {"host": "https://localhost:{tls}"},
            "^TLS: The server's TLS certificate was not accepted .unable to",
        ),
        ({"host": "http://localhost:{tls}"}, "^TLS: the host speaks https, not http, on this port"),
        ({"host": "{mage_with_https}"}, "^TLS: The host speaks http, not https, on this port"),
        (
            {"extra": {"ca_bundle": "/no/such"}},
            "^TLS: CA bundle .`ca_bundle`. must be the path .* is no file",
        ),
        ({"extra": {"timeout": "soon"}}, r"^Settings: Request timeout \(s\) \(`timeout`\) must be a number"),
        ({"extra": {"api_key": "two words"}}, "^API key: API key .`api_key`. must be one word"),
        ({"extra": {"api_key": "wrong"}}, "^API key: Mage refused the API key: set API key .`api_key`."),
        ({"extra": {"api_key": STORED_SECRET}}, "^API key: API key .`api_key`. is hidden by Airflow's form"),
        ({"password": "wrong"}, "^Credentials: .*refused the log-in of 'admin@admin.com'"),
        ({"login": "nobody"}, "^Credentials: .*refused the log-in of 'nobody'"),
        ({"login": None, "password": None}, "^Credentials: the server wants a log-in: give"),
        ({"password": None}, "^Credentials: the server wants a log-in: give"),
        ({"password": None, "extra": {"oauth_token": "old"}}, "^Credentials: Mage refused the session token"),
    ],
    ids=str,
)
def test_what_is_wrong_comes_first(mage, connect, tls_url, silent_port, fields, says):
    places = {
        "mage": mage.url,
        "mage_with_https": mage.url.replace("http", "https"),
        "tls": urlsplit(tls_url).port,
        "silent": silent_port,
    }
    host = fields.get("host", mage.url)
    conn_id = connect(**{**fields, "host": host and host.format(**places)})
    began = time.monotonic()
    works, text = press(conn_id)

    assert not works
    assert re.search(says, text)
    assert "\n" not in text
    assert conn_id not in text  # Airflow makes one up for the test
    assert time.monotonic() - began < ANSWER_WITHIN + 1 + PATIENCE


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "no//proxy"])
def test_proxy_is_named(monkeypatch, connect, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)

    works, text = press(connect(host="http://mage.test"))

    assert not works
    assert text.startswith("Proxy: The proxy ")


def test_look_up_that_hangs_is_given_up(monkeypatch, connect):
    gone_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gone_on.wait())
    monkeypatch.setattr(trial, "ANSWER_WITHIN", 0.2)

    works, text = press(connect(host="http://mage.test"))
    gone_on.set()

    assert not works
    assert text.startswith("URL: there was no answer within")


@pytest.mark.parametrize("fault", [faults.WEB_PAGE, faults.LOGIN_REDIRECT, faults.http_error(503)])
def test_server_that_is_not_mage_is_a_matter_of_the_url(mage, connect, fault):
    mage.inject(fault, times=None)

    works, text = press(connect())

    assert not works
    assert text.startswith("URL: ")


def test_viewer_lacks_permission(connect):
    with FakeMage(role="viewer") as server:
        works, text = press(connect(host=server.url, password=server.password))

    assert not works
    assert text.startswith("Permission: ")
    assert "Viewer" in text


@pytest.fixture
def runs_version(mage, edited):
    """Let the server say that it runs another version."""

    def pretend(version):
        fault = edited(lambda answer: answer["projects"][0].update(version=version))
        mage.inject(fault, times=None, match=("GET", "/projects$"))

    return pretend


@pytest.mark.parametrize("version", ["0.9.69", "0.8.100", "0.9.9"])
def test_version_that_is_too_old_is_told(connect, runs_version, version):
    runs_version(version)

    works, text = press(connect())

    assert not works
    assert text == f"Version: the server runs Mage {version}: 0.9.70 or later is needed."


@pytest.mark.parametrize(
    "version", ["0.9.70", "0.9.80", "0.10.0", "1.0.0", "0.9.75rc1", "pro-2026", "", None]
)
def test_version_that_is_recent_or_unknown_will_do(connect, runs_version, version):
    runs_version(version)

    works, text = press(connect())

    assert works
    assert f"Mage {version or '(version unknown)'} at" in text


@pytest.mark.parametrize("version", ["0.9.70", "0.9.80"])
def test_oldest_and_newest_supported_servers_tell_a_wrong_api_key_apart(connect, version):
    """Their codes differ."""
    with FakeMage(version=version) as server:
        works, text = press(connect(host=server.url, extra={"api_key": "wrong"}))

    assert not works
    assert text.startswith("API key: ")


def test_server_that_takes_too_long_to_tell_its_version_will_do(mage, connect):
    """It asks the Internet for its newest release first."""
    mage.inject(faults.late_answer(2), match=("GET", "/projects$"))

    works, text = press(connect(extra={"timeout": 0.3}))

    assert works
    assert text.startswith("Connected to Mage (version unknown) at ")


def test_nothing_is_tried_twice_while_somebody_waits(mage, connect):
    mage.inject(faults.http_error(503), times=None)

    press(connect())

    assert len(mage.requests) == 1


def test_log_in_of_an_earlier_hook_does_not_make_up_for_a_wrong_password(mage, connect):
    """The API server's process lives long, and the password may have been changed in Mage since."""
    conn_id = connect()
    MageHook(conn_id).get_conn()
    mage._account.password = "changed"

    works, text = press(conn_id)

    assert not works
    assert text.startswith("Credentials: ")


def test_hook_can_be_used_after_the_test(mage, connect):
    hook = MageHook(connect(), retry_for=33)
    hook.test_connection()

    assert hook.client.retries.retry_for == 33


def test_texts_hold_no_secret(mage, connect):
    texts = [
        press(connect(password="wr0ng-secret"))[1],
        press(connect(extra={"api_key": "wr0ng-secret"}))[1],
        press(connect(login=None, extra={"oauth_token": "wr0ng-secret"}))[1],
        press(connect(host="http://me:wr0ng-secret@mage"))[1],
        press(connect())[1],
    ]

    assert not any("wr0ng-secret" in text or mage.password in text for text in texts)


def test_mage_cloud_says_whether_the_log_in_works(connect):
    with FakeMage(api_key=MAGE_CLOUD_API_KEY) as server:
        fields = {"host": f"{server.url}/api", "password": server.password}

        assert press(connect("mage_cloud", **fields), MageCloudHook) == (
            True,
            f"Logged in to {server.url}/api as admin@admin.com.",
        )
        works, text = press(connect("mage_cloud", **{**fields, "password": "wrong"}), MageCloudHook)
        assert not works
        assert re.match("Credentials: .* refused the log-in of 'admin@admin.com'", text)
        works, text = press(connect("mage_cloud", **{**fields, "login": None}), MageCloudHook)
        assert not works
        assert text.startswith("Credentials: Mage Cloud wants a log-in: give the connection a login and a ")
