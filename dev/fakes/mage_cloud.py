"""
Mage Cloud as the Mage Pro API overview describes it, on a real HTTP server; its clusters take their time.

Nobody outside Mage has seen the real one's source. Requests and answers follow the documentation's examples
to the letter; what the documentation leaves open follows the open-source server, which Mage Cloud's examples
resemble in every detail: the log-in's answer, its errors with HTTP status 200, the cookie.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fakes.databases import DATABASES
from fakes.messages import HTML, Answer, ApiError, Request, UncaughtError
from fakes.server import FakeServer
from fakes.tokens import Account
from fakes.versions import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_PATH = "/api/v1"
API_KEY = "oMqz2m320NfVERFonfytPFVETfPTHyN5N7db9dLK"
"""The public key of the Mage Pro API overview."""

HTML_404 = b"<html><title>404: Not Found</title><body>404: Not Found</body></html>"


@dataclass
class SimulatedCluster:
    """
    A cluster, and how it comes to what it is told to be.

    :param delay: Seconds from an order until it is carried out.
    :param on_the_way: Its status meanwhile, when it is going up and when it is going down.
    :param breaks_as: The status it ends with instead of ``Active``, if it is to fail.
    """

    id: str
    config: dict[str, Any]
    status: str
    delay: float = 0.0
    on_the_way: tuple[str, str] = ("Starting", "Stopping")
    breaks_as: str | None = None
    target: str | None = None
    due: float = 0.0
    history: list[str] = field(default_factory=list)

    def settle(self, now: float) -> None:
        """Carry out what is due."""
        if self.target is not None and now >= self.due:
            is_broken = self.target == "Active" and self.breaks_as is not None
            self.become(str(self.breaks_as) if is_broken else self.target)
            self.target = None

    def order(self, status: str, now: float) -> None:
        """Be told what to become."""
        if status == self.target or (self.target is None and status == self.status):
            return
        self.target, self.due = status, now + self.delay
        self.become(self.on_the_way[0 if status == "Active" else 1])
        self.settle(now)

    def become(self, status: str) -> None:
        """Take a status."""
        if status != self.status:
            self.status = status
            self.history.append(status)


class CloudApi:
    """The API over some teams and their clusters."""

    def __init__(self, account: Account, clock: Callable[[], float]) -> None:
        self.account = account
        self.clock = clock
        self.teams: dict[str, dict[str, SimulatedCluster]] = {}

    def handle(self, request: Request) -> Answer:
        """Answer a request, and do what it asks for."""
        if not request.path.startswith(f"{BASE_PATH}/"):
            return Answer(404, HTML_404, HTML)
        path = [unquote(part) for part in request.path.removeprefix(f"{BASE_PATH}/").split("/")]
        try:
            return Answer.of(self._answer(request, path))
        except ApiError as error:
            return error.answer(http_error_codes=False)
        except UncaughtError as error:
            return error.answer({"resource": path[0]})

    def _answer(self, request: Request, path: list[str]) -> dict[str, Any]:
        is_logged_in = self.account.check(request, VERSIONS["0.9.80"])
        if (request.method, path) == ("POST", ["sessions"]):
            return {"session": self.account.log_in(request.json["session"], authentication=True)}
        if not is_logged_in:
            raise ApiError(403, "Private access for detail only, invalid scope.", "unauthorized_access")
        if len(path) != 4 or path[::2] != ["teams", "clusters"]:
            raise UncaughtError(Exception(f"No module named 'mage_cloud.api.resources.{path[-1]}'"))
        team = self.teams.get(path[1])
        if team is None:
            raise self.account.not_found()
        now = self.clock()
        for cluster in team.values():
            cluster.settle(now)
        return self._one(request, team, path[3], now)

    def _one(
        self, request: Request, team: dict[str, SimulatedCluster], cluster_id: str, now: float
    ) -> dict[str, Any]:
        cluster = team.get(cluster_id)
        if cluster is None:
            raise self.account.not_found()
        if request.method == "PUT":
            self._update(cluster, request.json["cluster"], now)
        elif request.method != "GET":
            raise ApiError(403, "Unauthorized operation.", "unauthorized_access")
        return {"cluster": _row(cluster)}

    def _update(self, cluster: SimulatedCluster, payload: dict[str, Any], now: float) -> None:
        if "config" in payload:
            cluster.config = copy.deepcopy(payload["config"])
        if "status" in payload:
            cluster.order(payload["status"], now)


def _row(cluster: SimulatedCluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "name": f"cluster {cluster.id}",
        "status": cluster.status,
        "config": cluster.config,
    }


class FakeMageCloud(FakeServer):
    """
    Mage Cloud, for as long as its ``with`` block.

    :param delay: Seconds that a cluster takes to start or stop, unless it has its own.
    :param clock: The time, in seconds.
    """

    def __init__(
        self,
        *,
        email: str = "owner@mage.invalid",
        password: str = "cloudy-4711",  # noqa: S107  made up
        delay: float = 0.0,
        token_lifetime: timedelta = timedelta(days=30),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.email, self.password = email, password
        self.delay = delay
        self._account = Account(
            email,
            email.partition("@")[0],
            password,
            API_KEY,
            "owner",
            token_lifetime,
            lambda: datetime.fromtimestamp(clock(), timezone.utc).replace(tzinfo=None),
            DATABASES["sqlite"],
        )
        self.cloud = CloudApi(self._account, clock)
        super().__init__(self.cloud)

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return self.root + BASE_PATH

    def cluster(
        self,
        cluster_id: str,
        team_id: str = "team-1",
        *,
        status: str = "Stopped",
        config: dict[str, Any] | None = None,
        delay: float | None = None,
        breaks_as: str | None = None,
    ) -> SimulatedCluster:
        """Add a cluster, or replace it."""
        if config is None:
            config = {
                "image": {"tag": "0.9.80", "pullPolicy": "Always"},
                "replicaCount": 1 if status == "Active" else 0,
                "extraEnvs": [
                    {"name": "ENV", "value": "prod"},
                    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}},
                ],
                "zone": None,
            }
        cluster = SimulatedCluster(
            cluster_id, config, status, self.delay if delay is None else delay, breaks_as=breaks_as
        )
        with self._lock:
            self.cloud.teams.setdefault(team_id, {})[cluster_id] = cluster
        return cluster

    def status(self, cluster_id: str, team_id: str = "team-1") -> str:
        """Return the status of a cluster as it is now."""
        with self._lock:
            cluster = self.cloud.teams[team_id][cluster_id]
            cluster.settle(self.cloud.clock())
            return cluster.status

    def env(self, cluster_id: str, team_id: str = "team-1") -> dict[str, Any]:
        """Return the plain environment variables of a cluster."""
        with self._lock:
            entries = self.cloud.teams[team_id][cluster_id].config["extraEnvs"]
            return {entry["name"]: entry.get("value") for entry in entries}

    def session_tokens(self) -> list[str]:
        """Return every token that was ever given out, one for each log-in."""
        return list(self._account.log_ins)

    @property
    def log_ins(self) -> int:
        """How many log-ins succeeded."""
        return len(self._account.log_ins)
