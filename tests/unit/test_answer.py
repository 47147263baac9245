"""What each kind of answer means: "Bad input" as it comes over the wire."""

import json
import re

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage.api.answer import public_url, read_answer, token_was_refused
from airflow_provider_mage.api.auth import Credentials
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import (
    MageAPIError,
    MageAuthError,
    MageError,
    MageNotFoundError,
    MageTransportError,
)
from airflow_provider_mage.api.foreign_text import EXCERPT_LENGTH
from fakes import faults
from fakes.mage import FakeMage

READ = (None, r"/api/pipelines$")


def answer_of(status, body, headers=None):
    response = requests.Response()
    response.status_code = status
    response._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response.headers.update(headers or {})
    response.url = "http://user:pass@mage.test/api/pipelines?api_key=hidden#part"
    response.request = requests.Request("GET", response.url).prepare()
    return response


def error_answer(**error):
    return answer_of(200, {"error": error})


def is_one_sentence(text):
    return "\n" not in text and text.endswith(".") and len(text) < 400


@pytest.mark.parametrize(
    ("fault", "says", "temporary"),
    [
        (
            faults.WEB_PAGE,
            "The server answered with a web page instead of JSON (HTTP 200): check that",
            False,
        ),
        (faults.TRUNCATED_JSON, "not whole JSON (HTTP 200): the answer was cut short", True),
        (faults.EMPTY_BODY, "answered with an empty body (HTTP 200): the answer was cut short", True),
        (faults.TRUNCATED_BODY, "The connection broke before a whole answer came: check", True),
        (faults.CLOSE_BEFORE, "The connection broke before a whole answer came: check", True),
        (faults.RESET_AFTER, "The connection broke before a whole answer came: check", True),
        (faults.LOGIN_REDIRECT, "redirects to '/sign-in', which Mage's API never does: check", False),
        (faults.http_error(500), "with a web page instead of JSON (HTTP 500): see the server's", True),
        (faults.http_error(502), "overloaded or being restarted (HTTP 502): try again later", True),
        (faults.http_error(503), "overloaded or being restarted (HTTP 503): try again later", True),
        (faults.http_error(504), "overloaded or being restarted (HTTP 504): try again later", True),
        (faults.http_error(403), "with a web page instead of JSON (HTTP 403): check that", False),
        (faults.http_error(404), "with a web page instead of JSON (HTTP 404): check that", False),
        (faults.database_locked(), "The database behind Mage was busy or away ((sqlite3.Oper", True),
        (faults.database_away(), "server closed the connection unexpectedly", True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_no_usable_answer_is_explained_in_a_sentence(mage, client, fault, says, temporary):
    client.list_pipelines()
    mage.inject(fault, match=READ)

    with pytest.raises(MageTransportError, match=re.escape(says)) as caught:
        client.list_pipelines()

    assert (caught.value.temporary, caught.value.may_have_arrived) == (
        temporary,
        fault is not faults.LOGIN_REDIRECT,
    )
    assert is_one_sentence(str(caught.value))
    assert str(caught.value).endswith(f" The request was GET {mage.url}/api/pipelines.")


def test_too_many_requests_names_the_pause_and_did_not_arrive(mage, client):
    client.list_pipelines()
    mage.inject(faults.too_many_requests(retry_after=7), match=READ)

    with pytest.raises(MageTransportError) as caught:
        client.list_pipelines()

    assert caught.value.temporary
    assert not caught.value.may_have_arrived
    assert caught.value.retry_after == 7.0


def test_redirect_is_not_followed_and_its_target_sees_no_token(mage, client):
    with FakeMage() as elsewhere:
        client.list_pipelines()
        target = f"{elsewhere.url}/api/pipelines?next=secret"
        redirect = faults.Fault(
            "redirect",
            is_processed=False,
            change=lambda *_: faults.Answer(302, headers={"Location": target}),
        )
        mage.inject(redirect, match=READ)

        with pytest.raises(MageTransportError, match="The server redirects to") as caught:
            client.list_pipelines()

        assert elsewhere.requests == []
    assert "secret" not in str(caught.value)


def test_redirect_target_is_shown_without_user(client):
    answer = answer_of(302, b"", {"Location": "https://me:pass@proxy.test/login?token=x"})

    with pytest.raises(MageTransportError, match=r"redirects to 'https://proxy\.test/login'") as caught:
        read_answer(answer)

    assert "pass" not in str(caught.value)


def test_redirect_to_nowhere_is_still_a_redirect():
    with pytest.raises(MageTransportError, match="redirects to 'an address that cannot be read'"):
        read_answer(answer_of(302, b"", {"Location": "http://[half"}))


def test_refused_connection_did_not_arrive(mage, client):
    client.list_pipelines()
    with mage.down(), pytest.raises(MageTransportError, match="No connection could be made: check") as caught:
        client.list_pipelines()

    assert caught.value.temporary
    assert not caught.value.may_have_arrived
    assert is_one_sentence(str(caught.value))


def test_https_to_a_plain_http_port_names_tls(mage, session):
    one = session(mage, credentials=Credentials())
    one.api_url = one.api_url.replace("http://", "https://")

    with pytest.raises(MageTransportError, match="The host speaks http, not https, on this port") as caught:
        one.get("status")

    assert not caught.value.temporary


def test_unknown_pipeline_is_named(client):
    with pytest.raises(
        MageNotFoundError, match=r"^Pipeline no_such does not exist: check the name\."
    ) as caught:
        client.get_pipeline("no_such")

    assert (caught.value.code, caught.value.type) == (500, None)


def test_missing_record_is_not_blamed_on_the_password(client):
    """After any log-in, Mage's text for every 404 is about e-mail and password."""
    client.session.log_in()

    with pytest.raises(MageNotFoundError, match=r"no such record: check the name or the id\.") as caught:
        client.get_pipeline_schedule(4711)

    assert "assword" not in str(caught.value)
    assert caught.value.type == "record_not_found"


def test_wrong_password_says_whose(mage, session):
    credentials = Credentials(mage.email, "wrong")

    with pytest.raises(MageAuthError, match=r"refused the log-in of 'admin@admin\.com': check") as caught:
        session(mage, credentials=credentials).get("pipelines")

    assert "wrong" not in str(caught.value)
    assert is_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    "user", [{}, {"login": "admin@admin.com", "password": "admin"}], ids=["none", "user"]
)
def test_wrong_api_key_says_where_it_belongs(mage, session, user):
    credentials = Credentials(**user, api_key="not-the-key")

    with pytest.raises(MageAuthError, match=r"refused the API key: set API key .`api_key`.") as caught:
        session(mage, credentials=credentials).get("pipelines")

    assert caught.value.type == "invalid_api_key"
    assert "not-the-key" not in str(caught.value)


@pytest.mark.parametrize("token", ["not-a-token", "eyJhbGciOiJub25lIn0.eyJ0b2tlbiI6ICJ1bndyYXBwZWQifQ."])
def test_refused_token_without_a_log_in_says_so(mage, session, token):
    credentials = Credentials(oauth_token=token)

    with pytest.raises(
        MageAuthError, match=r"\(invalid_oauth_token\): give the connection a login"
    ) as caught:
        session(mage, credentials=credentials).get("pipelines")

    assert token not in str(caught.value)
    assert "unwrapped" not in str(caught.value)


def test_missing_log_in_is_asked_for(mage, session):
    with pytest.raises(MageAuthError, match="the server wants a log-in: give the connection a login"):
        session(mage, credentials=Credentials()).get("pipelines")


def test_a_server_without_log_ins_wants_none_if_its_settings_forbid_something(scripted):
    message = "Unauthorized operation create on pipeline_schedules, failed condition."
    refusal = {"error": {"code": 403, "message": message, "type": "unauthorized_access"}}

    with pytest.raises(MageAuthError, match="a setting of the server, such as DISABLE_NOTEBOOK_EDIT_ACCESS"):
        scripted(refusal).post("pipelines", "p", "pipeline_schedules", json={})


def test_too_small_a_role_is_named(session):
    with FakeMage(role="viewer") as server:
        server.example_pipelines()
        client = MageClient(session(server))

        with pytest.raises(
            MageAuthError, match="the role of the connection's user does not allow this"
        ) as caught:
            client.create_pipeline_schedule("daily_orders", "mine")

    assert caught.value.code == 403


def test_error_with_http_200_is_an_error():
    with pytest.raises(MageAPIError, match=r"error \(code 500\): it broke") as caught:
        read_answer(error_answer(code=500, exception="it broke", message="Traceback ...", errors=["stack"]))

    assert (caught.value.code, caught.value.type, caught.value.reason) == (500, None, "it broke")


def test_stack_of_the_server_is_cut_away():
    stack = 'Traceback (most recent call last):\n  File "/srv/mage.py", line 1, in f\nValueError: the reason'

    with pytest.raises(MageAPIError) as caught:
        read_answer(error_answer(code=500, message=stack, errors=["  File /srv/web.py"]))

    assert caught.value.reason == "ValueError: the reason"
    assert "/srv" not in str(caught.value)


def test_reason_is_one_short_line():
    with pytest.raises(MageAPIError) as caught:
        read_answer(error_answer(code=500, exception="first\n\n  second\t" + "x" * 1000))

    assert caught.value.reason.startswith("first second xxx")
    assert caught.value.reason.endswith("…")
    assert len(caught.value.reason) == EXCERPT_LENGTH


def test_statement_of_a_failed_query_is_cut_away():
    """Its parameters may be a session's token."""
    text = "(psycopg2.errors.Other) no\n[SQL: INSERT INTO t VALUES (%s)]\n[parameters: ('s3cret',)]"

    with pytest.raises(MageAPIError) as caught:
        read_answer(error_answer(code=500, exception=text))

    assert caught.value.reason == "(psycopg2.errors.Other) no"


def test_missing_table_is_not_a_missing_record():
    """As while Mage migrates its database."""
    text = '(psycopg2.errors.UndefinedTable) relation "pipeline_run" does not exist\n[SQL: SELECT 1]'

    with pytest.raises(MageAPIError) as caught:
        read_answer(error_answer(code=500, exception=text))

    assert type(caught.value) is MageAPIError


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [{"error": {"code": 503, "message": "upstream"}}, {"error": "upstream"}, {"fault": 1}, b"[1"]
)
def test_answer_of_a_proxy_is_an_outage_whatever_its_body_says(status, body):
    with pytest.raises(MageTransportError) as caught:
        read_answer(answer_of(status, body))

    assert caught.value.temporary


def test_json_error_of_a_proxy_with_http_500_is_an_outage():
    with pytest.raises(MageTransportError) as caught:
        read_answer(answer_of(500, {"error": "Internal Server Error"}))

    assert caught.value.temporary


@pytest.mark.parametrize(("status", "error_class"), [(401, MageAuthError), (404, MageNotFoundError)])
def test_bare_error_text_is_judged_by_its_http_status(status, error_class):
    with pytest.raises(error_class):
        read_answer(answer_of(status, {"error": "no"}))


@pytest.mark.parametrize("body", [[], ["pipelines"], 3, None, "text"])
def test_json_that_is_no_object_is_not_mage(body):
    with pytest.raises(MageTransportError, match="JSON that is not an object: check that"):
        read_answer(answer_of(200, body))


def test_http_error_without_a_reason_points_at_the_address():
    with pytest.raises(
        MageTransportError, match=r"without saying why .HTTP 404.: check that the connection's host"
    ):
        read_answer(answer_of(404, {"detail": "Not Found"}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("86400", 60.0),  # nobody is kept waiting for a day
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("Wed, 21 Oct 2026", None),
    ],
)
def test_retry_after_is_read_in_seconds(value, seconds):
    with pytest.raises(MageTransportError) as caught:
        read_answer(answer_of(503, {}, {"Retry-After": value}))

    assert caught.value.retry_after == seconds


def test_no_error_shows_user_or_query_of_a_url():
    with pytest.raises(MageError) as caught:
        read_answer(error_answer(code=500))

    assert str(caught.value).endswith(" The request was GET http://mage.test/api/pipelines.")


@given(url=st.text())
def test_any_url_can_be_shown(url):
    assert isinstance(public_url(f"http://{url}"), str)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_errors = st.fixed_dictionaries(
    {
        "error": json_values
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("code", "type", "message", "exception", "errors"), json_values)
        )
    }
)


@given(
    status=st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 418, 429, 500, 503]),
    body=st.binary() | json_values | json_errors,
)
def test_any_answer_is_either_read_or_refused_by_name(status, body):
    response = answer_of(status, body)

    token_was_refused(response)
    try:
        outcome = read_answer(response)
    except MageError as error:
        outcome = error
    assert isinstance(outcome, dict) or str(outcome)
