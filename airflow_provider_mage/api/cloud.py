"""
The Mage Cloud API: the clusters of a team.

Described by the Mage Pro API overview; not public, so never seen running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.base_client import BaseClient
from airflow_provider_mage.api.cluster_config import with_env_vars, with_replicas
from airflow_provider_mage.api.models import Cluster

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAGE_CLOUD_API_URL = "https://cloud.mage.ai/api/v1"
"""The base URL (Mage Pro API overview, "Base URL")."""

MAGE_CLOUD_API_KEY = "oMqz2m320NfVERFonfytPFVETfPTHyN5N7db9dLK"
"""The public key of Mage Cloud (Mage Pro API overview, "Authentication")."""

# The two documented statuses of a cluster, and the only ones that are ever sent.
ACTIVE, STOPPED = "Active", "Stopped"


class MageCloudClient(BaseClient):
    """
    The clusters of Mage Cloud.

    Errors are those of :class:`~airflow_provider_mage.api.client.MageClient`. Reads are repeated while that
    may help. A change is not, unless it certainly did not arrive: it holds the cluster's whole config, and
    sent late it would undo what others have changed meanwhile.

    :param session: The authenticated conversation.
    """

    def get_cluster(self, team_id: str, cluster_id: str) -> Cluster:
        """Read a cluster of a team, with its config, or raise a MageNotFoundError."""
        answer = self.session.get("teams", team_id, "clusters", cluster_id)
        return answer.one("cluster", Cluster, id=cluster_id)

    def update_cluster(
        self,
        team_id: str,
        cluster_id: str,
        *,
        config: Mapping[str, Any] | None = None,
        status: str | None = None,
    ) -> Cluster:
        """
        Replace a cluster's config, its status, or both.

        :param team_id: The team it belongs to.
        :param cluster_id: The cluster.
        :param config: The whole config: what it leaves out is gone. The order of its keys is kept.
        :param status: ``Active`` or ``Stopped``.
        :return: The cluster as Mage Cloud answers it: on its way to what was asked for.
        :raises MageTransportError: With ``may_have_arrived`` if it is unknown whether it was changed.
        """
        changes = {"config": config, "status": status}
        body = {"cluster": {name: value for name, value in changes.items() if value is not None}}
        answer = self.session.put("teams", team_id, "clusters", cluster_id, json=body)
        return answer.one("cluster", Cluster, id=cluster_id)

    def start_cluster(self, team_id: str, cluster_id: str, *, replica_count: int = 1) -> Cluster:
        """
        Start a cluster with so many replicas: read it, and send it back with that one change. Does not wait.

        Returns it as Mage Cloud answers: on its way up.
        """
        config = self.get_cluster(team_id, cluster_id).config
        return self.update_cluster(
            team_id, cluster_id, config=with_replicas(config, replica_count), status=ACTIVE
        )

    def stop_cluster(self, team_id: str, cluster_id: str) -> Cluster:
        """
        Stop a cluster: read it, and send it back with that one change. Does not wait.

        Returns it as Mage Cloud answers: on its way down.
        """
        config = self.get_cluster(team_id, cluster_id).config
        return self.update_cluster(team_id, cluster_id, config=with_replicas(config, 0), status=STOPPED)

    def update_cluster_env_vars(
        self,
        team_id: str,
        cluster_id: str,
        env_vars: Mapping[str, str],
        *,
        remove: Collection[str] = (),
        replace: bool = False,
    ) -> Cluster:
        """
        Set and remove environment variables: read the cluster, and send it back with that one change.

        Takes no notice of others who do the same; :mod:`airflow_provider_mage._clusters.env_vars` does.

        :param team_id: The team it belongs to.
        :param cluster_id: The cluster.
        :param env_vars: The variables to set.
        :param remove: The names of those to remove.
        :param replace: Remove every other one, too, that has a plain value.
        :return: The cluster.
        :raises MageNotFoundError: If the team has no such cluster.
        """
        config = self.get_cluster(team_id, cluster_id).config
        changed = with_env_vars(config, env_vars, remove=remove, replace=replace)
        return self.update_cluster(team_id, cluster_id, config=changed)
