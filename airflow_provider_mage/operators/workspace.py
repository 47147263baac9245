"""An operator for the workspaces of a Mage Pro cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mage._arguments import read_choice, read_mapping, read_name, read_switch, read_text
from airflow_provider_mage._compat import mask_secret
from airflow_provider_mage._runs.variables import to_json
from airflow_provider_mage.api.pro import WORKSPACE_ACTIONS
from airflow_provider_mage.operators.base import MageOperator
from airflow_provider_mage.operators.hidden import HidesRenderedField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

LONGEST_CONFIG = 1_000_000


class MageUpdateWorkspaceOperator(HidesRenderedField, MageOperator):
    """
    Stops, resumes or changes a workspace of a Mage Pro cluster. Returns the action.

    ``container_config`` may hold values of environment variables, so Airflow keeps nothing of it once it is
    rendered.

    :param workspace_name: The workspace. (templated)
    :param action: ``stop``, ``resume``, ``patch`` or ``add_to_ingress``. (templated)
    :param container_config: For ``patch``: what is to change in its container, as YAML.
        (templated)
    :param lifecycle_config: For ``patch``: its life cycle. (templated)
    :param update_workspace_settings: For ``patch``: whether its stored settings are changed, too.
    :param kwargs: ``mage_conn_id`` (templated), and those of every operator.
    """

    template_fields: Sequence[str] = (
        "workspace_name",
        "action",
        "container_config",
        "lifecycle_config",
        *MageOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"lifecycle_config": "json"}
    hidden_field = "container_config"
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        workspace_name: str,
        action: str,
        container_config: str | None = None,
        lifecycle_config: Mapping[str, Any] | None = None,
        update_workspace_settings: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workspace_name = workspace_name
        self.action = action
        self.container_config = container_config
        self.lifecycle_config = lifecycle_config
        self.update_workspace_settings = (
            None
            if update_workspace_settings is None
            else read_switch(update_workspace_settings, "update_workspace_settings")
        )

    def execute(self, context: Context) -> str:  # noqa: ARG002  # Airflow's signature
        """Do it."""
        name = read_name(self.workspace_name, "workspace_name")
        action = read_choice(self.action, "action", WORKSPACE_ACTIONS)
        fields = self._read_fields()
        if fields and action != "patch":
            raise ValueError(f"`{'`, `'.join(fields)}` only mean something with `action='patch'`.")
        self.hook.pro_client.update_workspace(name, action, **fields)
        self.log.info("Workspace %s: %s done.", name, action)
        return action

    def _read_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        config = self.reveal()
        if isinstance(config, Mapping):  # natively, a template makes one of JSON, which is YAML, too
            config = json.dumps(to_json(config, "`container_config`"))
        if config is not None:
            fields["container_config"] = read_text(config, "container_config", longest=LONGEST_CONFIG)
            mask_secret(fields["container_config"])
        if self.lifecycle_config is not None:
            fields["lifecycle_config"] = to_json(
                read_mapping(self.lifecycle_config, "lifecycle_config"), "`lifecycle_config`"
            )
        if self.update_workspace_settings is not None:
            fields["update_workspace_settings"] = self.update_workspace_settings
        return fields
