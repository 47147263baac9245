"""What the operators about one Mage server share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_mage._arguments import read_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.hooks.mage import MageHook


class ConnectedOperator(BaseOperator):
    """A task about what is on one Mage server."""

    template_fields: Sequence[str] = ("mage_conn_id",)
    ui_color = "#e8e0ff"
    mage_conn_id: str

    @cached_property
    def hook(self) -> MageHook:
        """The connection to Mage."""
        from airflow_provider_mage.hooks.mage import MageHook

        return MageHook(read_name(self.mage_conn_id, "mage_conn_id"))

    @property
    def client(self) -> MageClient:
        """The server's API; it logs in at the first request that needs it."""
        return self.hook.client

    def reconnect(self) -> MageClient:
        """Read the connection anew, also for ``on_kill``, which cannot do so itself; repeats no requests."""
        from airflow_provider_mage.api.retries import ONCE
        from airflow_provider_mage.hooks.mage import MageHook

        hook = MageHook(read_name(self.mage_conn_id, "mage_conn_id"))
        client = hook.client.with_retries(ONCE)
        self.hook = hook
        return client


class MageOperator(ConnectedOperator):
    """
    Such a task, which an author makes.

    :param mage_conn_id: The Airflow connection, of type ``mage``. (templated)
    :param kwargs: Those of every operator.
    """

    def __init__(self, *, mage_conn_id: str = "mage_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mage_conn_id = mage_conn_id
