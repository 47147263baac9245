"""A Mage, fake or real, and plain requests to it."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import requests
import sqlalchemy
from contract.shapes import differences
from contract.tested import DATABASE

from fakes import faults
from fakes.mage import FakeMage
from mage_server import MageServer

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = "Email/username and/or password invalid."
LOOK_SECONDS = 0.05
RUN_SECONDS = 240


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

    def credentials(self, **overrides: str) -> dict[str, str]:
        """Return what the owner logs in with."""
        return {"login": self.server.email, "password": self.server.password, **overrides}

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
            self._execute("DELETE FROM oauth2_access_token WHERE token = :token", token=token)

    def expire(self, token: str) -> None:
        """Let a session be over, which takes a month by itself."""
        if isinstance(self.server, FakeMage):
            self.server._account.expiry_of[token] = self.server.project.clock()
        else:
            statement = "UPDATE oauth2_access_token SET expires = created_at WHERE token = :token"
            self._execute(statement, token=token)
            # What Mage has read it may go on believing until it commits, as it does to look up a record.
            self.wire().get("/pipeline_runs/999999")

    def leave_out(self, run_id: int, block_uuid: str) -> None:
        """Write that a block is left out, as the scheduler does where one before it has failed."""
        if isinstance(self.server, FakeMage):
            rows = self.server.pipeline_runs[run_id].block_runs
            next(row for row in rows if row.block_uuid == block_uuid).status = "upstream_failed"
        else:
            self._execute(
                "UPDATE block_run SET status = 'UPSTREAM_FAILED' "
                "WHERE pipeline_run_id = :run_id AND block_uuid = :block_uuid",
                run_id=run_id,
                block_uuid=block_uuid,
            )

    def add_viewer(self) -> dict[str, str]:
        """Make a user who may only look, with the owner's password."""
        assert not self.is_fake
        self._execute(
            'INSERT INTO "user" (username, email, password_hash, owner) '
            "SELECT 'viewer', 'viewer@mage.invalid', password_hash, false FROM \"user\" WHERE id = 1"
        )
        self._execute(
            'INSERT INTO user_role (user_id, role_id) SELECT "user".id, role.id FROM "user", role '
            "WHERE username = 'viewer' AND name = 'Viewer'"
        )
        return {"username": "viewer", "password": self.server.password}

    def add_editor_of(self, pipeline_uuid: str) -> dict[str, str]:
        """Make a user who may work with one pipeline, with the owner's password; the API cannot (0.9.80)."""
        assert not self.is_fake
        name = f"editor of {pipeline_uuid}"
        self._execute(
            'INSERT INTO "user" (username, email, password_hash, owner) '
            "SELECT :name, 'editor@mage.invalid', password_hash, false FROM \"user\" WHERE id = 1",
            name=name,
        )
        self._execute("INSERT INTO role (name) VALUES (:name)", name=name)
        self._execute(
            "INSERT INTO permission (entity, entity_id, access, entity_name) VALUES ('PIPELINE', :id, 4, '')",
            id=pipeline_uuid,
        )
        self._execute(
            "INSERT INTO role_permission (role_id, permission_id) SELECT role.id, permission.id "
            "FROM role, permission WHERE role.name = :name AND permission.entity_id = :id",
            name=name,
            id=pipeline_uuid,
        )
        self._execute(
            'INSERT INTO user_role (user_id, role_id) SELECT "user".id, role.id FROM "user", role '
            "WHERE username = :name AND role.name = :name",
            name=name,
        )
        return {"login": "editor@mage.invalid", "password": self.server.password}

    @contextmanager
    def lost_database(self) -> Iterator[None]:
        """
        Let Mage store no run: SQLite is locked, PostgreSQL ends the connections of those who try.

        A lock alone would not do on PostgreSQL, where Mage waits for it without end.
        """
        if isinstance(self.server, FakeMage):
            fault = faults.database_away if DATABASE.name == "postgresql" else faults.database_locked
            self.server.inject(fault(), times=None)
            try:
                yield
            finally:
                self.server.heal()
            return
        engine = self.server.database
        if DATABASE.name == "postgresql":
            with engine.begin() as connection:
                # Readers may go on: Mage stays in the transaction of its last read, if need be for ever.
                connection.execute(sqlalchemy.text("LOCK TABLE pipeline_run IN EXCLUSIVE MODE"))
                with self._ending_who_waits():
                    yield
            return
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sqlalchemy.text("BEGIN EXCLUSIVE"))
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text("ROLLBACK"))

    @contextmanager
    def _ending_who_waits(self) -> Iterator[None]:
        """End each connection to the database that waits for a lock."""
        is_over = threading.Event()

        def end_them() -> None:
            while not is_over.wait(LOOK_SECONDS):
                self._execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON oid = database "
                    "WHERE NOT granted AND datname = current_database()"
                )

        thread = threading.Thread(target=end_them)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

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

    def _execute(self, statement: str, **parameters: Any) -> None:
        with self.server.database.begin() as connection:
            connection.execute(sqlalchemy.text(statement), parameters)


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
        give_up = time.monotonic() + RUN_SECONDS
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


def assert_missing(answer: requests.Response) -> None:
    """Expect Mage's 404: the text is that of the last log-in, whatever is missing."""
    assert_refused(answer, 404, "record_not_found", NOBODY)


def assert_database_error(answer: requests.Response, first_words: str) -> None:
    """Expect what Mage's database says no to, with the statement and its parameters."""
    text = answer.json()["error"]["exception"]
    assert_crashed(answer, text)
    assert text.startswith(first_words)
    assert re.search(r"^\[SQL: ", text, re.MULTILINE)
    assert re.search(r"^\[parameters: ", text, re.MULTILINE)
    assert text.splitlines()[-1].startswith("(Background on this error at: https://sqlalche.me/")


def assert_crashed(answer: requests.Response, exception: str) -> None:
    """Expect what Mage did not expect: HTTP 200, and its own stack instead of a reason."""
    error = {"code": 500, "errors": [str], "exception": exception, "message": str}
    assert_shape(answer, {"error": error, "url_parameters": dict})
    text = answer.json()["error"]["message"]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith(f"{exception}\n")
