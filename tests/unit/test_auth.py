"""Who we are to Mage: how often a log-in is made, with what, and who gets to see its token."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests

from airflow_provider_mage.api.auth import Credentials, MageAuth, Token, shared_auth
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAuthError, MageTransportError
from airflow_provider_mage.api.models import User
from airflow_provider_mage.api.session import MageSession
from fakes import faults
from fakes.mage import FakeMage

LOG_IN = ("POST", r"/sessions$")


def jwt_of(**payload):
    parts = [{"alg": "HS256", "typ": "JWT"}, payload, {"not": "checked"}]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )


def given_token(mage):
    """Log in as somebody else would, and return the token proper."""
    body = {"session": {"email": mage.email, "password": mage.password}}
    headers = {"X-API-KEY": mage.api_key}
    session = requests.post(f"{mage.url}/api/sessions", json=body, headers=headers, timeout=5).json()[
        "session"
    ]
    return session["token"], mage.session_tokens()[-1]


# Log-in


def test_many_requests_cost_one_log_in(mage, client):
    for _ in range(20):
        client.list_pipelines()

    assert mage.log_ins == 1
    assert mage.count(*LOG_IN) == 1


def test_log_in_sends_key_and_user_and_nothing_else(mage, client):
    client.list_pipelines()

    [log_in] = mage.requests_of(*LOG_IN)
    assert log_in.json == {"session": {"email": mage.email, "password": mage.password}}
    assert log_in.headers["x-api-key"] == mage.api_key
    assert not {"authorization", "cookie", "oauth-token"} & set(log_in.headers)
    assert log_in.query == {}


def test_requests_carry_the_token_proper_and_not_in_the_url(mage, client):
    client.list_pipelines()

    [read] = mage.requests_of("GET", r"/pipelines$")
    assert read.headers["oauth-token"] == mage.session_tokens()[0]
    assert read.headers["x-api-key"] == mage.api_key
    assert "cookie" not in read.headers
    assert read.query == {}


def test_sessions_of_one_user_share_one_log_in(mage):
    credentials = Credentials(mage.email, mage.password)
    for _ in range(5):
        auth = shared_auth(f"{mage.url}/api", Credentials(mage.email, mage.password))
        assert auth is shared_auth(f"{mage.url}/api", credentials)
        MageSession(f"{mage.url}/api", auth=auth).get("pipelines")

    assert mage.log_ins == 1


@pytest.mark.parametrize(
    "other", [Credentials("somebody", "else"), Credentials("admin@admin.com", "x"), Credentials(api_key="k")]
)
def test_other_users_do_not_share_it(other):
    mine = Credentials("admin@admin.com", "admin")

    assert shared_auth("http://a/api", mine) is not shared_auth("http://a/api", other)
    assert shared_auth("http://a/api", mine) is not shared_auth("http://b/api", mine)


def test_threads_at_a_cold_start_make_one_log_in(mage):
    barrier = threading.Barrier(8)

    def read():
        barrier.wait()
        auth = shared_auth(f"{mage.url}/api", Credentials(mage.email, mage.password))
        return MageSession(f"{mage.url}/api", auth=auth).get("pipelines")

    with ThreadPoolExecutor(8) as threads:
        answers = [thread.result() for thread in [threads.submit(read) for _ in range(8)]]

    assert len(answers) == 8
    assert mage.log_ins == 1


def test_threads_that_lose_their_token_make_one_new_log_in(mage, session):
    one = session(mage)
    one.get("pipelines")
    mage.revoke_all_tokens()
    barrier = threading.Barrier(8)

    def read():
        barrier.wait()
        return one.get("pipelines")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: read(), range(8)))

    assert mage.log_ins == 2


def test_log_in_that_failed_is_made_again(mage, session):
    one = session(mage)
    mage.inject(faults.http_error(503), match=LOG_IN)

    with pytest.raises(MageTransportError):
        one.get("pipelines")

    assert one.get("pipelines")
    assert mage.log_ins == 1


def test_log_in_can_be_made_ahead_of_time(mage, session):
    one = session(mage)
    assert not one.auth.is_logged_in

    one.log_in()

    assert one.auth.is_logged_in
    assert mage.log_ins == 1


@pytest.mark.parametrize(("login", "sent_as"), [("admin@admin.com", "email"), ("admin", "username")])
def test_login_is_an_email_address_or_a_user_name(mage, session, login, sent_as):
    session(mage, credentials=Credentials(login, mage.password)).get("pipelines")

    [log_in] = mage.requests_of(*LOG_IN)
    assert log_in.json["session"][sent_as] == login


def test_user_name_that_only_ldap_knows_is_sent_as_email_too(session):
    with FakeMage(email="ldap-user", username="other") as server:
        session(server, credentials=Credentials("ldap-user", server.password)).get("pipelines")

        sent = [request.json["session"] for request in server.requests_of(*LOG_IN)]
    assert [set(body) for body in sent] == [{"username", "password"}, {"email", "password"}]


def test_wrong_password_of_a_user_name_is_told_once_both_ways_failed(mage, session):
    with pytest.raises(MageAuthError, match="refused the log-in of 'admin'"):
        session(mage, credentials=Credentials("admin", "wrong")).get("pipelines")

    assert mage.count(*LOG_IN) == 2


def test_login_without_password_is_no_log_in(mage, session):
    with pytest.raises(MageAuthError, match="the server wants a log-in"):
        session(mage, credentials=Credentials("admin")).get("pipelines")

    assert mage.count(*LOG_IN) == 0


def test_user_is_who_the_log_in_tells(session):
    with FakeMage(role="viewer") as server:
        one = session(server)
        one.log_in()

    assert one.auth.user == User("admin", "Viewer")


# Authentication switched off


def test_server_without_authentication_needs_no_login(session):
    with FakeMage(authentication=False) as server:
        one = session(server, credentials=Credentials())
        one.get("pipelines")

        assert server.count(*LOG_IN) == 0
    assert not one.auth.is_logged_in


def test_server_without_authentication_accepts_any_login(session):
    with FakeMage(authentication=False) as server:
        one = session(server)
        for _ in range(3):
            one.get("pipelines")

        assert server.count(*LOG_IN) == 1
    assert not one.auth.is_logged_in


def test_server_whose_status_cannot_be_read_does_want_a_log_in(mage, session):
    """Mage Cloud need not have that endpoint."""
    mage.inject(faults.http_error(404), match=("GET", r"/status$"))

    with pytest.raises(MageAuthError, match="refused the log-in"):
        session(mage, credentials=Credentials(mage.email, "wrong")).get("pipelines")


def test_outage_between_refusal_and_status_is_not_blamed_on_the_password(mage, session):
    mage.inject(faults.http_error(503), match=("GET", r"/status$"))

    with pytest.raises(MageTransportError) as caught:
        session(mage, credentials=Credentials(mage.email, "wrong")).get("pipelines")

    assert caught.value.temporary


# Tokens


def test_session_token_that_is_no_jwt_goes_into_the_cookie(mage, session, edited):
    def replace(data):
        data["session"]["token"] = "opaque-token"

    mage.inject(edited(replace), match=LOG_IN)
    one = session(mage, retry_for=0)

    # The fake knows no such cookie and refuses it, and the new log-in brings a real token.
    one.get("pipelines")

    first, second = mage.requests_of("GET", r"/pipelines$")
    assert first.headers["cookie"] == "oauth_token=opaque-token"
    assert "oauth-token" not in first.headers
    assert second.headers["oauth-token"] == mage.session_tokens()[-1]
    assert "cookie" not in second.headers


def test_cookie_can_be_asked_for(mage, session):
    """As the Mage Pro API overview does it."""
    session(mage, use_cookie=True).get("pipelines")

    [read] = mage.requests_of("GET", r"/pipelines$")
    assert read.headers["cookie"].startswith("oauth_token=eyJ")
    assert "oauth-token" not in read.headers


@pytest.mark.parametrize("form", ["as the session answer has it", "raw"])
def test_given_token_is_used_instead_of_a_log_in(mage, session, form):
    jwt, raw = given_token(mage)
    one = session(mage, credentials=Credentials(oauth_token=raw if form == "raw" else jwt))

    one.get("pipelines")

    assert mage.log_ins == 1
    assert mage.requests[-1].headers["oauth-token"] == raw
    assert one.auth.is_logged_in


def test_given_token_is_preferred_to_a_login(mage, session):
    _, raw = given_token(mage)
    session(mage, credentials=Credentials(mage.email, mage.password, oauth_token=raw)).get("pipelines")

    assert mage.log_ins == 1


def test_given_token_that_is_refused_is_replaced_by_a_log_in(mage, session):
    session(mage, credentials=Credentials(mage.email, mage.password, oauth_token="old")).get("pipelines")

    assert mage.log_ins == 1


@pytest.mark.parametrize(
    "payload", [{"token": 5}, {"other": "claim"}, {"token": "inner", "exp": 1}], ids=",".join
)
def test_jwt_is_unwrapped_only_if_it_holds_a_token(mage, payload):
    jwt = jwt_of(**payload)
    headers = MageAuth(f"{mage.url}/api", Credentials(oauth_token=jwt)).headers()

    assert headers["OAUTH-TOKEN"] == ("inner" if payload.get("token") == "inner" else jwt)


@pytest.mark.parametrize("lose", ["revoke_all_tokens", "expire_all_tokens"])
@pytest.mark.parametrize("use_cookie", [False, True])
def test_lost_token_is_renewed_once_and_the_request_replayed(mage, session, lose, use_cookie):
    schedule = mage.pipeline_schedule("daily_orders")
    client = MageClient(session(mage, use_cookie=use_cookie))
    client.list_pipelines()
    getattr(mage, lose)()

    client.create_pipeline_run(schedule.id, {"key": "välue", "n": [1, 2]})

    assert mage.log_ins == 2
    refused, replayed = mage.requests_of("POST", r"/pipeline_runs$")
    assert replayed.body == refused.body
    assert replayed.headers["content-type"] == refused.headers["content-type"] == "application/json"
    [run] = mage.pipeline_runs.values()
    assert (run.variables["key"], run.variables["n"]) == ("välue", [1, 2])


def test_cookie_of_a_server_whose_secret_has_changed_is_renewed(mage, session):
    one = session(mage, use_cookie=True)
    one.get("pipelines")
    mage._account._secret = b"another"

    one.get("pipelines")

    assert mage.log_ins == 2


def test_token_that_expires_again_and_again_is_renewed_each_time(session, clock):
    with FakeMage(token_lifetime=timedelta(0)) as server:
        one = session(server)

        with pytest.raises(MageAuthError, match=r"\(expired_oauth_token\)"):
            one.get("pipelines")

        # One log-in at the start, one renewal, and then no endless loop.
        assert server.log_ins == 2
        assert server.count("GET", r"/pipelines$") == 2
    assert clock.sleeps == []


def test_request_after_a_refused_renewal_tries_again(mage, session):
    one = session(mage)
    one.get("pipelines")
    mage.revoke_all_tokens()
    mage.inject(faults.http_error(503), match=LOG_IN)

    with pytest.raises(MageTransportError):
        one.get("pipelines")

    assert one.get("pipelines")


def test_outage_during_a_renewal_is_waited_for(mage, session):
    schedule = mage.pipeline_schedule("daily_orders")
    client = MageClient(session(mage, retry_for=60))
    client.list_pipelines()
    mage.revoke_all_tokens()
    mage.inject(faults.http_error(503), match=LOG_IN)

    client.create_pipeline_run(schedule.id)

    assert len(mage.pipeline_runs) == 1


def test_password_that_has_changed_is_told(mage, session):
    one = session(mage)
    one.get("pipelines")
    mage.revoke_all_tokens()
    mage._account.password = "new"

    with pytest.raises(MageAuthError, match="refused the log-in"):
        one.get("pipelines")


# What must not be seen


@pytest.mark.parametrize("name", ["api_key", "oauth_token"])
@pytest.mark.parametrize("value", ["s3cret\n", "tw0 words", "\txyz", "schlüssel", "xyz\0"])
def test_secret_that_no_header_can_carry_is_refused_without_quoting_it(name, value):
    """Requests would quote it in its own error."""
    with pytest.raises(ValueError, match=f"`{name}` must be one word of ASCII") as caught:
        Credentials(**{name: value})

    assert value.strip() not in str(caught.value)


def test_repr_shows_no_secret(mage, session):
    credentials = Credentials("me", "pass-word", api_key="the-key", oauth_token="the-token")
    one = session(mage)
    one.get("pipelines")
    token = Token("the-token", in_cookie=True)

    shown = " ".join(map(repr, (credentials, token, one, one.auth, one.http, MageClient(one))))

    for secret in ("pass-word", "the-key", "the-token", mage.password, mage.api_key, *mage.session_tokens()):
        assert secret not in shown
    assert "me" in repr(credentials)


def test_every_token_is_reported_as_soon_as_it_is_known(mage, session):
    secrets = []
    one = session(mage, on_secret=secrets.append)
    one.get("pipelines")
    mage.revoke_all_tokens()
    one.get("pipelines")

    assert set(mage.session_tokens()) <= set(secrets)
    assert len([secret for secret in secrets if secret.startswith("eyJ")]) == 2


def test_given_token_is_reported_in_both_its_forms(mage, session):
    jwt, raw = given_token(mage)
    secrets = []
    session(mage, credentials=Credentials(oauth_token=jwt), on_secret=secrets.append).log_in()

    assert {jwt, raw} <= set(secrets)


@pytest.fixture
def netrc(tmp_path):
    path = tmp_path / ".netrc"
    path.write_text("default login netrc-user password netrc-pass\n")
    path.chmod(0o600)


@pytest.mark.usefixtures("netrc")
def test_netrc_is_not_used(mage, session):
    assert requests.utils.get_netrc_auth(mage.url) == ("netrc-user", "netrc-pass")

    one = session(mage)
    one.get("pipelines")
    mage.inject(redirect_to(f"{mage.url}/api/status"), match=("GET", r"/pipelines$"))
    one.http.get(f"{mage.url}/api/pipelines")

    assert len(mage.requests) == 4
    assert all("authorization" not in request.headers for request in mage.requests)


def redirect_to(url):
    answer = faults.Answer(302, headers={"Location": url})
    return faults.Fault("redirect", is_processed=False, change=lambda *_: answer)


@pytest.mark.parametrize("use_cookie", [False, True])
def test_raw_session_takes_no_secret_to_another_host(mage, session, use_cookie):
    one = session(mage, use_cookie=use_cookie)
    one.log_in()
    with FakeMage() as elsewhere:
        mage.inject(redirect_to(f"{elsewhere.url}/api/pipelines"), match=("GET", r"/pipelines$"))
        one.http.get(f"{mage.url}/api/pipelines", headers={"Authorization": "Bearer mine"})

        [arrived] = elsewhere.requests
    for header in ("x-api-key", "oauth-token", "cookie", "authorization"):
        assert header not in arrived.headers


def test_host_that_a_request_was_redirected_to_cannot_ask_for_a_new_token(mage, session):
    one = session(mage)
    one.log_in()
    with FakeMage() as elsewhere:
        refusal = faults.Answer.of({"error": {"code": 401, "type": "expired_oauth_token"}}, 401)
        elsewhere.inject(faults.Fault("liar", is_processed=False, change=lambda *_: refusal), times=None)
        mage.inject(redirect_to(f"{elsewhere.url}/api/pipelines"), match=("GET", r"/pipelines$"))
        one.http.get(f"{mage.url}/api/pipelines")

        assert len(elsewhere.requests) == 1
    assert mage.log_ins == 1


def test_raw_session_keeps_its_key_on_its_own_host(mage, session):
    one = session(mage)
    one.log_in()
    mage.inject(redirect_to(f"{mage.url}/api/pipeline_schedules"), match=("GET", r"/pipelines$"))

    answer = one.http.get(f"{mage.url}/api/pipelines")

    assert answer.json()["pipeline_schedules"] == []
