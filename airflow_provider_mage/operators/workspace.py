"""An operator for the workspaces of a Mage Pro cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mage._compat import mask_secret
from airflow_provider_mage.api.pro import WORKSPACE_ACTIONS
from airflow_provider_mage.operators.base import MageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context


class MageUpdateWorkspaceOperator(MageOperator):
    """
    Stops, resumes or changes a workspace of a Mage Pro cluster. Returns the action.

    ``container_config`` may hold values of environment variables, so it is masked as soon as it is rendered.

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
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "container_config": "yaml",
        "lifecycle_config": "json",
    }
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
        self.update_workspace_settings = update_workspace_settings

    def render_template(self, content: Any, *args: Any, **options: Any) -> Any:
        """Render a template as ever, and mask ``container_config``."""
        rendered = super().render_template(content, *args, **options)
        if content and content is self.container_config:
            mask_secret(rendered)
        return rendered

    def execute(self, context: Context) -> str:  # noqa: ARG002  # Airflow's signature
        """Do it."""
        fields = {
            "container_config": self.container_config,
            "lifecycle_config": self.lifecycle_config,
            "update_workspace_settings": self.update_workspace_settings,
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        if self.action not in WORKSPACE_ACTIONS:
            raise ValueError(f"`action` must be one of {', '.join(WORKSPACE_ACTIONS)}, not {self.action!r}.")
        if fields and self.action != "patch":
            raise ValueError(f"`{'`, `'.join(fields)}` only mean something with `action='patch'`.")
        self.hook.pro_client.update_workspace(self.workspace_name, self.action, **fields)
        self.log.info("Workspace %s: %s done.", self.workspace_name, self.action)
        return self.action
