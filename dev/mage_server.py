"""A real Mage server on loopback, for tests and the demo: its own project, home, database and secrets."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import tempfile
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import server_logs
from guard import GuardedProcess
from isolation import LOOPBACK, REPOSITORY, bare_environment, free_ports, wait_until
from repeating import LOST, SERVERS_FAULT, ask_patiently
from server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Engine

EXAMPLE_PROJECT = REPOSITORY / "example_dags" / "mage_project"
KEEP_WORKER_POOL = Path(__file__).resolve().parent / "keep_worker_pool"
DEFAULT_ENV = REPOSITORY / ".envs" / "mage-0.9.80"
PUBLIC_API_KEY = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"  # every Mage has it; no secret
START_SECONDS = 600
REQUEST_SECONDS = 60


def says_busy(answer: requests.Response) -> bool:
    """
    Whether an answer puts the blame on Mage, which it says in the body: the status is 200.

    :param answer: of Mage's API
    :return: true for a code 5xx, and for what is no answer of the API
    """
    try:
        error = answer.json().get("error") or {}
    except ValueError:
        return True
    return int(error.get("code", 0)) >= SERVERS_FAULT


class MageServer(Server):
    """
    A Mage server that lives as long as its ``with`` block, and never longer than this process.

    The owner's password is made up anew each time, so that a test can look for it where it must not be.

    :param database_url: its database, empty at first, as SQLAlchemy takes it; default: the SQLite file that
        Mage makes for itself
    :param overlays: directories that are laid over a copy of the example project, the later ones on top
    :param authentication: whether Mage asks for a log-in
    :param keep_worker_pool: start one run that never ends. On an otherwise idle server Mage's pool of workers
        goes home when it finds nothing to do, and often a job arrives just then: its block stays ``queued``
        until the next job. With one worker always busy the pool stays. Through the API it shows as one more
        pipeline, one schedule and one running run
    :param scheduler_interval: seconds between two rounds of Mage's scheduler (Mage's own default is 10)
    :param env: more environment variables for the server
    :param port: 0 takes a free one; when the port is taken Mage moves to the next one, and `url` says which
    :param mage_env: the virtual environment that Mage is installed in; default: ``$MAGE_ENV``, or the
        Makefile's
    """

    def __init__(
        self,
        database_url: str = "",
        *,
        overlays: Sequence[Path] = (),
        authentication: bool = True,
        keep_worker_pool: bool = True,
        scheduler_interval: int = 1,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        mage_env: Path | None = None,
    ) -> None:
        self.email = "owner@mage.invalid"
        self.username = "mage_owner"
        # `fingerprint` is the part of the password that is the same however the password is quoted or escaped
        self.fingerprint = secrets.token_hex(12)
        self.password = f"pw/{self.fingerprint}+%&"
        self.api_key = PUBLIC_API_KEY
        self.url = ""
        self.authentication = authentication
        self._database_url = database_url
        self._keep_worker_pool = keep_worker_pool
        self._port = port
        self._process: GuardedProcess | None = None
        self._headers = {"X-API-KEY": self.api_key}
        # realpath: Mage reports its project's path with symlinks resolved
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="mage-server-")))
        self.project_dir = self.directory / "project"
        self.log_path = self.directory / "mage.log"
        for source in (EXAMPLE_PROJECT, *((KEEP_WORKER_POOL,) if keep_worker_pool else ()), *overlays):
            shutil.copytree(source, self.project_dir, dirs_exist_ok=True)
        home = self.directory / "home"
        home.mkdir()
        self._bin = (mage_env or Path(os.environ.get("MAGE_ENV", DEFAULT_ENV))).resolve() / "bin"
        self._env = {
            **bare_environment(home=home, bin_dir=self._bin),
            "MAGE_DATA_DIR": str(self.directory / "data"),
            "DISABLE_AUTO_BROWSER_OPEN": "1",
            "SCHEDULER_TRIGGER_INTERVAL": str(scheduler_interval),
            "REQUIRE_USER_AUTHENTICATION": "1" if authentication else "0",
            "DEFAULT_OWNER_EMAIL": self.email,
            "DEFAULT_OWNER_USERNAME": self.username,
            "DEFAULT_OWNER_PASSWORD": self.password,
            **({"MAGE_DATABASE_CONNECTION_URL": database_url} if database_url else {}),
            **(env or {}),
        }

    def start(self) -> None:
        """Start the server and return when it answers, its scheduler runs and its worker pool stays."""
        read_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        port = self._port or free_ports(1)[0]
        self._process = GuardedProcess(
            [
                str(self._bin / "mage"),
                "start",
                str(self.project_dir),
                "--host",
                LOOPBACK,
                "--port",
                str(port),
            ],
            env=self._env,
            cwd=self.directory,
            log_path=self.log_path,
            remove=[self.directory],
        )

        server_logs.watch("Mage", self.log_path)

        self.url = wait_until(
            lambda: self._announced_url(read_from), what="Mage server", timeout=START_SECONDS
        )
        self._port = int(self.url.rpartition(":")[2])
        wait_until(self._is_ready, what="Mage scheduler", timeout=START_SECONDS)
        if self.authentication and "OAUTH-TOKEN" not in self._headers:
            self._headers["OAUTH-TOKEN"] = self._log_in()
        if self._keep_worker_pool and not self.runs(KEEP_WORKER_POOL.name):
            self.start_run(KEEP_WORKER_POOL.name)

    def stop(self) -> None:
        """End the server in good order; its data stay for `start`."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """``kill -9`` the server, its scheduler, its workers and its kernels; its data stay for `start`."""
        if self._process:
            self._process.kill()

    def restart(self) -> None:
        """Stop, if that has not happened, and start again with the same data on the same port."""
        self.stop()
        port = self._port
        self.start()
        if self._port != port:
            raise RuntimeError(f"Port {port} was taken while Mage was down")

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Ask Mage's API something, as the owner.

        While Mage is too busy to answer, it is asked again, unless that might change something twice.

        :param method: HTTP method
        :param path: below ``/api``, with its query
        :param body: sent as JSON
        :return: the answer
        """
        if method not in {"GET", "PUT"}:
            return self._read(self._send(method, path, body))
        return self._read(
            ask_patiently(
                lambda: self._send(method, path, body),
                what=f"{method} {path}",
                repeat_if_lost=True,
                note=partial(server_logs.note, "Mage"),
                is_busy=says_busy,
            )
        )

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        # No session: those of requests are not for several threads.
        return requests.request(
            method, f"{self.url}/api{path}", json=body, headers=self._headers, timeout=REQUEST_SECONDS
        )

    @staticmethod
    def _read(answer: requests.Response) -> dict[str, Any]:
        """
        Read an answer, whose status says nothing.

        :param answer: of Mage
        :return: its JSON object
        :raises RuntimeError: when it says ``error``
        """
        read: dict[str, Any] = answer.json()
        if error := read.get("error"):
            raise RuntimeError(f"Mage: {error.get('code')} {error.get('message')}")
        return read

    def start_run(self, pipeline_uuid: str, variables: Mapping[str, Any] | None = None) -> int:
        """
        Start a run of a pipeline through its schedule "harness", which is made when there is none.

        :param pipeline_uuid: the pipeline
        :param variables: the run's variables
        :return: the run's id
        """
        schedules = f"/pipelines/{pipeline_uuid}/pipeline_schedules"
        ids = [
            row["id"]
            for row in self.request("GET", schedules)["pipeline_schedules"]
            if row["name"] == "harness"
        ]
        if not ids:
            new = {"name": "harness", "schedule_type": "api", "status": "active"}
            ids = [self.request("POST", schedules, {"pipeline_schedule": new})["pipeline_schedule"]["id"]]
        runs = f"/pipeline_schedules/{ids[0]}/pipeline_runs"
        run = self.request("POST", runs, {"pipeline_run": {"variables": dict(variables or {})}})[
            "pipeline_run"
        ]
        return int(run["id"])

    def run(self, pipeline_run_id: int) -> dict[str, Any]:
        """
        A run as Mage's API shows it, with its ``block_runs``.

        :param pipeline_run_id: its id
        :return: the JSON object
        """
        run: dict[str, Any] = self.request("GET", f"/pipeline_runs/{pipeline_run_id}")["pipeline_run"]
        return run

    def runs(self, pipeline_uuid: str) -> list[dict[str, Any]]:
        """
        All runs of a pipeline, whoever started them.

        :param pipeline_uuid: the pipeline
        :return: the JSON objects, newest first
        """
        query = f"pipeline_uuid={pipeline_uuid}&disable_retries_grouping=1&_limit=1000"
        runs: list[dict[str, Any]] = self.request("GET", f"/pipeline_runs?{query}")["pipeline_runs"]
        return runs

    def session_tokens(self) -> list[str]:
        """
        Every session token that this server has ever given out, one for each log-in.

        :return: the raw tokens, out of Mage's database
        """
        return [token for (token,) in self._select("SELECT token FROM oauth2_access_token ORDER BY id")]

    def stored_runs(self) -> list[dict[str, Any]]:
        """
        All runs, out of Mage's database: reading them there takes none of the server's time.

        :return: ``id``, ``status`` and ``variables`` of each, the oldest first
        """
        rows = self._select(
            "SELECT id, CAST(status AS TEXT), CAST(variables AS TEXT) FROM pipeline_run ORDER BY id"
        )
        return [
            {"id": id_, "status": status.lower(), "variables": json.loads(variables or "{}")}
            for id_, status, variables in rows
        ]

    @cached_property
    def database(self) -> Engine:
        """Its database, once it has started."""
        url = self._database_url or f"sqlite:///{next(self.directory.glob('data/**/mage-ai.db'))}"
        # SQLite waits for Mage's own writers
        return create_engine(
            url, poolclass=NullPool, connect_args={} if self._database_url else {"timeout": 60}
        )

    def _select(self, statement: str) -> list[Any]:
        with self.database.connect() as connection:
            return list(connection.execute(text(statement)))

    def _announced_url(self, read_from: int) -> str | None:
        """
        The address that this server's own log announces: a taken port moves Mage to the next one.

        :param read_from: where in the log this start begins
        :return: the URL without a path, or None if it is not there yet
        :raises RuntimeError: when the server has died
        """
        log = self.log_path.read_bytes()[read_from:].decode(errors="replace")
        if self._process is None or not self._process.is_running:
            raise RuntimeError(f"Mage did not start:\n{log[-3000:]}")
        announced = re.search(r"Mage is running at (http://[\d.]+:\d+)", log)
        return announced.group(1) if announced else None

    def _is_ready(self) -> bool:
        try:
            status = self._read(self._send("GET", "/status"))["statuses"][0]
        except (*LOST, ValueError):
            return False
        return bool(status["repo_path"] == str(self.project_dir) and status["scheduler_status"] == "running")

    def _log_in(self) -> str:
        """
        Log in as the owner, whom a Mage that knows no ``DEFAULT_OWNER_...`` (0.9.70) is told of now.

        :return: the session token
        """
        if token := self._new_session_token(self.email, self.password):
            return token
        self._headers["OAUTH-TOKEN"] = self._new_session_token("admin@admin.com", "admin")
        [owner] = self.request("GET", "/users")["users"]
        ours = {
            "email": self.email,
            "username": self.username,
            "password": self.password,
            "password_confirmation": self.password,
            "password_current": "admin",
        }
        self.request("PUT", f"/users/{owner['id']}", {"user": ours})
        return self._new_session_token(self.email, self.password)

    def _new_session_token(self, email: str, password: str) -> str:
        """
        Log in.

        :param email: of the user
        :param password: of the user
        :return: the session token, empty if Mage does not know the user
        """
        answer = requests.post(
            f"{self.url}/api/sessions",
            json={"session": {"email": email, "password": password}},
            headers={"X-API-KEY": self.api_key},
            timeout=30,
        ).json()
        if "session" not in answer:
            return ""
        payload = answer["session"]["token"].split(".")[1]
        token: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["token"]
        return token
