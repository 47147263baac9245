"""A Mage, fake or real, and plain requests to it."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from contract.shapes import differences

from fakes import faults
from fakes.mage import FakeMage
from fakes.versions import VERSIONS
from mage_server import DEFAULT_ENV, MageServer

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_LIFETIME = 4
MAGE_ENV = Path(os.environ.get("MAGE_ENV", DEFAULT_ENV))
_installed = (path.name for path in MAGE_ENV.glob("lib/*/*/mage_ai-*.dist-info"))
VERSION = VERSIONS[next(_installed, "mage_ai-0.9.80.dist-info")[len("mage_ai-") : -len(".dist-info")]]
"""The version of mage-ai that is tested, and that the fake is told to be."""


@dataclass
class Target:
    """
    A Mage to talk to, fake or real.

    :param pause: Seconds to wait between two looks at it.
    """

    server: FakeMage | MageServer
    url: str
    pause: float

    @property
    def is_fake(self) -> bool:
        return isinstance(self.server, FakeMage)

    def wire(self, *, token: str | None = None) -> Wire:
        headers = {"X-API-KEY": self.server.api_key}
        return Wire(self, headers if token is None else {**headers, "OAUTH-TOKEN": token})

    def jwt(self) -> str:
        """Log in, and return the token as the answer holds it."""
        user = {"email": self.server.email, "password": self.server.password}
        return self.wire().post("/sessions", {"session": user}).json()["session"]["token"]

    def log_in(self) -> Wire:
        """Log in, and speak as the owner."""
        return self.wire(token=unwrap(self.jwt()))

    @cached_property
    def owner(self) -> Wire:
        """Speak as the owner, with one log-in for all: each costs a real server a second."""
        return self.log_in()

    def revoke(self, token: str) -> None:
        """Forget a session, as nobody can over the API."""
        if isinstance(self.server, FakeMage):
            del self.server._account.expiry_of[token]
        else:
            self._execute("DELETE FROM oauth2_access_token WHERE token = ?", token)

    def outlive_tokens(self) -> None:
        """Wait until every token has expired, which takes seconds on the odd Mage and a month on others."""
        if isinstance(self.server, FakeMage):
            self.server.expire_all_tokens()
        else:
            time.sleep(TOKEN_LIFETIME + 0.2)

    def add_viewer(self) -> dict[str, str]:
        """Make a user who may only look, with the owner's password."""
        assert not self.is_fake
        self._execute(
            "INSERT INTO user (id, username, email, password_hash, owner) "
            "SELECT 2, 'viewer', 'viewer@mage.invalid', password_hash, 0 FROM user WHERE id = 1"
        )
        self._execute("INSERT INTO user_role (user_id, role_id) SELECT 2, id FROM role WHERE name = 'Viewer'")
        return {"username": "viewer", "password": self.server.password}

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Keep Mage out of its database."""
        if isinstance(self.server, FakeMage):
            self.server.inject(faults.database_locked(), times=None)
            try:
                yield
            finally:
                self.server.heal()
        else:
            with closing(self._database()) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                try:
                    yield
                finally:
                    connection.execute("ROLLBACK")

    @contextmanager
    def repaired(self) -> Iterator[None]:
        """Let the block check_orders of broken_orders accept anything."""
        if isinstance(self.server, FakeMage):
            broken = self.server.project.pipelines["broken_orders"]
            broken.fails_at = None
            try:
                yield
            finally:
                broken.fails_at = "check_orders"
        else:
            path = self.server.project_dir / "transformers" / "check_orders.py"
            source = path.read_text()
            path.write_text(source.replace("raise ValueError", "print"))
            try:
                yield
            finally:
                path.write_text(source)

    def _database(self) -> sqlite3.Connection:
        path = next(self.server.directory.glob("data/**/mage-ai.db"))
        return sqlite3.connect(path, isolation_level=None, timeout=30)

    def _execute(self, statement: str, *parameters: Any) -> None:
        with closing(self._database()) as connection:
            connection.execute(statement, parameters)


class Wire:
    """Plain requests to a Mage's API, nothing interpreted."""

    def __init__(self, target: Target, headers: dict[str, str]) -> None:
        self.target = target
        self.headers = headers

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        options.setdefault("headers", self.headers)
        return requests.request(method, f"{self.target.url}/api{path}", json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.send("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.send("PUT", path, body, **options)

    def schedule(self, pipeline_uuid: str = "daily_orders", **columns: Any) -> int:
        """Create an active schedule, and return its id."""
        row = {"name": "contract", "schedule_type": "api", "status": "active", **columns}
        answer = self.post(f"/pipelines/{pipeline_uuid}/pipeline_schedules", {"pipeline_schedule": row})
        return answer.json()["pipeline_schedule"]["id"]

    def run(self, schedule_id: int, **columns: Any) -> int:
        """Create a run, and return its id."""
        answer = self.post(f"/pipeline_schedules/{schedule_id}/pipeline_runs", {"pipeline_run": columns})
        return answer.json()["pipeline_run"]["id"]

    def show(self, run_id: int) -> dict[str, Any]:
        return self.get(f"/pipeline_runs/{run_id}").json()["pipeline_run"]

    def wait_for(self, run_id: int, *statuses: str) -> dict[str, Any]:
        """Look at a run until it has one of some statuses."""
        give_up = time.monotonic() + 60
        while (run := self.show(run_id))["status"] not in statuses:
            assert time.monotonic() < give_up, run
            time.sleep(self.target.pause)
        return run


def unwrap(jwt: str) -> str:
    """Return the token proper inside the JWT."""
    payload = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["token"]


def assert_shape(answer: requests.Response, shape: Any, *, status: int = 200) -> None:
    assert answer.headers["Content-Type"].startswith("application/json")
    found = differences(answer.json(), shape)
    assert (answer.status_code, found) == (status, []), "\n".join(found)


def assert_refused(
    answer: requests.Response, code: int, kind: str, message: str, *, status: int = 200
) -> None:
    """Expect what Mage refuses on purpose."""
    error = {"code": code, "message": message, "type": kind}
    assert_shape(answer, {"error": error, "status": status if status == code == 404 else 200}, status=status)


def assert_crashed(answer: requests.Response, exception: str) -> None:
    """Expect what Mage did not expect: HTTP 200, and its own stack instead of a reason."""
    error = {"code": 500, "errors": [str], "exception": exception, "message": str}
    assert_shape(answer, {"error": error, "url_parameters": dict})
    text = answer.json()["error"]["message"]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(f"{exception}\n")
