"""
Fields of Airflow 2's connection form that lose nothing when a connection is edited.

That form hands a stored value to a field only if it is true in Python, never shows a password, and drops from
the connection what a field hands back empty (observed). So these look up what is stored in the form's own
``extra``, which has all of it, but for secrets. The web server alone imports this.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget  # type: ignore[import-not-found]
from markupsafe import Markup
from wtforms import (  # type: ignore[import-untyped]
    BooleanField,
    Field,
    PasswordField,
    StringField,
)
from wtforms.fields.core import UnboundField  # type: ignore[import-untyped]
from wtforms.widgets import CheckboxInput, HiddenInput  # type: ignore[import-untyped]

from airflow_provider_mage.hooks.form import STORED_SECRET, SWITCH

if TYPE_CHECKING:
    from collections.abc import Mapping


class _StoredSecretWidget(BS3PasswordFieldWidget):  # type: ignore[misc]
    """Shows that there is a secret, and not which: an empty field would be one that was emptied."""

    def __call__(self, field: Field, **kwargs: Any) -> Any:
        """Render the field."""
        self.hide_value = False
        return super().__call__(field, **kwargs, value=STORED_SECRET if field.data else "")


class _SwitchWidget(CheckboxInput):  # type: ignore[misc]
    """Sends ``false`` for an empty box, which browsers leave out: a test would use the stored value."""

    def __call__(self, field: Field, **kwargs: Any) -> Any:
        """Render the field."""
        off = HiddenInput()(field, id="", value="false")
        return Markup("{}{}").format(off, super().__call__(field, value="y", **kwargs))


class _Stored:
    """Knows what a connection has for a field, by its key or by the name that the form has for it."""

    def __init__(self, *args: Any, _form: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, _form=_form, **kwargs)  # type: ignore[call-arg]  # a field's
        self._form = _form

    def stored(self, name: str) -> Any:
        """Return it, None if it is not there."""
        try:
            extra = json.loads(self._form.extra.data or "{}")
        except (AttributeError, ValueError):
            return None
        if not isinstance(extra, dict):
            return None
        return extra.get(name.rpartition("__")[2], extra.get(name))


class _SecretField(PasswordField):  # type: ignore[misc]
    widget = _StoredSecretWidget()


class _SwitchField(_Stored, BooleanField):  # type: ignore[misc]
    """A switch that knows a stored ``false``, in whatever form."""

    widget = _SwitchWidget()

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the last value: that of the box, if it is checked."""
        super().process_formdata(valuelist[-1:])

    @property
    def checked(self) -> bool:
        """Whether the box is checked: what was sent, else what is stored."""
        if self.raw_data:
            return bool(self.data)
        return SWITCH.get(str(self.stored(self.name)).lower(), True)


class _CaBundleField(_Stored, StringField):  # type: ignore[misc]
    """A path, which connections of version 0.1.0 have in ``verify_ssl``."""

    def _value(self) -> str:
        old = self.stored(self.name.replace("ca_bundle", "verify_ssl"))
        is_path = isinstance(old, str) and old.lower() not in SWITCH and not self.raw_data
        return str(self.data or (old if is_path else None) or "")


class _Instead(UnboundField):  # type: ignore[misc]
    """
    A field that makes one of another class than it says: Airflow allows four of wtforms' own (observed).

    :param field: A field of such a class, as a form's class has it.
    :param field_class: The class derived from that.
    """

    def __init__(self, field: UnboundField, field_class: type[Field]) -> None:
        super().__init__(field.field_class, *field.args, **field.kwargs)
        own = {name: value for name, value in field.kwargs.items() if name not in vars(field_class)}
        self._instead = UnboundField(field_class, *field.args, **own)

    def bind(self, *args: Any, **options: Any) -> Field:
        """Make the field of a form."""
        return self._instead.bind(*args, **options)


def without_losses(fields: Mapping[str, UnboundField]) -> dict[str, UnboundField]:
    """Replace those fields of a form, by key, that would lose what is stored."""
    instead: dict[Any, Any] = {PasswordField: _SecretField, BooleanField: _SwitchField}

    def own(key: str, field: UnboundField) -> UnboundField:
        field_class = _CaBundleField if key == "ca_bundle" else instead.get(field.field_class)
        return _Instead(field, field_class) if field_class else field

    return {key: own(key, field) for key, field in fields.items()}
