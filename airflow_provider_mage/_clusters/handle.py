"""One cluster of one team, as everything in this package is given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_mage.api.cloud import MageCloudClient
    from airflow_provider_mage.api.models import Cluster


@dataclass(frozen=True)
class ClusterHandle:
    """A cluster, and the client of Mage Cloud by which it is reached."""

    client: MageCloudClient
    team_id: str
    cluster_id: str

    def read(self) -> Cluster:
        """Read the cluster as it is now."""
        return self.client.get_cluster(self.team_id, self.cluster_id)

    @property
    def name_on_host(self) -> str:
        """A name that everybody on this host who means this cluster comes to."""
        return repr((self.client.session.api_url, self.team_id, self.cluster_id))
