"""One cluster of one team, as everything in this package is given it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_mage.api.cloud import MageCloudClient
    from airflow_provider_mage.api.models import Cluster


@dataclass(frozen=True)
class ClusterHandle:
    """
    A cluster.

    :param client: Mage Cloud.
    :param team_id: The team it belongs to.
    :param cluster_id: The cluster.
    """

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


def read_name(value: Any, name: str, *, instead: Any = None) -> str:
    """
    Read the id of a team or a cluster.

    :param value: A text or a number, perhaps out of a template.
    :param name: The argument, for the error.
    :param instead: What holds if there is none.
    :return: The id.
    :raises ValueError: If there is none at all.
    """
    for candidate in (value, instead):
        text = "" if candidate is None else str(candidate).strip()
        if text and text != "None":
            return text
    raise ValueError(f"`{name}` is missing: give it to the task, or check the template it comes from.")
