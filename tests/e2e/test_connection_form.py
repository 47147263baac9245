"""The connection form of Airflow 2, as its web server renders it and as it stores what comes back."""

import html
import json
import re

import pytest
import requests
from sqlalchemy import text

from airflow_provider_mage.hooks.form import STORED_SECRET
from airflow_server import AIRFLOW_3

pytestmark = pytest.mark.skipif(AIRFLOW_3, reason="Airflow 3's form is made in the browser: see tests/ui")

SECRET = "an-own-key-4711"
FIELDS = {"api_key": SECRET, "verify_ssl": False, "share_login": "no", "timeout": 12, "team_id": "t1"}


class Form:
    """A connection's page, filled in as it comes."""

    def __init__(self, airflow, conn_id):
        self._web = requests.Session()
        with airflow.database.connect() as database:
            query = text("SELECT id FROM connection WHERE conn_id = :conn_id")
            row = database.execute(query, {"conn_id": conn_id}).scalar_one()
        self._url = f"{airflow.url}/connection/edit/{row}"
        self.page = self._web.get(self._url, timeout=60).text
        self.fields = dict(self._read())

    def _read(self):
        """Yield what a browser would send: of two fields of one name, the later one counts."""
        for tag in re.findall(r"<input[^>]*>", self.page):
            attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            is_off = attributes.get("type") == "checkbox" and "checked" not in tag
            if attributes.get("name") and not is_off:
                yield attributes["name"], html.unescape(attributes.get("value", ""))
        for name, content in re.findall(
            r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>', self.page, re.DOTALL
        ):
            yield name, html.unescape(content).strip()
        yield "conn_type", re.search(r'<option selected value="([^"]+)"', self.page)[1]

    def save(self, **changes):
        fields = {**self.fields, **changes}
        answer = self._web.post(self._url, data=fields, timeout=60, allow_redirects=False)
        assert answer.status_code == 302, answer.text[-3000:]


def extra_of(airflow, conn_id):
    """Read what is stored, each value as text; the API stars it."""
    [row] = json.loads(airflow.cli("connections", "get", conn_id, "--output", "json"))
    return row["extra_dejson"]


@pytest.fixture(params=["mage", "mage_cloud"])
def stored(airflow, request):
    """Store a connection, and return its type, its id, and how to read what is stored of its extra."""
    conn_type = request.param
    conn_id = f"edited_{conn_type}"
    airflow.add_connection(conn_id, conn_type, host="http://mage.invalid", password="pw", extra=FIELDS)
    yield conn_type, conn_id, lambda: extra_of(airflow, conn_id)
    airflow.request("DELETE", f"/connections/{conn_id}")


def test_saving_what_was_not_changed_changes_nothing(airflow, stored):
    conn_type, conn_id, extra = stored
    form = Form(airflow, conn_id)

    assert SECRET not in form.page
    assert form.fields[f"extra__{conn_type}__api_key"] == STORED_SECRET
    form.save()
    after = {name: value for name, value in extra().items() if value not in ("None", "")}
    assert after == {name: str(value) for name, value in {**FIELDS, "share_login": False}.items()}


def test_secret_outlives_a_change_of_something_else_and_can_be_changed(airflow, stored):
    conn_type, conn_id, extra = stored
    Form(airflow, conn_id).save(host="http://other.invalid", **{f"extra__{conn_type}__timeout": "5"})

    assert (extra()["api_key"], extra()["timeout"]) == (SECRET, "5")
    Form(airflow, conn_id).save(**{f"extra__{conn_type}__api_key": "another-key"})
    assert extra()["api_key"] == "another-key"


def test_switch_can_be_switched_on_again(airflow, stored):
    conn_type, conn_id, extra = stored
    Form(airflow, conn_id).save(**{f"extra__{conn_type}__verify_ssl": "y"})

    assert extra()["verify_ssl"] == "True"


def test_path_of_version_0_1_0_moves_to_its_own_field(airflow):
    airflow.add_connection("old", "mage", host="http://mage.invalid", extra={"verify_ssl": "/etc/ca.pem"})
    Form(airflow, "old").save()
    extra = extra_of(airflow, "old")

    assert (extra["verify_ssl"], extra["ca_bundle"]) == ("True", "/etc/ca.pem")
    airflow.request("DELETE", "/connections/old")
