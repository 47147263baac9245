"""The commands of Airflow and of this package, run as a platform engineer runs it."""

import json

import pytest

from airflow_provider_mage import __version__


def test_providers_list_shows_the_package(airflow):
    rows = json.loads(airflow.cli("providers", "list", "--output", "json"))

    assert [row["version"] for row in rows if row["package_name"] == "airflow-provider-mage"] == [__version__]


def test_providers_hooks_shows_both_connection_types(airflow):
    rows = json.loads(airflow.cli("providers", "hooks", "--output", "json"))
    ours = {row["connection_type"]: row for row in rows if row["package_name"] == "airflow-provider-mage"}

    assert set(ours) == {"mage", "mage_cloud"}
    assert {row["hook_name"] for row in ours.values()} == {"Mage", "Mage Cloud"}


@pytest.mark.parametrize("conn_type", ["mage", "mage_cloud"])
def test_connections_add_accepts_the_type(airflow, conn_type):
    airflow.cli(
        "connections", "add", f"added_{conn_type}", "--conn-type", conn_type, "--conn-host", "mage.invalid"
    )

    stored = airflow.request("GET", f"/connections/added_{conn_type}")
    assert (stored["conn_type"], stored["host"]) == (conn_type, "mage.invalid")


@pytest.mark.parametrize(
    ("what", "count"), [("hooks", 2), ("links", 3), ("widgets", 13), ("behaviours", 2), ("triggers", 2)]
)
def test_every_listing_shows_the_package_without_a_warning(airflow, what, count):
    """A warning would stand in front of the JSON."""
    rows = json.loads(airflow.cli("providers", what, "--output", "json"))

    assert len([row for row in rows if "mage" in json.dumps(row).replace("image", "")]) == count


def test_providers_get_shows_name_and_version(airflow):
    [row] = json.loads(airflow.cli("providers", "get", "airflow-provider-mage", "--output", "json"))

    assert row == {"Provider": "airflow-provider-mage", "Version": __version__}


def test_snapshot_goes_through_a_connection_in_airflows_database(airflow, mage):
    printed = airflow.run("python", "-m", "airflow_provider_mage", "snapshot", "daily_orders")

    assert [block["uuid"] for block in json.loads(printed)["blocks"]][:1] == ["load_orders"]
