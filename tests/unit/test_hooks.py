"""From an Airflow connection to a server's address, a user and a session."""

import json
import shutil

import certifi
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY, MAGE_CLOUD_API_URL
from airflow_provider_mage.hooks.base import base_url
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from fakes.mage import FakeMage


class Fields:
    """The part of a connection that says where a server is."""

    conn_id = "mage_test"

    def __init__(self, host=None, schema=None, port=None):
        self.host, self.schema, self.port = host, schema, port


def address(host=None, schema=None, port=None, default_host=None):
    fields = Fields(host, schema, port)
    return base_url(fields, default_host=default_host, default_port=6789, suffix="/api")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "mage"}, "http://mage:6789"),
        ({"host": "mage", "schema": "https"}, "https://mage"),
        ({"host": "mage", "schema": ""}, "http://mage:6789"),
        ({"host": "mage", "schema": "http"}, "http://mage:6789"),
        ({"host": "mage/base"}, "http://mage/base"),
        ({"host": "mage", "port": 6789}, "http://mage:6789"),
        ({"host": "mage", "port": 0}, "http://mage:6789"),
        ({"host": "mage:6789"}, "http://mage:6789"),
        ({"host": "mage:6789", "port": 80}, "http://mage:6789"),
        ({"host": "http://mage:6789"}, "http://mage:6789"),
        ({"host": "https://mage", "schema": "http"}, "https://mage"),
        ({"host": "https://mage", "port": 8443}, "https://mage:8443"),
        ({"host": "HTTPS://Mage.Example.COM"}, "https://mage.example.com"),
        ({"host": " http://mage/ "}, "http://mage"),
        ({"host": "http://mage///"}, "http://mage"),
        ({"host": "http://mage/base/path"}, "http://mage/base/path"),
        ({"host": "http://mage/base/path/"}, "http://mage/base/path"),
        ({"host": "mage/base", "port": 6789}, "http://mage:6789/base"),
        ({"host": "mage:6789/base/api/"}, "http://mage:6789/base"),
        ({"host": "http://mage/api"}, "http://mage"),
        ({"host": "http://mage/myapi"}, "http://mage/myapi"),
        ({"host": "http://mage/?a=b#c"}, "http://mage"),
        ({"host": "127.0.0.1", "port": 6789}, "http://127.0.0.1:6789"),
        ({"host": "[::1]", "port": 6789}, "http://[::1]:6789"),
        ({"host": "::1", "port": 6789}, "http://[::1]:6789"),
        ({"host": "fe80::1:2"}, "http://[fe80::1:2]:6789"),
        ({"host": "[::1]:6789"}, "http://[::1]:6789"),
        ({"host": "https://[::1]:6789/base/api"}, "https://[::1]:6789/base"),
        ({"default_host": "https://cloud.mage.test/api/v1"}, "https://cloud.mage.test/api/v1"),
        ({"host": "  ", "default_host": "https://cloud.mage.test"}, "https://cloud.mage.test"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_address_is_read_from_whatever_people_write(fields, url):
    assert address(**fields) == url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "the host is missing: set it to the address of Mage"),
        ({"host": "  "}, "the host is missing: set it to the address of Mage"),
        ({"host": "ftp://mage"}, "must be a name or an http.s. URL.*'ftp://mage' is neither"),
        ({"host": "mage", "schema": "ssh"}, "must be a name or an http.s. URL.*'ssh://mage' is neither"),
        ({"host": "mage", "schema": "https://"}, "must be a name or an http.s. URL"),
        ({"host": "http://"}, "must be a name or an http.s. URL"),
        ({"host": "http:///base"}, "must be a name or an http.s. URL"),
        ({"host": "mage:port"}, "the host is not a usable address: set e.g."),
        ({"host": "mage:99999"}, "the host is not a usable address: set e.g."),
        ({"host": "http://[::1"}, "the host is not a usable address: set e.g."),
    ],
)
def test_address_that_is_none_is_told_with_the_connection(fields, says):
    with pytest.raises(ValueError, match=f"^Connection 'mage_test'.* {says}"):
        address(**fields)


@pytest.mark.parametrize(
    "host",
    ["http://me:pa55@mage", "me:pa55@mage:6789", "ftp://me:pa/55@mage", "me:pa:55@mage", "http://me@mage"],
)
def test_user_in_the_host_is_refused_and_not_quoted(host):
    with pytest.raises(ValueError, match="put the user into login and password, not into the host") as caught:
        address(host)

    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert "pa" not in str(error).replace("password", "")


