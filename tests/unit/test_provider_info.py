"""What Airflow makes of the provider info; tests/package tests that it is valid and names what exists."""

import json
import os
import subprocess
import sys

import pytest

from airflow_provider_mage.hooks.extra import NAMES
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from airflow_provider_mage.provider_info import get_provider_info

HOOKS = {"mage": MageHook, "mage_cloud": MageCloudHook}
EXTRAS = ["api_key", "ca_bundle", "oauth_token", "share_login", "timeout", "verify_ssl"]

ASK_AIRFLOW = """
import json, warnings
warnings.simplefilter("ignore")  # Airflow's and its other providers' own
from airflow.providers_manager import ProvidersManager
try:  # 3.1 makes forms with stand-ins for Flask's fields, which are put in place so
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
    HookMetaService._get_hooks_with_mocked_fab()
except (ImportError, AttributeError):
    pass
manager = ProvidersManager()
hooks = {name: manager.hooks[name] for name in ("mage", "mage_cloud")}
print("ANSWER", json.dumps({
    "classes": {name: hook.hook_class_name for name, hook in hooks.items()},
    "names": {name: hook.hook_name for name, hook in hooks.items()},
    "testable": [name for name, hook in hooks.items() if hook.connection_testable],
    "fields": sorted(name for name in manager.connection_form_widgets if name.startswith("extra__mage")),
    "masked": sorted(
        name for name, field in manager.connection_form_widgets.items()
        if name.startswith("extra__mage")
        # a stand-in has a schema instead
        and (field.is_sensitive or getattr(field.field, "param_format", None) == "password")
    ),
    "behaviours": {name: manager.field_behaviours[name] for name in hooks},
    "links": [name for name in manager.extra_links_class_names if "mage" in name],
}))
"""


@pytest.fixture(scope="module")
def airflow_says():
    """Return what a fresh Airflow has found, and everything else it has printed."""
    env = {**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    done = subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", ASK_AIRFLOW], capture_output=True, text=True, check=True, env=env
    )
    printed, _, answer = done.stdout.partition("ANSWER ")
    return json.loads(answer), printed + done.stderr


def test_airflow_finds_both_connection_types_without_a_warning(airflow_says):
    found, printed = airflow_says

    assert found["classes"] == {
        name: f"{hook.__module__}.{hook.__qualname__}" for name, hook in HOOKS.items()
    }
    assert found["names"] == {"mage": "Mage", "mage_cloud": "Mage Cloud"}
    assert found["testable"] == ["mage", "mage_cloud"]
    assert "mage" not in printed.replace("/", " ").replace(".", " ").lower().replace("image", "").split()


def test_airflow_shows_every_extra_field_and_masks_the_secret_ones(airflow_says):
    found, _ = airflow_says

    expected = [f"extra__mage__{name}" for name in EXTRAS]
    expected += [f"extra__mage_cloud__{name}" for name in [*EXTRAS, "team_id"]]
    assert found["fields"] == sorted(expected)
    assert found["masked"] == sorted(name for name in expected if name.endswith(("api_key", "oauth_token")))


def test_port_is_shown_and_asked_for(airflow_says):
    """Without a stored port, the Test button of Airflow 3.3.2 does not work."""
    behaviours = airflow_says[0]["behaviours"]

    for behaviour in behaviours.values():
        assert "port" not in behaviour["hidden_fields"]
    assert behaviours["mage"]["placeholders"]["port"] == "6789"
    assert "://" not in behaviours["mage"]["placeholders"]["host"]


def test_airflow_knows_every_link_of_every_operator(airflow_says):
    """On 2.11, one class that is not registered hides all links of an operator."""
    from airflow_provider_mage.operators import pipeline as operators
    from airflow_provider_mage.sensors import pipeline as sensors

    used = {
        f"{type(link).__module__}.{type(link).__qualname__}"
        for module in (operators, sensors)
        for member in vars(module).values()
        if isinstance(member, type) and member.__module__ == module.__name__
        for link in getattr(member, "operator_extra_links", ())
    }
    assert used <= set(airflow_says[0]["links"])


@pytest.mark.parametrize("name", HOOKS)
def test_both_ways_to_describe_the_form_agree(name):
    """
    Airflow 3.2 and later read the provider info; earlier ones ask the hook.

    On Airflow 2, the Test button of the edit form needs the text area of `extra`.
    """
    [described] = [c for c in get_provider_info()["connection-types"] if c["connection-type"] == name]

    behaviour = HOOKS[name].get_ui_field_behaviour()
    assert behaviour["relabeling"].pop("extra")
    behaviour["hidden_fields"] = ["extra", *behaviour["hidden_fields"]]
    assert behaviour == {
        key.replace("-", "_"): value for key, value in described["ui-field-behaviour"].items()
    }


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_form_of_airflow_2_has_the_same_fields(name):
    pytest.importorskip("flask_appbuilder", reason="not part of Airflow 3", exc_type=ImportError)
    from wtforms import Form

    [described] = [c for c in get_provider_info()["connection-types"] if c["connection-type"] == name]
    widgets = HOOKS[name].get_connection_form_widgets()
    form = type("ConnectionForm", (Form,), widgets)()

    assert list(widgets) == list(described["conn-fields"])
    for field in form:
        schema = described["conn-fields"][field.name]["schema"]
        assert (field.type == "_SecretField") == (schema.get("format") == "password")
        assert (field.type == "IntegerField") == ("integer" in schema["type"])
        assert (field.type == "_SwitchField") == ("boolean" in schema["type"])
        assert field.data == schema.get("default")
        assert field.label.text == described["conn-fields"][field.name]["label"]
    assert form.validate()


def test_no_field_of_the_form_is_required():
    for connection_type in get_provider_info()["connection-types"]:
        for field in connection_type["conn-fields"].values():
            assert "null" in field["schema"]["type"]
            assert field["label"]
            assert field["description"].endswith(".")


def test_every_extra_field_is_read():
    fields = {name for c in get_provider_info()["connection-types"] for name in c["conn-fields"]}

    assert fields <= set(NAMES)
