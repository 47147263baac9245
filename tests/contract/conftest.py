"""One Mage for each test, twice: the fake, and a real server."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
import requests
from contract.targets import Target
from contract.tested import DATABASE, VERSION

from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.session import MageSession
from fakes.mage import FakeMage
from mage_server import MageServer
from postgresql import PostgreSQL

BASE_PATH = "a/b"
PASSWORD = "a-word-that-is-nowhere-else"
EAST = timedelta(hours=9)


def pytest_collection_modifyitems(items):
    for item in items:
        if "contract" in item.path.parts:
            item.add_marker("contract")


class RealMage(MageServer):
    """A real server, whose owner is always the same one where a version cannot be told another."""

    def __init__(self, database_url, **options):
        super().__init__(database_url, **options)
        if VERSION.number == "0.9.70":
            self.email, self.username, self.password = "admin@admin.com", "admin", "admin"


class RealMageBelowAPath(RealMage):
    """A real server with ``MAGE_BASE_PATH``; its ``url`` stays the root."""

    def __init__(self, database_url, **options):
        super().__init__(database_url, keep_worker_pool=False, env={"MAGE_BASE_PATH": BASE_PATH}, **options)

    def _is_ready(self):
        try:
            answer = requests.get(f"{self.url}/{BASE_PATH}/api/status", timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == requests.codes.ok


@pytest.fixture(scope="session")
def new_database():
    """Make an empty database for a real server, and return its URL; SQLite makes its own."""
    if DATABASE.name == "sqlite":
        yield lambda name: ""
    else:
        with PostgreSQL() as server:
            yield server.create_database


@contextmanager
def fake(**options):
    with FakeMage(version=VERSION.number, database=DATABASE.name, password=PASSWORD, **options) as server:
        server.example_pipelines()
        yield Target(server, server.url, pause=0)


@pytest.fixture(scope="session")
def fake_mage():
    with fake(polls_to_finish=8) as target:
        yield target


@pytest.fixture(scope="session")
def real_mage(new_database):
    with RealMage(new_database("real")) as server:
        yield Target(server, server.url, pause=0.25)


@pytest.fixture(params=["fake", "real"])
def mage(request):
    """A Mage as most are."""
    return request.getfixturevalue(f"{request.param}_mage")


@pytest.fixture
def wire(mage):
    """Plain requests of the owner's."""
    return mage.owner


@pytest.fixture(scope="module", params=["fake", "real"])
def open_mage(request):
    """A Mage without authentication, below a base path."""
    if request.param == "fake":
        with fake(authentication=False, base_path=BASE_PATH) as target:
            yield target
    else:
        database_url = request.getfixturevalue("new_database")("open")
        with RealMageBelowAPath(database_url, authentication=False) as server:
            yield Target(server, f"{server.url}/{BASE_PATH}", pause=0.25)


@pytest.fixture(scope="module", params=["fake", "real"])
def eastern_mage(request):
    """A Mage nine hours east of Greenwich."""
    if request.param == "fake":
        with fake(utc_offset=EAST) as target:
            yield target
    else:
        database_url = request.getfixturevalue("new_database")("eastern")
        with RealMage(database_url, keep_worker_pool=False, env={"TZ": "Asia/Tokyo"}) as server:
            yield Target(server, server.url, pause=0.25)


@pytest.fixture(scope="session", params=["fake", "real"])
def viewer(request):
    """A user who may only look: the Mage, and what to log in with."""
    if request.param == "fake":
        with fake(role="viewer") as target:
            yield target, {"username": target.server.username, "password": target.server.password}
    else:
        target = request.getfixturevalue("real_mage")
        yield target, target.add_viewer()


@pytest.fixture
def connect():
    """Open clients of a Mage with credentials of their own, or with a log-in that others have made."""
    opened = []

    def open_client(mage, *args, auth=None, **credentials):
        url = f"{mage.url}/api"
        auth = auth or MageAuth(url, Credentials(*args, **credentials))
        opened.append(MageSession(url, auth=auth, retry_for=0))
        return MageClient(opened[-1])

    yield open_client
    for session in opened:
        session.http.close()
