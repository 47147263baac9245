"""
The connection forms, described once, for Airflow 3.2 and later and, as wtforms fields, for earlier ones.

Airflow reads this before any task runs, so what is heavy is imported where it is used.
"""

from __future__ import annotations

from typing import Any

_OPTIONAL_TEXT = {"type": ["string", "null"]}
_OPTIONAL_SECRET = {"type": ["string", "null"], "format": "password"}
_SWITCHED_ON = {"type": ["boolean", "null"], "default": True}

STORED_SECRET = "RATHER_LONG_SENSITIVE_FIELD_PLACEHOLDER"  # noqa: S105
"""What Airflow 2's form shows of a stored secret, and replaces by it when the connection is saved."""

SWITCH = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}
"""What the value of a switch may be, in lower case: forms, files and URIs have it in different forms."""

_SHARED: dict[str, dict[str, Any]] = {
    "oauth_token": {
        "label": "OAuth token",
        "description": "A session token to use instead of logging in with login and password.",
        "schema": _OPTIONAL_SECRET,
    },
    "api_key": {
        "label": "API key",
        "description": "Leave empty for the public key that every open-source Mage has.",
        "schema": _OPTIONAL_SECRET,
    },
    "verify_ssl": {
        "label": "Verify TLS",
        "description": "Check the server's certificate. Switch this off for a first try only.",
        "schema": _SWITCHED_ON,
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path on workers and triggerers of a PEM file with the certificate authorities to "
        "trust. Empty for those that Python trusts.",
        "schema": _OPTIONAL_TEXT,
    },
    "timeout": {
        "label": "Request timeout (s)",
        "description": "Seconds to wait for an answer to one request.",
        "schema": {"type": ["integer", "null"], "default": 30, "minimum": 1},
    },
    "share_login": {
        "label": "Share the log-in",
        "description": "Keep the session token, encrypted, on each worker's disk, for its other tasks.",
        "schema": _SWITCHED_ON,
    },
}

FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "mage": _SHARED,
    "mage_cloud": {
        "team_id": {
            "label": "Team ID",
            "description": "The team whose clusters are meant when a task names none.",
            "schema": _OPTIONAL_TEXT,
        },
        **_SHARED,
        "oauth_token": {
            **_SHARED["oauth_token"],
            "description": "A Mage Cloud session token to use instead of e-mail and password.",
        },
        "api_key": {
            **_SHARED["api_key"],
            "description": "Leave empty for the public key of Mage Cloud.",
        },
    },
}
"""The extra fields of each connection type by key, in the order in which people fill them in."""

# A port, as Airflow 3.3.2 cannot test a connection without one: its page sends port 0 (observed).
BEHAVIOUR: dict[str, dict[str, Any]] = {
    "mage": {
        "hidden-fields": ["extra"],
        "relabeling": {"host": "Host or URL", "login": "E-mail or user name", "schema": "Scheme"},
        "placeholders": {"host": "mage.example.com", "schema": "http or https", "port": "6789"},
    },
    "mage_cloud": {
        "hidden-fields": ["extra", "schema"],
        "relabeling": {"host": "API URL", "login": "E-mail"},
        "placeholders": {"host": "https://cloud.mage.ai/api/v1", "port": "443"},
    },
}


def field_name(key: str) -> str:
    """Name an extra field as the form does, with its key."""
    return f"{FIELDS['mage_cloud'][key]['label']} (`{key}`)"


def ui_field_behaviour(conn_type: str) -> dict[str, Any]:
    """
    Return what is shown in a connection form, and how, as Airflow before 3.2 wants it of a hook.

    There, `extra` is shown: where a form has no such text area, the Test button of Airflow 2's edit form does
    nothing (observed).
    """
    behaviour = BEHAVIOUR[conn_type]
    return {
        "hidden_fields": [name for name in behaviour["hidden-fields"] if name != "extra"],
        "relabeling": {**behaviour["relabeling"], "extra": "Extra (JSON)"},
        "placeholders": behaviour["placeholders"],
    }


def form_widgets(conn_type: str) -> dict[str, Any]:
    """
    Return the extra fields of a connection form as wtforms fields, as Airflow before 3.2 wants them.

    Airflow 3.0 and 3.1 have stand-ins for what is imported here, and for nothing else of wtforms.
    """
    from flask_appbuilder.fieldwidgets import (  # type: ignore[import-not-found]
        BS3PasswordFieldWidget,
        BS3TextFieldWidget,
    )
    from wtforms import (  # type: ignore[import-untyped]
        BooleanField,
        IntegerField,
        PasswordField,
        StringField,
    )
    from wtforms.validators import NumberRange, Optional  # type: ignore[import-untyped]

    from airflow_provider_mage._compat import has_flask_forms

    def field(described: dict[str, Any]) -> Any:
        options: dict[str, Any] = {"label": described["label"], "description": described["description"]}
        schema = described["schema"]
        if "boolean" in schema["type"]:
            return BooleanField(default=schema["default"], **options)
        if "integer" in schema["type"]:
            limits = [Optional(), NumberRange(min=schema["minimum"])]
            return IntegerField(
                validators=limits, default=schema["default"], widget=BS3TextFieldWidget(), **options
            )
        if schema.get("format") == "password":
            return PasswordField(validators=[Optional()], widget=BS3PasswordFieldWidget(), **options)
        return StringField(validators=[Optional()], widget=BS3TextFieldWidget(), **options)

    fields = {key: field(described) for key, described in FIELDS[conn_type].items()}
    if has_flask_forms():
        from airflow_provider_mage.hooks.form_fields import without_losses

        return without_losses(fields)
    return fields
