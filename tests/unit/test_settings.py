"""Connections as people write them when they are wrong: one sentence that names connection and field."""

import json
import re
import socket
from importlib.metadata import version

import certifi
import pytest
from airflow.providers.common.compat.sdk import AirflowException
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mage.api.auth import Credentials
from airflow_provider_mage.api.errors import MageAuthError, MageError
from airflow_provider_mage.hooks.extra import NAMES, SettingError
from airflow_provider_mage.hooks.form import STORED_SECRET
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

# Airflow 2.11 warns of an extra that is no object, and takes it.
pytestmark = pytest.mark.filterwarnings("ignore:Encountered .* in `extra`")

HOOKS = [MageHook, MageCloudHook]


def skip_what_airflow_refuses(extra):
    """Airflow 3.1 has no connection for anybody whose extra is a text, but no JSON object."""
    if version("apache-airflow").startswith("3.1.") and isinstance(extra, str) and extra:
        try:
            is_object = isinstance(json.loads(extra), dict)
        except ValueError:
            is_object = False
        if not is_object:
            pytest.skip("Airflow 3.1 refuses this itself")


PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


def use(hook, conn_id):
    """Do what every task does first."""
    return hook(conn_id).client


def fault_of(hook, conn_id):
    """Return what both a task and the Test button say: one names the connection, the other what is wrong."""
    with pytest.raises(SettingError, match=f"^Connection '{conn_id}'") as caught:
        use(hook, conn_id)
    told = caught.value.sentence
    assert str(caught.value).lower() == f"connection '{conn_id}': {told}".lower()
    assert hook(conn_id).test_connection() == (False, f"{caught.value.what}: {told}")
    assert "\n" not in told
    return told


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("[1]", "Extra must be a JSON object"),
        ("5", "Extra must be a JSON object"),
        ('"text"', "Extra must be a JSON object"),
        ("{not", "Extra must be a JSON object"),
        ({"verify_ssl": PEM}, "Verify TLS .`verify_ssl`. holds a certificate itself: write that to a file"),
        ({"verify_ssl": "/no/such/ca.pem"}, "`verify_ssl`. .* '/no/such/ca.pem' is no file"),
        ({"verify_ssl": "/dev/null"}, "`verify_ssl`. .* '/dev/null' is no file"),
        ({"verify_ssl": "a\0b"}, "`verify_ssl`. .* is no file"),
        ({"verify_ssl": "x" * 10_000}, "`verify_ssl`. .* 'xxx.*xxx' is no file"),
        ({"verify_ssl": "/"}, "`verify_ssl`. .* is a folder without certificates"),
        ({"verify_ssl": __file__}, "`verify_ssl`. .* holds no certificates that can be read"),
        ({"verify_ssl": [True]}, "`verify_ssl`. .* not .True."),
        ({"verify_ssl": 2}, "`verify_ssl`. .* not 2"),
        ({"ca_bundle": "/no/such/ca.pem"}, "CA bundle .`ca_bundle`. .* '/no/such/ca.pem' is no file"),
        ({"ca_bundle": PEM}, "CA bundle .`ca_bundle`. holds a certificate itself: write that to a file"),
        ({"ca_bundle": True}, "CA bundle .`ca_bundle`. must be the path of a CA bundle, not True"),
        ({"verify_ssl": "/", "ca_bundle": "/no/such/ca.pem"}, "'/no/such/ca.pem' is no file"),
        ({"api_key": STORED_SECRET}, "API key .`api_key`. is hidden by Airflow's form, .* type it again"),
        (
            {"share_login": "flase"},
            "Share the log-in .`share_login`. must be one of true, .*, false, .*, not 'flase'",
        ),
        ({"share_login": 2}, "`share_login`. .*, not 2"),
        ({"share_login": []}, "`share_login`. .*, not .."),
        ({"timeout": 1e10}, "`timeout`. .* up to 3600, not 10000000000.0"),
        ({"timeout": "NaN"}, "`timeout`. .* not 'NaN'"),
        ('{"timeout": NaN}', "`timeout`. .* not nan"),
        ({"timeout": True}, "`timeout`. .* not True"),
        ({"timeout": "x" * 1000}, "`timeout`. .* not 'xxx.*xxx'"),
        ({"api_key": [1]}, "API key .`api_key`. must be a text, not list"),
        ({"oauth_token": {"token": "s3cret"}}, "OAuth token .`oauth_token`. must be a text, not dict"),
        ({"oauth_token": True}, "OAuth token .`oauth_token`. must be a text, not bool"),
        ({"api_key": "two words"}, "API key .`api_key`. must be one word of ASCII characters"),
        ({"oauth_token": "tökén"}, "OAuth token .`oauth_token`. must be one word of ASCII characters"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_extra_that_cannot_be_meant_is_told(mage, connect, hook, extra, says):
    skip_what_airflow_refuses(extra)

    assert re.search(says, fault_of(hook, connect(hook.conn_type, extra=extra)))
    assert mage.requests == []


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": "a" * 300}, "The host is not a usable address"),
        ({"host": ".".join(["abc"] * 80)}, "The host is not a usable address"),
        ({"host": "mage..example.com"}, "The host is not a usable address"),
        ({"host": "my mage"}, "The host is not a usable address"),
        ({"host": "http://my mage/base"}, "The host is not a usable address"),
        ({"host": "x\u0301" * 80}, "The host is not a usable address"),
        ({"host": "\ufb00.example"}, "The host is not a usable address"),
        ({"host": "*.example"}, "The host is not a usable address"),
        ({"host": "[::1"}, "The host is not a usable address"),
        ({"host": "mage]"}, "The host is not a usable address"),
        ({"host": "ma\nge"}, "The host holds a line end or a control character"),
        ({"host": "ma\x00ge"}, "The host holds a line end or a control character"),
        ({"host": "mage:port"}, "The host is not a usable address"),
        ({"host": "mage:99999"}, "The host is not a usable address"),
        ({"host": "mage", "port": -1}, "The port must be a number up to 65535, not -1"),
        ({"host": "mage", "port": 99999}, "The port must be a number up to 65535, not 99999"),
        ({"host": "ftp://mage"}, "The host must be a name or an http"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_address_that_cannot_be_one_is_told(connect, hook, fields, says):
    assert says in fault_of(hook, connect(hook.conn_type, **fields))


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_bundle_of_the_environment_that_is_gone_is_told(connect, monkeypatch, variable):
    monkeypatch.setenv(variable, "/no/such/ca.pem")
    says = f"`{variable}` in the environment, .* is of no use: '/no/such/ca.pem' is no file"

    assert re.search(says, fault_of(MageHook, connect(host="https://mage.test")))


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        ("http://mage.test", {}),
        ("https://mage.test", {"verify_ssl": False}),
        ("https://mage.test", {"verify_ssl": certifi.where()}),
    ],
)
def test_ca_bundle_that_nobody_asks_does_not_matter(connect, monkeypatch, host, extra):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/ca.pem")

    use(MageHook, connect(host=host, extra=extra))


