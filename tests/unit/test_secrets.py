"""Secrets that servers echo are starred in everything that is made of their answers."""

import base64
import copy
import html
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage.api import secrets
from airflow_provider_mage.api.auth import Credentials
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAPIError, MageError, from_dict, to_dict
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.triggers.event import make_event
from fakes.mage import FakeMage

SECRET = 'p@ss "wörd" <1>/\\&?'
FORMS = {
    "as it is": str,
    "in a path": lambda text: quote(text, safe=""),
    "in a path with slashes": quote,
    "in a query": quote_plus,
    "in lower case": lambda text: re.sub("%..", lambda match: match[0].lower(), quote_plus(text)),
    "in JSON": lambda text: json.dumps({"key": text}),
    "in JSON with its letters": lambda text: json.dumps([text], ensure_ascii=False),
    "in JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "in Python": lambda text: repr({"key": text}),
    "on a page": html.escape,
    "in the text of a page": lambda text: html.escape(text, quote=False),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    **{
        f"in Basic after {user!r}": lambda text, user=user: base64.b64encode(
            f"{user}:{text}".encode()
        ).decode()
        for user in ("", "a", "me", "you", "admin@example.com")
    },
    "in base64 before others": lambda text: base64.b64encode(f"{text}, and more".encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(f"a:{text}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_secret_is_starred_in_whatever_form(form):
    secrets.learn(SECRET)
    quoted = FORMS[form](SECRET)

    starred = secrets.star(f"before {quoted} after")

    assert "***" in starred
    assert SECRET not in starred
    if "base64" in form or "Basic" in form:
        # Only the characters that depend on what is beside it may be left.
        assert len(starred) <= len("before *** after") + len(quoted) - len(SECRET) * 4 // 3 + 4
    else:
        assert "rd" not in starred


@given(secret=st.text(min_size=5), around=st.text())
def test_any_text_can_be_a_secret_and_is_starred(secret, around):
    secrets.learn(secret)

    assert secret not in secrets.star(around + secret + around) or secret in "***"


@pytest.mark.parametrize("secret", ["", "abcd", None, 12345678, b"bytes-bytes"])
def test_what_is_too_short_or_no_text_is_not_starred(secret):
    secrets.learn(secret)

    assert secrets.star("abcd 12345678 bytes-bytes") == "abcd 12345678 bytes-bytes"


def test_longer_secret_is_starred_whole():
    secrets.learn("secret")
    secrets.learn("secret-and-more")

    assert secrets.star("a secret-and-more, a secret") == "a ***, a ***"


@pytest.mark.parametrize(
    ("text", "starred"),
    [
        ("it is tok-1234…", "it is ***…"),
        ("…-12345678 it is", "…*** it is"),
        ("it is tok…", "it is tok…"),
        ("so it is…", "so it is…"),
    ],
)
def test_what_a_cut_has_left_of_a_secret_is_starred(text, starred):
    secrets.learn("tok-12345678")

    assert secrets.star(text) == starred


def test_register_does_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(secrets, "MOST_SECRETS", 3)
    for number in range(5):
        secrets.learn(f"secret-{number}")

    assert secrets.star("secret-1 secret-2 secret-4") == "secret-1 *** ***"


def test_errors_star_all_their_texts():
    secrets.learn("my-password")
    error = MageAPIError("it is my-password", reason="my-password it is")

    for one in (error, copy.copy(error), from_dict(to_dict(error))):
        assert (str(one), one.reason) == ("it is ***", "*** it is")
    assert "my-password" not in json.dumps(make_event(error, pipeline_run_id=1))


@pytest.mark.parametrize("form", FORMS)
def test_answer_that_echoes_the_password_shows_it_to_nobody(scripted, form):
    session = scripted({"error": {"code": 500, "message": f"cannot use {FORMS[form](SECRET)}!"}})
    session.auth.on_secret(SECRET)

    with pytest.raises(MageError) as caught:
        session.get("pipelines")

    assert "cannot use" in str(caught.value)
    assert FORMS[form](SECRET) not in str(caught.value) + caught.value.reason
    assert "***" in caught.value.reason


def test_what_is_no_error_comes_as_it_is(scripted):
    """A cluster's config, say, which is sent back whole."""
    session = scripted({"cluster": {"config": {"password": SECRET}}})
    session.auth.on_secret(SECRET)

    assert session.get("clusters")["cluster"]["config"]["password"] == SECRET


def test_everything_that_a_connection_knows_is_a_secret(session):
    with FakeMage(password="the-password", api_key="the-api-key") as server:
        server.example_pipelines()
        MageClient(
            session(server, credentials=Credentials(server.email, "the-password", "the-api-key"))
        ).list_pipelines()
        given = Credentials(oauth_token="given-token")
        session(server, credentials=given)
        known = ["the-password", "the-api-key", "given-token", *server.session_tokens()]

    assert [secrets.star(secret) for secret in known] == ["***"] * len(known)


def test_test_button_shows_no_secret_that_the_server_echoes(mage, connect, edited):
    echo = {"code": 500, "message": f"no user with password {mage.password}"}
    mage.inject(edited(lambda data: data.update(error=echo)), times=None, match=("POST", "/sessions$"))

    works, text = MageHook(connect()).test_connection()

    assert not works
    assert text.startswith("Mage: Mage answered with an error (code 500): no user with password ***. The ")


def test_password_that_the_login_shows_anyway_is_not_starred(session, mage):
    """As with Mage's first user: stars in the login would tell the password, and nobody the login."""
    with pytest.raises(MageError, match=r"refused the log-in of 'admin@admin\.com'"):
        session(mage, credentials=Credentials("admin@admin.com", "admin")).get("pipelines")


def test_block_that_prints_the_token_shows_it_to_nobody(mage, session):
    from airflow_provider_mage._runs.report import failure_of

    mage.pipeline("leaky", ["load"], fails_at="load")
    run = mage.pipeline_run(mage.pipeline_schedule("leaky"))
    client = MageClient(session(mage))
    client.list_pipelines()
    [token] = mage.session_tokens()
    mage.finish(run.id, "failed")
    found = client.get_pipeline_run(run.id)
    for block in found.block_runs:
        object.__setattr__(block, "error", f"KeyError: {token}")
        object.__setattr__(block, "status", type(block.status).FAILED)

    assert "KeyError: ***" in str(failure_of(found, "http://mage.test"))
