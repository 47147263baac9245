"""The hook of the connection type ``mage``: one Mage server."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from airflow_provider_mage.api.auth import MAGE_API_KEY
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAuthError, MageError, MageTransportError
from airflow_provider_mage.api.pro import MageProClient
from airflow_provider_mage.hooks.base import MageBaseHook
from airflow_provider_mage.provider_info import form_widgets, ui_field_behaviour

OLDEST_SUPPORTED = (0, 9, 70)
# ``project_access`` of a user who may look only (observed).
VIEWER = 8


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

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection, for Airflow's Test button.

        :return: Whether it works, and a sentence: what was found, or which of URL, API key, credentials,
            permission or version is wrong.
        """
        try:
            client = MageClient(self._trial_session())
            auth = client.session.auth
            status = client.get_status()
            if status.require_user_authentication and not auth.is_logged_in:
                return (
                    False,
                    "Credentials: the server wants a log-in; give the connection a login and a password.",
                )
            version = _version(client)
        except MageError as error:
            return False, f"{error.what if isinstance(error, MageAuthError) else 'URL'}: {error}"
        except ValueError as error:
            return False, str(error)
        if not _is_supported(version):
            return False, f"Version: the server runs Mage {version}; 0.9.70 or later is needed."
        if auth.project_access == VIEWER:
            return False, "Permission: the user may look at runs (role Viewer) but not start any."
        user = "without log-in"
        if auth.is_logged_in:
            user = "with the given token" if self.extra.get("oauth_token") else f"as {self.connection.login}"
        scheduler = (
            "" if status.scheduler_status == "running" else f" Its scheduler is {status.scheduler_status}."
        )
        return (
            True,
            f"Connected to Mage {version or '(version unknown)'} at {client.ui_url} {user}.{scheduler}",
        )

    # Airflow looks for these two in the class itself: inherited ones are not seen (observed).
    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of Airflow before 3.2; later ones read the provider info."""
        return form_widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and placeholders for Airflow before 3.2; later ones read the provider info."""
        return ui_field_behaviour(cls.conn_type)


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