@pytest.mark.parametrize("extra", ["null", "", " ", "{}", {"verify_ssl": None}])
def test_extra_without_anything_is_none(connect, extra):
    skip_what_airflow_refuses(extra)

    use(MageHook, connect(extra=extra))


def test_misspelt_name_is_pointed_out_and_a_foreign_one_is_not(connect, caplog):
    conn_id = connect(
        extra={"verfy_ssl": False, "Timeout": 5, "extra__mage__share_logn": False, "owner": "me"}
    )
    use(MageHook, conn_id)

    warnings = [record.getMessage() for record in caplog.records if "means nothing" in record.getMessage()]
    assert sorted(warnings) == [
        f"Connection '{conn_id}': extra has 'Timeout', which means nothing; is it 'timeout'?",
        f"Connection '{conn_id}': extra has 'share_logn', which means nothing; is it 'share_login'?",
        f"Connection '{conn_id}': extra has 'verfy_ssl', which means nothing; is it 'verify_ssl'?",
    ]


@pytest.mark.parametrize(
    ("login", "password", "says"),
    [
        ("admin@admin.com\n", "right", ["login"]),
        (" admin@admin.com", "right", ["login"]),
        ("admin@admin.com", "wrong ", ["password"]),
        ("admin ", "wrong\r\n", ["login", "password"]),
        ("admin@admin.com", "wrong", []),
    ],
)
def test_refusal_points_out_a_blank_at_an_end(mage, session, login, password, says):
    credentials = Credentials(login, mage.password if password == "right" else password)

    with pytest.raises(MageAuthError) as caught:
        session(mage, credentials=credentials).get("pipelines")

    told = re.findall(r"The (\w+) begins or ends with a blank or a line end\.", str(caught.value))
    assert told == says
    assert "wrong" not in str(caught.value)


def test_password_may_end_in_a_blank(session):
    from fakes.mage import FakeMage

    with FakeMage(password="ends in a blank ") as server:
        credentials = Credentials(server.email, server.password)

        assert session(server, credentials=credentials).get("pipelines")["pipelines"] == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["true", "flase", "1e10", PEM, "/", "[::1", "a" * 300, "é", "\ud800", "null", "[1]", "0"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


def error_of(call):
    with pytest.raises((ValueError, MageError, AirflowException)) as caught:
        call()
    return caught.value


FIELDS = ("host", "schema", "login", "password", "port", "extra")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("field", [*FIELDS, *(f"extra.{name}" for name in (*NAMES, "other"))])
def test_no_value_in_any_field_makes_an_error_of_another_kind(monkeypatch, tmp_path, hook, field):
    def never(*args, **kwargs):
        raise socket.gaierror("nothing is looked up here")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    name, _, key = field.partition(".")

    @settings(max_examples=25)
    @given(value=JSON)
    def try_it(value):
        conn = {"conn_type": hook.conn_type, "host": "mage.test", "login": "me", "password": "my-password"}
        conn[name] = {key: value} if key else value
        monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps(conn))
        error = error_of(lambda: hook("odd", retry_for=0).client.session.get("clusters"))
        if isinstance(error, AirflowException):
            return  # Airflow itself makes no connection of that
        assert isinstance(error, MageError) or str(error).startswith("Connection 'odd'")
        works, sentence = hook("odd").test_connection()
        # Mage Cloud is not asked about a token that is given.
        assert not works or (key == "oauth_token" and hook is MageCloudHook)
        assert sentence

    try_it()
