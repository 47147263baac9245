"""The Test button: which of URL, API key, credentials, permission or version is wrong."""

import re

import pytest

from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from fakes import faults
from fakes.mage import FakeMage


def press(conn_id, hook=MageHook):
    return hook(conn_id).test_connection()


def test_good_connection_says_what_was_found(mage, connect):
    assert press(connect()) == (True, f"Connected to Mage 0.9.80 at {mage.url} as admin@admin.com.")


def test_server_without_authentication_is_named_as_such(connect):
    with FakeMage(authentication=False) as server:
        expected = (True, f"Connected to Mage 0.9.80 at {server.url} without log-in.")

        assert press(connect(host=server.url, login=None, password=None)) == expected
        assert press(connect(host=server.url)) == expected


def test_given_token_is_named_as_such(mage, connect):
    MageHook(connect()).get_conn()
    conn_id = connect(login=None, password=None, extra={"oauth_token": mage.session_tokens()[0]})

    assert press(conn_id) == (True, f"Connected to Mage 0.9.80 at {mage.url} with the given token.")


def test_scheduler_that_stands_still_is_mentioned(mage, connect):
    mage.stop_scheduler()

    works, text = press(connect())

    assert works
    assert text.endswith(" Its scheduler is stopped.")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": None}, "^Connection '.*' has no host: set it"),
        ({"host": "ftp://mage"}, "^Connection '.*': the host must be a name or an http"),
        ({"host": "http://127.0.0.1:1"}, "^URL: GET|^URL: POST .* no connection could be made; check"),
        ({"extra": {"timeout": "soon"}}, "^Connection '.*': `timeout` in extra must be"),
        ({"extra": {"api_key": "two words"}}, "^Connection '.*': `api_key` must be one word"),
        ({"extra": {"api_key": "wrong"}}, "^API key: .*Mage refused the API key; set `api_key`"),
        ({"password": "wrong"}, "^Credentials: .*refused the log-in of 'admin@admin.com'"),
        ({"login": "nobody"}, "^Credentials: .*refused the log-in of 'nobody'"),
        ({"login": None, "password": None}, "^Credentials: the server wants a log-in; give"),
        ({"password": None}, "^Credentials: the server wants a log-in; give"),
        ({"password": None, "extra": {"oauth_token": "old"}}, "^Credentials: .*refused the session token"),
    ],
    ids=str,
)
def test_what_is_wrong_comes_first(connect, fields, says):
    works, text = press(connect(**fields))

    assert not works
    assert re.search(says, text)
    assert "\n" not in text


def test_tls_to_a_plain_port_is_a_matter_of_the_url(mage, connect):
    works, text = press(connect(host=mage.url.replace("http", "https")))

    assert not works
    assert text.startswith("URL: ")
    assert "speaks https at all" in text


def test_wrong_base_path_is_a_matter_of_the_url(mage, connect):
    works, text = press(connect(host=f"{mage.url}/wrong"))

    assert not works
    assert re.match("URL: .* web page instead of JSON: check that .*base path", text)


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
    assert text == f"Version: the server runs Mage {version}; 0.9.70 or later is needed."


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
        assert "refused the log-in of 'admin@admin.com'" in text
        works, text = press(connect("mage_cloud", **{**fields, "login": None}), MageCloudHook)
        assert (works, text) == (
            False,
            "Mage Cloud wants a log-in: give the connection a login and a password.",
        )