@given(host=st.text(), schema=st.none() | st.text(), port=st.none() | st.integers(0, 65535))
def test_any_host_is_either_an_address_or_an_error_with_a_name(host, schema, port):
    try:
        url = address(host, schema, port)
    except ValueError as error:
        url = f"http{error}" if str(error).startswith("Connection 'mage_test'") else ""
    assert url.startswith(("http://", "https://", "httpConnection"))


# Extra fields


def session_of(hook):
    return hook.session.http.verify, hook.session.timeout


@pytest.mark.parametrize(
    ("given", "verify"),
    [
        ({}, True),
        (dict.fromkeys(("verify_ssl", "timeout", "api_key", "oauth_token")), True),
        ({"verify_ssl": ""}, True),
        ({"verify_ssl": True}, True),
        ({"verify_ssl": "y"}, True),
        ({"verify_ssl": "True"}, True),
        ({"verify_ssl": 1}, True),
        ({"verify_ssl": False}, False),
        ({"verify_ssl": "false"}, False),
        ({"verify_ssl": " No "}, False),
        ({"verify_ssl": 0}, False),
        ({"extra__mage__verify_ssl": "n"}, False),
        ({"verify_ssl": None, "extra__mage__verify_ssl": False}, False),
        ({"verify_ssl": "true", "extra__mage__verify_ssl": False}, True),
    ],
    ids=str,
)
def test_tls_verification_is_read_in_every_form_that_forms_send(connect, given, verify):
    assert session_of(MageHook(connect(extra=given))) == (verify, 30.0)


def test_tls_verification_may_be_a_ca_bundle(connect):
    bundle = certifi.where()

    assert session_of(MageHook(connect(extra={"verify_ssl": bundle})))[0] == bundle


def test_ca_bundle_has_a_field_of_its_own_that_counts_where_tls_is_verified(connect):
    bundle = certifi.where()

    assert session_of(MageHook(connect(extra={"ca_bundle": bundle})))[0] == bundle
    assert session_of(MageHook(connect(extra={"ca_bundle": bundle, "verify_ssl": "true"})))[0] == bundle
    assert session_of(MageHook(connect(extra={"ca_bundle": bundle, "verify_ssl": "/old"})))[0] == bundle
    assert session_of(MageHook(connect(extra={"ca_bundle": bundle, "verify_ssl": False})))[0] is False


def test_tls_verification_may_be_a_folder_of_hashed_certificates(connect, tmp_path):
    shutil.copy(certifi.where(), tmp_path / "9d66eef0.0")

    assert session_of(MageHook(connect(extra={"verify_ssl": str(tmp_path)})))[0] == str(tmp_path)


def test_ca_bundle_that_is_not_there_is_told(connect):
    conn_id = connect(extra={"verify_ssl": "treu"})

    with pytest.raises(ValueError, match=f"Connection '{conn_id}': .*the path of a CA bundle; .*'treu'"):
        MageHook(conn_id).session  # noqa: B018


@pytest.mark.parametrize(("given", "timeout"), [(5, 5.0), ("2.5", 2.5), (None, 30.0), ("", 30.0)])
def test_timeout_is_read_as_seconds(connect, given, timeout):
    assert session_of(MageHook(connect(extra={"timeout": given})))[1] == timeout


@pytest.mark.parametrize("given", [0, -1, "soon", "nan", "inf", [5], {"s": 5}, True, 3601, 1e10, 10**400])
def test_timeout_that_is_no_time_is_told(connect, given):
    with pytest.raises(
        ValueError,
        match=r"Request timeout \(s\) \(`timeout`\) must be a number of seconds above 0 and up to 3600, not",
    ):
        MageHook(connect(extra={"timeout": given})).session  # noqa: B018


@pytest.mark.parametrize(
    "extra",
    [
        lambda mage: {"api_key": mage.api_key},
        lambda mage: {"api_key": f" {mage.api_key}\n"},
        lambda mage: {"extra__mage__api_key": mage.api_key},
    ],
)
def test_own_api_key_is_used(monkeypatch, connect, extra):
    with FakeMage(api_key="own-key-0815") as server:
        hook = MageHook(connect(host=server.url, password=server.password, extra=extra(server)))

        assert hook.client.list_pipelines() == []


def test_numbers_in_extra_are_taken_as_text(monkeypatch, connect):
    with FakeMage(api_key="4711") as server:
        conn_id = connect(
            host=server.url, login=None, password=None, extra={"api_key": 4711, "oauth_token": 5}
        )

        with pytest.raises(Exception, match="invalid_oauth_token"):
            MageHook(conn_id).client.list_pipelines()


