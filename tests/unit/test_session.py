"""One conversation: what is asked, how long is waited, whom TLS trusts."""

import pytest
import requests
import urllib3

from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.session import MageSession
from fakes import faults

OK = {"pipelines": []}


@pytest.mark.parametrize(
    ("segment", "quoted"),
    [
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("../x", "..%2Fx"),
        ("..%2Fx", "..%252Fx"),
        ("a b+c&d=e", "a%20b%2Bc%26d%3De"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("...", "..."),
        (7, "7"),
    ],
)
def test_segments_of_the_path_stay_segments(scripted, segment, quoted):
    session = scripted(OK)

    session.get("pipelines", segment, "runs")

    assert session.wire.requests[0].url == f"http://mage.test/api/pipelines/{quoted}/runs"


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_segment_that_would_change_the_path_is_refused(scripted, segment):
    session = scripted(OK)

    with pytest.raises(ValueError, match="cannot be the name or id of anything in Mage"):
        session.get("pipelines", segment, "pipeline_schedules")

    assert session.wire.requests == []


def test_slash_at_the_end_of_the_address_does_not_matter(scripted):
    session = scripted(OK, api_url="http://mage.test/base/api/")

    session.get("status")

    assert session.wire.requests[0].url == "http://mage.test/base/api/status"


def test_every_request_has_a_time_limit(mage, session):
    """Also those that a user makes on the raw session."""
    one = session(mage, timeout=0.2)
    one.log_in()
    mage.inject(faults.late_answer(1), times=2, match=("GET", ""))

    with pytest.raises(MageTransportError, match="No answer came in time"):
        one.get("pipelines")
    with pytest.raises(requests.ReadTimeout):
        one.http.get(f"{mage.url}/api/pipelines")


def test_log_in_has_a_time_limit(mage, session):
    mage.inject(faults.late_answer(1), match=("POST", "/sessions$"))

    with pytest.raises(MageTransportError, match=r"No answer came in time.* POST .*/sessions") as caught:
        session(mage, timeout=0.2).get("pipelines")

    assert not caught.value.may_have_arrived


def test_own_time_limit_of_a_raw_request_is_kept(scripted):
    session = scripted(OK)

    session.http.get("http://mage.test/api/status", timeout=3)
    session.http.get("http://mage.test/api/status")

    assert [options["timeout"] for options in session.wire.options] == [3, 30.0]


def test_no_header_of_ours_reveals_more_than_it_must(scripted):
    session = scripted(OK)

    session.get("pipelines")

    assert session.wire.requests[0].headers["Content-Type"] == "application/json"
    assert "Cookie" not in session.wire.requests[0].headers


# TLS, with a certificate that nobody knows


@pytest.fixture
def certificate(authority, tmp_path):
    """The path of the authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def open_session(clock):
    opened = []

    def make(url, **options):
        opened.append(MageSession(url, clock=clock, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.http.close()


def test_certificate_that_nobody_knows_is_not_trusted(tls_url, open_session, clock):
    with pytest.raises(
        MageTransportError, match=r"TLS certificate was not accepted .*set CA bundle"
    ) as caught:
        open_session(tls_url).get("status")

    assert not caught.value.temporary
    assert clock.sleeps == []


def test_certificate_in_the_ca_bundle_is_trusted(tls_url, open_session, certificate):
    assert open_session(tls_url, verify=str(certificate)).get("status") == {"statuses": []}


@pytest.mark.parametrize("environment", [None, "/etc/ssl/certs/ca-certificates.crt"])
def test_verification_can_be_switched_off(tls_url, open_session, monkeypatch, environment):
    """Also where the environment names a CA bundle, which requests prefers to a session's own setting."""
    if environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", environment)
    session = open_session(tls_url, verify=False)

    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert session.get("status") == {"statuses": []}
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert session.http.get(f"{tls_url}/status").ok


def test_file_that_is_no_ca_bundle_is_told(tls_url, open_session, tmp_path):
    path = tmp_path / "empty.pem"
    path.write_text("nothing")

    with pytest.raises(MageTransportError, match="No TLS connection could be made: check"):
        open_session(tls_url, verify=str(path)).get("status")


def test_plain_http_to_a_tls_port_is_an_outage(tls_url, open_session):
    with pytest.raises(MageTransportError, match="The connection broke before a whole answer came"):
        open_session(tls_url.replace("https", "http"), retry_for=0).get("status")
