"""The wire is the seam: everything above it is real, and time is the test's own."""

from __future__ import annotations

import io
import json
import random
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from hypothesis import HealthCheck, settings
from requests.adapters import BaseAdapter

from airflow_provider_mage.api import auth, host_folder, secrets, token_cache
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.session import MageSession
from fakes import faults
from fakes.mage import FakeMage

PASSWORD = "sesame-4711"

# A busy machine is no failure, and a red build should be about the change that it builds.
settings.register_profile(
    "unit", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def no_log_in_of_another_test(monkeypatch, tmp_path):
    """What a process, a user or a shell remembers would reach from test to test, or in from outside."""
    auth._auth_of.cache_clear()
    host_folder._said.clear()
    monkeypatch.setitem(token_cache.COST, "n", 2**8)  # a fifth of a second each is for whoever has a secret
    monkeypatch.setattr(secrets, "_forms", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    proxies = (f"{scheme}_proxy" for scheme in ("http", "https", "all"))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", "no_proxy", *proxies):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
    auth._auth_of.cache_clear()


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 1_000_000.0
        self.sleeps = []

    def time(self):
        return self.now

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def mage():
    """A Mage server with the two example pipelines, whose runs move only when told to."""
    with FakeMage(password=PASSWORD, polls_to_finish=None) as server:
        server.example_pipelines()
        yield server


@pytest.fixture
def edited():
    """Make a fault that changes the JSON of Mage's own answer on its way back."""

    def make(change):
        def edit(request, answer):
            data = json.loads(answer.body)
            change(data)
            return faults.Answer.of(data)

        return faults.Fault("edited", is_processed=True, change=edit)

    return make


@pytest.fixture
def session(clock):
    """Make a session with a Mage server: logged in as its user unless told otherwise."""
    opened = []

    def open_session(server, *, credentials=None, retry_for=0.0, timeout=5.0, **auth_options):
        url = f"{server.url}/api"
        user = credentials or Credentials(server.email, server.password)
        mage_auth = MageAuth(url, user, timeout=timeout, **auth_options)
        opened.append(MageSession(url, auth=mage_auth, timeout=timeout, retry_for=retry_for, clock=clock))
        return opened[-1]

    yield open_session
    for one in opened:
        one.http.close()


@pytest.fixture
def client(mage, session):
    """A client that tries everything once."""
    return MageClient(session(mage))


@pytest.fixture(scope="session")
def authority():
    """A certificate authority that nobody knows."""
    return trustme.CA()


class _EmptyMage(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"statuses": []}')

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture
def tls_url(authority):
    """A server that speaks TLS, with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EmptyMage)
    server.handle_error = lambda *_: None
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Wire(BaseAdapter):
    """
    Answers from a script: raises an exception, sends a mapping as JSON, a tuple as status, body, headers.

    The last entry stays for all that follow.
    """

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)
        self.requests = []
        self.options = []

    def send(self, request, **options):
        self.requests.append(request)
        self.options.append(options)
        entry: Any = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(entry, Exception):
            raise entry
        status, body, headers = (200, entry, {}) if isinstance(entry, Mapping) else (*entry, {}, {})[:3]
        response = requests.Response()
        response.status_code = status
        response.headers.update(headers)
        response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        response.url, response.request, response.connection = request.url, request, self
        return response

    def close(self):
        """Nothing is open."""


@pytest.fixture
def scripted(clock):
    """Make a session without log-in over a scripted wire."""

    def open_session(*script, retry_for=60.0, api_url="http://mage.test/api"):
        one = MageSession(api_url, retry_for=retry_for, clock=clock)
        one.wire = Wire(*script)
        one.http.mount(f"{urlsplit(api_url).scheme}://", one.wire)
        return one

    return open_session


@pytest.fixture
def connect(mage, monkeypatch):
    """Give Airflow a connection, and return its id: to the fake Mage and its user unless told otherwise."""

    def make(conn_type="mage", **fields):
        fields = {"host": mage.url, "login": mage.email, "password": mage.password, **fields}
        conn_id = f"{conn_type}_{random.getrandbits(32):x}"
        conn = {
            "conn_type": conn_type,
            **{name: value for name, value in fields.items() if value is not None},
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(conn))
        return conn_id

    return make


class TaskInstance:
    """The part of a task instance that operators use."""

    dag_id, task_id, run_id, map_index = "some_dag", "some_task", "manual__1", -1

    def __init__(self):
        self.try_number, self.max_tries = 1, 0
        self.xcoms = {}

    def xcom_push(self, key, value):
        self.xcoms[key] = value


@pytest.fixture
def context():
    """What Airflow hands to an operator, in the first attempt of a task of a DAG run without dates."""
    return {"ti": TaskInstance(), "dag_run": None, "logical_date": None}
