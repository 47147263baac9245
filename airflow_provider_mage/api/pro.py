"""
The API of a Mage Pro cluster: the open-source one, and what only Mage Pro has.

Workspaces and deployments follow Mage Pro's public documentation and were never seen running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.answer import as_object
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.models import ScheduleToken

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKSPACE_ACTIONS = ("stop", "resume", "patch", "add_to_ingress")


class MageProClient(MageClient):
    """
    A running Mage Pro cluster; errors as in :class:`~airflow_provider_mage.api.client.MageClient`.

    :param session: The authenticated conversation with the cluster.
    """

    # Workspaces

    def list_workspaces(self, **params: Any) -> list[dict[str, Any]]:
        """Read the cluster's workspaces, with filters that Mage takes, such as ``cluster_type``."""
        return list(self._rows(self.session.get("workspaces", **params), "workspaces", as_object))

    def get_workspace(self, name: str, **params: Any) -> dict[str, Any]:
        """Read the workspace of that name, with filters as for :meth:`list_workspaces`."""
        return self.session.get("workspaces", name, **params).member("workspace")

    def create_workspace(self, name: str, **fields: Any) -> dict[str, Any]:
        """Create a workspace, with anything else that Mage takes, such as ``container_config``."""
        answer = self.session.post("workspaces", json={"workspace": {"name": name, **fields}})
        return answer.member("workspace")

    def update_workspace(self, name: str, action: str, **fields: Any) -> dict[str, Any]:
        """
        Stop, resume or change a workspace.

        :param name: Its name.
        :param action: ``stop``, ``resume``, ``patch`` or ``add_to_ingress``.
        :param fields: For ``patch``: ``container_config`` (YAML), ``lifecycle_config`` and
            ``update_workspace_settings``.
        :return: What Mage says of it.
        """
        body = {"workspace": {"action": action, **fields}}
        return self.session.put("workspaces", name, json=body).member("workspace")

    def delete_workspace(self, name: str) -> None:
        """Delete the workspace of that name."""
        self.session.request("DELETE", "workspaces", name)

    # Deployments

    def create_deployment(
        self,
        setting_name: str,
        *,
        branch: str,
        commit: str,
        message: str,
        target_branch: str,
        environment: str,
        target_directory: str | None = None,
    ) -> dict[str, Any]:
        """
        Deploy a git commit.

        :param setting_name: The deployment setting to use.
        :param branch: The branch that the commit is on.
        :param commit: Its SHA.
        :param message: What people see of it, such as the commit's message.
        :param target_branch: The branch in the environment that is deployed to.
        :param environment: That environment, such as ``production``.
        :param target_directory: The directory in it; Mage's own default if None.
        :return: The deployment, as Mage sends it; what it holds is not documented.
        :raises MageTransportError: With ``may_have_arrived`` if nobody knows whether it was started.
        """
        stage: dict[str, Any] = {"branch": {"name": target_branch}, "environment": environment}
        if target_directory is not None:
            stage["target_directory"] = target_directory
        source = {"head": {"name": branch}, "name": message, "version": commit}
        body = {"deployment": {"source": source, "stage": stage}}
        answer = self.session.post("deployment_settings", setting_name, "deployments", json=body)
        return answer.member("deployment")

    def get_deployment(self, setting_name: str, deployment_id: str | int) -> dict[str, Any]:
        """Read a deployment made with a setting. A guess, by the convention that Mage's API follows."""
        answer = self.session.get("deployment_settings", setting_name, "deployments", deployment_id)
        return answer.member("deployment")

    # Single blocks

    def run_block(
        self,
        pipeline_schedule_id: int,
        pipeline_uuid: str,
        block_uuid: str,
        variables: Mapping[str, Any] | None = None,
        *,
        run_upstream_blocks: bool = False,
        incomplete_only: bool = False,
        store_variables: bool = True,
        record: bool = True,
        timeout: float | None = None,
    ) -> Any:
        """
        Run one block, and wait for it: Mage answers when the block is done, and nobody else meanwhile.

        :param pipeline_schedule_id: A pipeline schedule of type ``api``, whose token authorises this.
        :param pipeline_uuid: The pipeline that the block belongs to.
        :param block_uuid: The block.
        :param variables: What the block gets, by name.
        :param run_upstream_blocks: Run the blocks before it, too.
        :param incomplete_only: Of these, only those that have not completed.
        :param store_variables: Keep its output.
        :param record: Let Mage's lists of runs show it.
        :param timeout: Seconds to wait for the answer; by default as for any request.
        :return: The block's output, as Mage sends it.
        :raises MageAPIError: If the block failed; with code 500 on 0.9.80, where this endpoint is broken
            (observed).
        :raises MageTransportError: With ``may_have_arrived`` if nobody knows whether it ran.
        """
        answer = self.session.get("pipeline_schedules", pipeline_schedule_id)
        token = answer.one("pipeline_schedule", ScheduleToken).token
        self.session.auth.on_secret(token)
        body = {
            "run": {
                "pipeline_uuid": pipeline_uuid,
                "block_uuid": block_uuid,
                "variables": dict(variables or {}),
                "record": record,
                "store_variables": store_variables,
                "run_upstream_blocks": run_upstream_blocks,
                "incomplete_only": incomplete_only,
            }
        }
        bearer = {"Authorization": f"Bearer {token}"}
        answer = self.session.request("POST", "runs", json=body, headers=bearer, timeout=timeout)
        return answer.get("run")
