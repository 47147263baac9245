"""One cluster as those see it who wait for it: in Mage Cloud, and by its own API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mage._clusters.activity import active_runs, describe_runs
from airflow_provider_mage._clusters.watch import Obstacle
from airflow_provider_mage._waiting.connected import Connected
from airflow_provider_mage.api.errors import MageAuthError, MageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_mage._clusters.goal import ClusterGoal
    from airflow_provider_mage._clusters.watch import AskCluster
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.cloud import MageCloudClient
    from airflow_provider_mage.api.models import Cluster


class ClusterView:
    """
    Looks at one cluster for one wait, by Airflow connections that may be corrected meanwhile.

    :param goal: What is waited for.
    :param team_id: The team that the cluster belongs to.
    :param connect_cloud: Makes a client of Mage Cloud from the connection as it is now, which should not
        repeat requests itself.
    :param connect_mage: Makes one of the cluster's own API, likewise; None if that has no say in it.
    """

    def __init__(
        self,
        goal: ClusterGoal,
        team_id: str,
        connect_cloud: Callable[[], MageCloudClient],
        connect_mage: Callable[[], MageClient] | None,
    ) -> None:
        self._goal = goal
        self._team_id = team_id
        self._cloud = Connected(connect_cloud)
        self._mage = Connected(connect_mage) if connect_mage else None

    def look(self) -> Cluster:
        """
        Read the cluster in Mage Cloud.

        :return: The cluster.
        :raises MageError: If it cannot be read.
        """
        return self._cloud.ask(lambda client: client.get_cluster(self._team_id, self._goal.cluster_id))

    def ask(self, step: AskCluster) -> Obstacle | None:
        """
        Ask the cluster itself whether it can be used, or is idle, and return what is in the way, if any.

        One that answers, but not to this user, raises a MageAuthError: that will not change by waiting.
        """
        if self._mage is None:
            return (
                Obstacle("cannot be seen to be idle without `mage_conn_id`")
                if self._goal.wants_idle
                else None
            )
        try:
            if not self._goal.wants_idle:
                self._mage.ask(lambda client: client.get_status())
                return None
            runs = self._mage.ask(active_runs)
        except MageAuthError:
            raise
        except MageError as error:
            return Obstacle(f"is {step.cluster.status!r}, but its own API does not answer. {error}")
        return Obstacle(f"is busy with {describe_runs(runs)}") if runs else None
