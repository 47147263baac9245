"""A Mage Pro cluster for tests: the open-source fake, and what Mage Pro's public documentation adds to it.

Workspaces and deployments are as documented and were never seen; single blocks as on Mage 0.9.79.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fakes.mage import FakeMage
from fakes.messages import Answer, ApiError, Request, UncaughtError

if TYPE_CHECKING:
    from fakes.server import Handler

PATHS = re.compile(r"/api/(workspaces|deployment_settings|runs)(?:/([^/]+))?(?:/deployments(?:/([^/]+))?)?")


class ProApi:
    """The open-source API, and more."""

    def __init__(self, pro: FakeMagePro, open_source: Handler) -> None:
        self.pro = pro
        self.open_source = open_source

    def handle(self, request: Request) -> Answer:
        """Answer a request, and do what it asks for."""
        match = PATHS.fullmatch(request.path)
        if match is None:
            return self.open_source.handle(request)
        resource, name, deployment_id = match.groups()
        try:
            answer: dict[str, Any] = getattr(self, f"_{resource}")(request, name, deployment_id)
        except ApiError as error:
            return error.answer(http_error_codes=False)
        except UncaughtError as error:
            return error.answer({"resource": resource})
        return Answer.of(answer)

    def _workspaces(self, request: Request, name: str | None, _: str | None) -> dict[str, Any]:
        workspaces = self.pro.workspaces
        if name is None and request.method == "GET":
            return {"workspaces": [{"name": one, **workspaces[one]} for one in workspaces]}
        if request.method == "POST":
            name = request.json["workspace"]["name"]
            workspaces[name] = {"status": "running"}
        if name not in workspaces:
            raise UncaughtError(Exception(f"Workspace {name} does not exist."))
        if request.method == "PUT":
            action = request.json["workspace"]["action"]
            workspaces[name]["status"] = {"stop": "stopped", "resume": "running"}.get(action, "running")
        elif request.method == "DELETE":
            del workspaces[name]
            return {"workspace": {"success": True}}
        return {"workspace": {"name": name, **workspaces[name]}}

    def _deployment_settings(
        self, request: Request, name: str | None, deployment_id: str | None
    ) -> dict[str, Any]:
        if name != "prod":
            raise ApiError(404, "Record not found.", "record_not_found")
        if request.method == "POST":
            self.pro.deployments.append(request.json["deployment"])
        number = int(deployment_id or len(self.pro.deployments))
        status = next(self.pro.deployment_statuses, None)
        return {"deployment": {"id": number, "status": status} if status else {"accepted": True}}

    def _runs(self, request: Request, _: str | None, __: str | None) -> dict[str, Any]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in {schedule.token for schedule in self.pro.pipeline_schedules.values()}:
            raise UncaughtError(Exception("No row was found when one was required"))
        run = request.json["run"]
        if run["block_uuid"] == "broken":
            raise UncaughtError(ValueError("the block failed"))
        return {"run": [{"text_data": str(run["variables"]), "type": "text"}]}


class FakeMagePro(FakeMage):
    """A Mage Pro cluster, for as long as its ``with`` block."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.workspaces: dict[str, dict[str, Any]] = {"dev": {"status": "running"}}
        self.deployments: list[dict[str, Any]] = []
        self.deployment_statuses = iter(())
        self._api = ProApi(self, self._api)