def test_public_api_key_is_the_default(mage, connect):
    MageHook(connect()).client.list_pipelines()

    assert mage.requests[-1].headers["x-api-key"] == mage.api_key


def test_given_token_is_used(mage, connect):
    MageHook(connect()).get_conn()
    [token] = mage.session_tokens()

    MageHook(connect(login=None, password=None, extra={"oauth_token": token})).client.list_pipelines()

    assert mage.log_ins == 1


# Sessions


def test_get_conn_returns_an_authenticated_session(mage, connect):
    connection = MageHook(connect()).get_conn()

    assert isinstance(connection, requests.Session)
    assert mage.log_ins == 1
    pipelines = connection.get(f"{mage.url}/api/pipelines").json()["pipelines"]
    assert [pipeline["uuid"] for pipeline in pipelines] == ["broken_orders", "daily_orders"]


def test_session_has_the_headers_that_authenticate_it_and_outlives_its_token(mage, connect):
    connection = MageHook(connect()).get_conn()
    key, token = connection.headers["X-API-KEY"], connection.headers["OAUTH-TOKEN"]

    by_hand = {"X-API-KEY": key, "OAUTH-TOKEN": token}
    assert requests.get(f"{mage.url}/api/pipelines", headers=by_hand, timeout=5).json()["pipelines"]

    mage.revoke_all_tokens()
    assert connection.get(f"{mage.url}/api/pipelines").json()["pipelines"]
    assert mage.requests[-1].headers["oauth-token"] != token


def test_get_conn_and_client_share_a_session(mage, connect):
    hook = MageHook(connect())

    assert hook.get_conn() is hook.client.session.http
    assert isinstance(hook.client, MageClient)


def test_making_a_hook_costs_nothing(mage, connect):
    hook = MageHook(connect())
    hook.client  # noqa: B018

    assert mage.requests == []


def test_hooks_of_one_connection_share_one_log_in(mage, connect):
    conn_id = connect()
    for _ in range(5):
        MageHook(conn_id).client.list_pipelines()

    assert mage.log_ins == 1


def test_hooks_of_two_connections_to_one_server_share_it_if_the_user_is_the_same(mage, connect):
    for conn_id in (connect(), connect(), connect(login="admin")):
        MageHook(conn_id).client.list_pipelines()

    assert mage.log_ins == 2


@pytest.mark.parametrize("host", ["{url}", "{url}/", "{url}/api", "{bare}"])
def test_base_path_is_kept(connect, host):
    with FakeMage(base_path="deep/down") as server:
        host = host.format(url=server.url, bare=server.url.removeprefix("http://"))
        hook = MageHook(connect(host=host, password=server.password))

        assert hook.client.get_version() == "0.9.80"
        assert hook.client.ui_url == server.url


def test_server_without_authentication_needs_a_host_only(connect):
    with FakeMage(authentication=False) as server:
        hook = MageHook(connect(host=server.url, login=None, password=None))

        assert hook.client.list_pipelines() == []


def test_connection_may_be_given_as_a_uri(mage, monkeypatch):
    host = mage.url.removeprefix("http://")
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", f"mage://admin:{mage.password}@{host}/http?timeout=7")
    hook = MageHook("by_uri")

    assert hook.client.list_pipelines() == ["broken_orders", "daily_orders"]
    assert hook.session.timeout == 7.0


def test_names_that_airflow_looks_for():
    for hook, name in ((MageHook, "mage"), (MageCloudHook, "mage_cloud")):
        assert (hook.conn_type, hook.conn_name_attr) == (name, f"{name}_conn_id")
        assert hook.default_conn_name == f"{name}_default"
        assert getattr(hook(), f"{name}_conn_id") == f"{name}_default"


def test_mage_cloud_is_found_without_a_host(connect):
    hook = MageCloudHook(connect("mage_cloud", host=None))

    assert hook.session.api_url == MAGE_CLOUD_API_URL
    assert hook.session.auth._credentials.api_key == MAGE_CLOUD_API_KEY


def test_mage_cloud_gets_its_token_in_the_cookie(connect):
    with FakeMage(api_key=MAGE_CLOUD_API_KEY) as server:
        hook = MageCloudHook(connect("mage_cloud", host=f"{server.url}/api", password=server.password))
        hook.session.get("pipelines")

        assert server.requests[-1].headers["cookie"].startswith("oauth_token=eyJ")


def test_connection_as_json_text_is_what_the_tests_give(connect, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TEXT", json.dumps({"conn_type": "mage", "host": "mage", "extra": "{}"}))

    assert MageHook("text").session.api_url == "http://mage:6789/api"
