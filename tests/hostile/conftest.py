"""
Whatever a server says, however an author calls: a sound value, or one error for people.

What is tried is made from the calls, the answers and the modes there are, so that a new one is tried as well.
"""

from __future__ import annotations

import random

import pytest

from airflow_provider_mage.api import auth


def pytest_addoption(parser):
    parser.addoption("--fuzz-seconds", type=float, default=20.0, help="for each fuzz test")
    parser.addoption("--fuzz-seed", type=int, help="to try the same again")


def pytest_terminal_summary(terminalreporter):
    """Say how much was tried."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "tried":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.fixture(scope="session")
def fuzz_seconds(request):
    return request.config.getoption("--fuzz-seconds")


@pytest.fixture
def fuzz_seed(request):
    """Return the seed of what is tried at random; a failure shows it."""
    seed = request.config.getoption("--fuzz-seed")
    return random.randrange(10**6) if seed is None else seed  # noqa: S311


@pytest.fixture(autouse=True)
def no_log_in_of_another_test(monkeypatch, tmp_path):
    auth._auth_of.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    auth._auth_of.cache_clear()
