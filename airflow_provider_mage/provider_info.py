"""
What Airflow learns about this package before it imports any of it.

The connection forms are described here once: Airflow 3.2 and later read ``conn-fields``, earlier ones ask the
hooks, which come back here.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_mage import __version__

_PACKAGE = "airflow_provider_mage"
_MAGE, _MAGE_CLOUD = "Mage", "Mage Cloud"

_OPTIONAL_TEXT = {"type": ["string", "null"]}
_OPTIONAL_SECRET = {"type": ["string", "null"], "format": "password"}

_COMMON_FIELDS: dict[str, dict[str, Any]] = {
    "api_key": {
        "label": "API key",
        "description": "Leave empty for the public key of every Mage.",
        "schema": _OPTIONAL_SECRET,
    },
    "oauth_token": {
        "label": "OAuth token",
        "description": "A session token to use instead of logging in with login and password.",
        "schema": _OPTIONAL_SECRET,
    },
    "verify_ssl": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA bundle. Empty means true.",
        "schema": _OPTIONAL_TEXT,
    },
    "share_login": {
        "label": "Share the log-in",
        "description": "Keep the session token, encrypted, on each worker's disk, for its other tasks. "
        "Empty means true.",
        "schema": _OPTIONAL_TEXT,
    },
    "timeout": {
        "label": "Request timeout (s)",
        "description": "Seconds to wait for an answer to one request. Empty means 30.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
}

_FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "mage": _COMMON_FIELDS,
    "mage_cloud": {
        **_COMMON_FIELDS,
        "team_id": {
            "label": "Team ID",
            "description": "The team whose clusters are meant when a task names none.",
            "schema": _OPTIONAL_TEXT,
        },
    },
}

_BEHAVIOUR: dict[str, dict[str, Any]] = {
    "mage": {
        "hidden-fields": ["extra"],
        "relabeling": {"host": "Host or URL", "login": "E-mail or user name", "schema": "Scheme"},
        "placeholders": {"host": "http://localhost:6789", "schema": "http or https", "port": "6789"},
    },
    "mage_cloud": {
        "hidden-fields": ["extra", "schema"],
        "relabeling": {"host": "API URL", "login": "E-mail"},
        "placeholders": {"host": "https://cloud.mage.ai/api/v1"},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, for the entry point ``apache_airflow_provider``."""
    return {
        "package-name": "airflow-provider-mage",
        "name": "Mage",
        "description": "Run `Mage <https://www.mage.ai/>`__ pipelines as Airflow tasks.",
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


def ui_field_behaviour(conn_type: str) -> dict[str, Any]:
    """Return what is shown in a connection form, and how, as Airflow 2 wants it of a hook."""
    behaviour = _BEHAVIOUR[conn_type]
    return {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def form_widgets(conn_type: str) -> dict[str, Any]:
    """Return the extra fields of a connection form as wtforms fields, as Airflow 2 wants them of a hook."""
    # Airflow 2's web server has these, and only it calls this.
    from flask_appbuilder.fieldwidgets import (  # type: ignore[import-not-found]
        BS3PasswordFieldWidget,
        BS3TextFieldWidget,
    )
    from wtforms import (  # type: ignore[import-untyped]
        IntegerField,
        PasswordField,
        StringField,
    )
    from wtforms.validators import NumberRange, Optional  # type: ignore[import-untyped]

    def widget(field: dict[str, Any]) -> Any:
        options = {"label": field["label"], "description": field["description"]}
        schema = field["schema"]
        if "integer" in schema["type"]:
            limits = [Optional(), NumberRange(min=schema["minimum"])]
            return IntegerField(validators=limits, widget=BS3TextFieldWidget(), **options)
        if schema.get("format") == "password":
            return PasswordField(validators=[Optional()], widget=BS3PasswordFieldWidget(), **options)
        return StringField(validators=[Optional()], widget=BS3TextFieldWidget(), **options)

    return {name: widget(field) for name, field in _FIELDS[conn_type].items()}


def _connection_type(conn_type: str, name: str, hook_class_name: str) -> dict[str, Any]:
    return {
        "connection-type": conn_type,
        "hook-class-name": hook_class_name,
        "hook-name": name,
        "ui-field-behaviour": _BEHAVIOUR[conn_type],
        "conn-fields": _FIELDS[conn_type],
    }


def _modules(integration: str, *modules: str) -> dict[str, Any]:
    return {
        "integration-name": integration,
        "python-modules": [f"{_PACKAGE}.{module}" for module in modules],
    }
