"""For all tests: reports show what servers wrote meanwhile, and each process has an Airflow of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import server_logs

# Airflow keeps its settings and its database there from its first import on.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    os.environ["AIRFLOW_HOME"] = str(home / worker)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    server_logs.mark()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        report.sections.extend(server_logs.written())
    return report
