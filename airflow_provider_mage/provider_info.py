"""
What Airflow learns about this package before it imports any of it.

Airflow 3.2 and later read the connection forms here, earlier ones ask the hooks: both get those of
``hooks.form``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_mage import __version__
from airflow_provider_mage.hooks.form import BEHAVIOUR, FIELDS

_PACKAGE = "airflow_provider_mage"
_MAGE, _MAGE_CLOUD = "Mage", "Mage Cloud"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, for the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-provider-mage",
        "name": "Mage",
        "description": "Run Mage pipelines as Airflow tasks.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _MAGE,
                "external-doc-url": "https://docs.mage.ai/",
                "tags": ["service"],
            },
            {
                "integration-name": _MAGE_CLOUD,
                "external-doc-url": "https://docs.mage.ai/",
                "tags": ["service"],
            },
        ],
        "connection-types": [
            _connection_type("mage", _MAGE, f"{_PACKAGE}.hooks.mage.MageHook"),
            _connection_type("mage_cloud", _MAGE_CLOUD, f"{_PACKAGE}.hooks.mage_cloud.MageCloudHook"),
        ],
        "hooks": [
            _modules(_MAGE, "hooks.mage"),
            _modules(_MAGE_CLOUD, "hooks.mage_cloud"),
        ],
        "operators": [
            _modules(
                _MAGE, "operators.pipeline", "operators.cancel", "operators.schedule", "operators.block"
            ),
            _modules(_MAGE, "operators.workspace", "operators.deployment"),
            _modules(_MAGE_CLOUD, "operators.cluster", "operators.cluster_scope"),
        ],
        "sensors": [
            _modules(_MAGE, "sensors.pipeline"),
            _modules(_MAGE_CLOUD, "sensors.cluster"),
        ],
        "triggers": [
            _modules(_MAGE, "triggers.pipeline"),
            _modules(_MAGE_CLOUD, "triggers.cluster"),
        ],
        # On Airflow 2.11, one that is missing hides all links of a task (observed).
        "extra-links": [
            f"{_PACKAGE}.links.{name}"
            for name in ("MagePipelineRunLink", "MagePipelineLink", "MageBlockLogLink")
        ],
    }


def _connection_type(conn_type: str, name: str, hook_class_name: str) -> dict[str, Any]:
    return {
        "connection-type": conn_type,
        "hook-class-name": hook_class_name,
        "hook-name": name,
        "ui-field-behaviour": BEHAVIOUR[conn_type],
        "conn-fields": FIELDS[conn_type],
    }


def _modules(integration: str, *modules: str) -> dict[str, Any]:
    return {
        "integration-name": integration,
        "python-modules": [f"{_PACKAGE}.{module}" for module in modules],
    }
