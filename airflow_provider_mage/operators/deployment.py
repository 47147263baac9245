"""An operator that deploys a git commit to a Mage Pro cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import (
    read_name,
    read_optional_name,
    read_seconds,
    read_switch,
    read_text,
)
from airflow_provider_mage.api.errors import MageAuthError, MageError, MageTransportError
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.api.pro import MageProClient

DONE = ("success", "succeed", "complete", "deployed", "done")
FAILED = ("fail", "error", "cancel")

LONGEST_MESSAGE = 10_000

# Arguments that have to be there.
NAMES = ("setting_name", "branch", "commit", "target_branch", "environment")


class MageDeployOperator(MageOperator):
    """
    Deploys a git commit to a Mage Pro cluster. Returns what Mage says of the deployment.

    Mage's documentation does not say what that is. If it has an id and a status, the task waits until that
    sounds like an end; else it is green once Mage has accepted the deployment, and its log says so.

    :param setting_name: The deployment setting, as the cluster's page ``/apps/deploy`` names it. (templated)
    :param commit: The commit's SHA. (templated)
    :param branch: The branch it is on. (templated)
    :param target_branch: The branch in the environment that is deployed to. (templated)
    :param environment: That environment, such as ``production``. (templated)
    :param message: What people see of it; by default which task deploys it. (templated)
    :param target_directory: The directory in it; Mage's own default if None. (templated)
    :param wait_for_completion: Whether the task waits if Mage tells how the deployment stands.
    :param poll_interval: The pause between two looks, in seconds or as a timedelta.
    :param timeout: How long to wait before the task fails, likewise.
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = (
        "setting_name",
        "commit",
        "branch",
        "message",
        "target_branch",
        "environment",
        "target_directory",
        *MageOperator.template_fields,
    )
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        setting_name: str,
        commit: str,
        branch: str,
        target_branch: str,
        environment: str,
        message: str = "Deployed by Airflow: {{ dag.dag_id }} / {{ run_id }}",
        target_directory: str | None = None,
        wait_for_completion: bool = True,
        poll_interval: float | timedelta = 10.0,
        timeout: float | timedelta = 1800.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.setting_name = setting_name
        self.commit = commit
        self.branch = branch
        self.message = message
        self.target_branch = target_branch
        self.environment = environment
        self.target_directory = target_directory
        self.wait_for_completion = read_switch(wait_for_completion, "wait_for_completion")
        self.poll_interval = read_seconds(poll_interval, "poll_interval")
        self.timeout = read_seconds(timeout, "timeout")

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002  # Airflow's signature
        """Deploy the commit, and wait if there is something to wait for."""
        names = {name: read_name(getattr(self, name), name) for name in NAMES}
        message = read_text(self.message, "message", longest=LONGEST_MESSAGE)
        target_directory = read_optional_name(self.target_directory, "target_directory")
        client = self.hook.pro_client
        try:
            deployment = client.create_deployment(**names, message=message, target_directory=target_directory)
        except MageTransportError as error:
            if not error.may_have_arrived:
                raise
            raise MageError(
                f"It is unknown whether Mage deploys commit {self.commit}, and its API does not tell: see "
                f"the cluster's page /apps/deploy. {error}"
            ) from error
        if self.wait_for_completion:
            deployment = self._wait(client, names["setting_name"], deployment)
        return deployment

    def _wait(self, client: MageProClient, setting_name: str, deployment: dict[str, Any]) -> dict[str, Any]:
        deadline = client.clock.monotonic() + self.timeout
        has_been_read = False
        while True:
            status = str(deployment.get("status") or "").casefold()
            deployment_id = deployment.get("id") or deployment.get("uuid")
            if not status or deployment_id is None:
                self.log.info("Mage has accepted commit %s, and does not tell how it goes on.", self.commit)
                return deployment
            if any(word in status for word in FAILED):
                raise MageError(f"Deployment {deployment_id} of commit {self.commit} is {status!r}.")
            if any(word in status for word in DONE):
                self.log.info("Deployment %s of commit %s is %r.", deployment_id, self.commit, status)
                return deployment
            if client.clock.monotonic() > deadline:
                raise TimeoutError(
                    f"Timed out: deployment {deployment_id} of commit {self.commit} is {status!r}."
                )
            client.clock.sleep(self.poll_interval)
            try:
                deployment, has_been_read = client.get_deployment(setting_name, deployment_id), True
            except MageError as error:
                if error.may_pass:
                    self.log.warning("Cannot read deployment %s. Retrying. %s", deployment_id, error)
                elif has_been_read or isinstance(error, MageAuthError):
                    raise
                else:  # that it can be read at all is a guess
                    self.log.warning(
                        "Mage has accepted commit %s, and does not tell how it goes on. %s",
                        self.commit,
                        error,
                    )
                    return deployment
