"""The hook of the connection type ``mage_cloud``: the clusters of Mage Pro."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY, MAGE_CLOUD_API_URL, MageCloudClient
from airflow_provider_mage.hooks.base import MageBaseHook, missing_log_in
from airflow_provider_mage.hooks.form import form_widgets, ui_field_behaviour
from airflow_provider_mage.hooks.trial import UnfitError

if TYPE_CHECKING:
    from airflow_provider_mage._clusters.goal import ClusterGoal
    from airflow_provider_mage._clusters.view import ClusterView
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.session import MageSession
    from airflow_provider_mage.hooks.trial import Trial


class MageCloudHook(MageBaseHook):
    """
    Connects to Mage Cloud. Checked against a simulation only, as Mage Cloud is not public.

    :param mage_cloud_conn_id: The Airflow connection, of type ``mage_cloud``.
    :param retry_for: Seconds after which a request that could not be answered is not sent again.
    """

    conn_name_attr = "mage_cloud_conn_id"
    default_conn_name = "mage_cloud_default"
    conn_type = "mage_cloud"
    hook_name = "Mage Cloud"
    default_host = MAGE_CLOUD_API_URL
    default_scheme = "https"
    default_api_key = MAGE_CLOUD_API_KEY
    sends_cookie = True

    def __init__(self, mage_cloud_conn_id: str = default_conn_name, *, retry_for: float = 60.0) -> None:
        super().__init__(mage_cloud_conn_id, retry_for=retry_for)
        self.mage_cloud_conn_id = mage_cloud_conn_id

    @cached_property
    def client(self) -> MageCloudClient:
        """The API of Mage Cloud; logs in at the first request."""
        return MageCloudClient(self.session)

    @property
    def team_id(self) -> str | None:
        """The team of tasks that name none; None if the connection names none either."""
        return self._extra.text("team_id")

    def _try(self, session: MageSession, trial: Trial) -> str:  # noqa: ARG002  one request, whose time is set
        session.log_in()
        if not session.auth.is_logged_in:
            raise UnfitError("Credentials", missing_log_in("Mage Cloud"))
        user = self.connection.login if session.auth.user else "the user of the given OAuth token"
        return f"Logged in to {session.api_url} as {user}."

    # Airflow looks for these two in the class itself: inherited ones are not seen (observed).
    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of Airflow before 3.2; later ones read the provider info."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and placeholders for Airflow before 3.2; later ones read the provider info."""
        return ui_field_behaviour(cls.conn_type)


def view_cluster(
    goal: ClusterGoal, *, mage_cloud_conn_id: str, team_id: str, mage_conn_id: str | None
) -> ClusterView:
    """
    Return what a wait for a cluster looks at, by its own API, too, if ``mage_conn_id`` names that.

    Nothing is read yet. Whenever a connection fails, it is read anew.
    """
    from airflow_provider_mage._clusters.view import ClusterView
    from airflow_provider_mage.hooks.mage import MageHook

    def connect_mage() -> MageClient:
        return MageHook(str(mage_conn_id), retry_for=0.0).client

    return ClusterView(
        goal,
        team_id,
        lambda: MageCloudHook(mage_cloud_conn_id, retry_for=0.0).client,
        connect_mage if mage_conn_id is not None else None,
    )
