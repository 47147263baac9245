"""The hook of the connection type ``mage``: one Mage server."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.address import MAGE_PORT
from airflow_provider_mage.api.auth import MAGE_API_KEY
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageTransportError
from airflow_provider_mage.api.pro import MageProClient
from airflow_provider_mage.hooks.base import MageBaseHook, missing_log_in
from airflow_provider_mage.hooks.form import form_widgets, ui_field_behaviour
from airflow_provider_mage.hooks.trial import UnfitError

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import User
    from airflow_provider_mage.api.session import MageSession
    from airflow_provider_mage.hooks.trial import Trial

OLDEST_SUPPORTED = (0, 9, 70)


class MageHook(MageBaseHook):
    """
    Connects to a Mage server.

    :param mage_conn_id: The Airflow connection, of type ``mage``.
    :param retry_for: Seconds after which a request that could not be answered is not sent again.
    """

    conn_name_attr = "mage_conn_id"
    default_conn_name = "mage_default"
    conn_type = "mage"
    hook_name = "Mage"
    default_port = MAGE_PORT
    api_path = "/api"
    default_api_key = MAGE_API_KEY

    def __init__(self, mage_conn_id: str = default_conn_name, *, retry_for: float = 60.0) -> None:
        super().__init__(mage_conn_id, retry_for=retry_for)
        self.mage_conn_id = mage_conn_id

    @cached_property
    def client(self) -> MageClient:
        """The server's API; logs in at the first request that needs it."""
        return MageClient(self.session)

    @cached_property
    def pro_client(self) -> MageProClient:
        """The API of a Mage Pro cluster, if that is what the server is."""
        return MageProClient(self.session)

    def _try(self, session: MageSession, trial: Trial) -> str:
        client, auth = MageClient(session), session.auth
        session.log_in()
        session.timeout = min(session.timeout, trial.time_left())
        status = client.get_status()
        if status.require_user_authentication and not auth.is_logged_in:
            raise UnfitError("Credentials", missing_log_in("the server"))
        session.timeout = min(session.timeout, trial.time_left())
        version = _version(client)
        if not _is_supported(version):
            raise UnfitError("Version", f"the server runs Mage {version}: 0.9.70 or later is needed.")
        user = auth.user
        if user is not None and user.role == "Viewer":
            raise UnfitError(
                "Permission",
                f"the user {user.username or self.connection.login} may look at runs (role Viewer) but not "
                "start any: give it the role Editor.",
            )
        found = [
            f"project {status.project_uuid}" if status.project_uuid else "",
            _describe(user) if auth.is_logged_in else "without log-in",
            f"scheduler {status.scheduler_status}",
        ]
        what = ", ".join(filter(None, found))
        return f"Connected to Mage {version or '(version unknown)'} at {client.ui_url}: {what}."

    # Airflow looks for these two in the class itself: inherited ones are not seen (observed).
    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of Airflow before 3.2; later ones read the provider info."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and placeholders for Airflow before 3.2; later ones read the provider info."""
        return ui_field_behaviour(cls.conn_type)


def _describe(user: User | None) -> str:
    if user is None:
        return "user of the given OAuth token"
    return f"user {user.username or '(name unknown)'} ({user.role or 'no role in the project'})"


def _version(client: MageClient) -> str:
    """Read the version. To tell it, the server looks for its newest release: too slow without Internet."""
    try:
        return client.get_version()
    except MageTransportError:
        return ""


def _is_supported(version: str) -> bool:
    """Whether a version is recent enough; one that cannot be read (a build of Mage's own) is taken to be."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return numbers is None or tuple(map(int, numbers.groups())) >= OLDEST_SUPPORTED
