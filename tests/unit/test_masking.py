"""What Airflow's own secrets masker knows once a hook has been used."""

import pytest

from airflow_provider_mage.api import auth
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from fakes.mage import FakeMage

try:
    from airflow.sdk.log import redact
except ImportError:
    from airflow.utils.log.secrets_masker import redact


def is_masked(secret):
    return "***" in redact(f"before {secret} after") and secret not in redact(f"before {secret} after")


@pytest.fixture
def server():
    """A server whose secrets no other test has had masked."""
    with FakeMage(password="unmasked-password-1", api_key="unmasked-api-key-1") as fake:
        fake.example_pipelines()
        yield fake


def test_masker_leaves_other_texts_alone(server):
    assert not is_masked("an ordinary word")


def test_password_and_key_are_masked_as_soon_as_the_connection_is_read(connect):
    conn_id = connect(password="pass-of-connection", extra={"api_key": "key-of-connection"})
    assert not is_masked("pass-of-connection")

    MageHook(conn_id).connection  # noqa: B018

    assert is_masked("pass-of-connection")
    assert is_masked("key-of-connection")


def test_given_token_is_masked_as_soon_as_the_connection_is_read(connect):
    MageHook(connect(extra={"extra__mage__oauth_token": "token-of-connection"})).connection  # noqa: B018

    assert is_masked("token-of-connection")


@pytest.mark.parametrize("hook", [MageHook, MageCloudHook])
def test_tokens_of_a_log_in_are_masked(server, connect, hook):
    conn_id = connect(
        hook.conn_type,
        host=f"{server.url}/api",
        password=server.password,
        extra={"api_key": server.api_key},
    )
    connection = hook(conn_id).get_conn()
    sent = connection.get(f"{server.url}/api/pipelines").request.headers

    assert is_masked(sent.get("OAUTH-TOKEN") or sent["Cookie"].partition("=")[2])


def test_tokens_of_a_renewed_log_in_are_masked(server, connect):
    hook = MageHook(connect(host=server.url, password=server.password, extra={"api_key": server.api_key}))
    hook.client.list_pipelines()
    server.revoke_all_tokens()
    hook.client.list_pipelines()

    first, second = server.session_tokens()
    assert first != second
    assert is_masked(first)
    assert is_masked(second)


def test_token_that_another_process_has_left_on_disk_is_masked(server, connect, monkeypatch, tmp_path):
    conn_id = connect(host=server.url, password=server.password, extra={"api_key": server.api_key})
    hook = MageHook(conn_id)
    hook.client.list_pipelines()
    unmasked = []
    monkeypatch.setattr("airflow_provider_mage.hooks.base.mask_secret", unmasked.append)

    # As in another process: nothing is shared but the disk.
    auth._auth_of.cache_clear()
    MageHook(conn_id).client.list_pipelines()

    assert server.log_ins == 1
    assert server.session_tokens()[0] in unmasked


def test_repr_of_a_hook_shows_no_secret(mage, connect):
    hook = MageHook(connect(extra={"api_key": mage.api_key}))
    hook.client.list_pipelines()

    shown = " ".join(map(repr, (hook, hook.client, hook.session, hook.session.auth, hook.get_conn())))

    for secret in (mage.password, mage.api_key, *mage.session_tokens()):
        assert secret not in shown
