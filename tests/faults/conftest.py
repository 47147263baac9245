"""What goes wrong between Airflow and Mage, done on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mage.api import auth
from mage_server import MageServer

HERE = Path(__file__).resolve().parent
PROJECT = (HERE.parent / "mage_project", HERE / "mage_project")


@pytest.fixture(autouse=True)
def no_log_in_of_another_test():
    auth._auth_of.cache_clear()


@pytest.fixture(scope="session")
def mage():
    """A real Mage server, which loses no jobs of its own accord."""
    with MageServer(overlays=PROJECT) as server:
        yield server
