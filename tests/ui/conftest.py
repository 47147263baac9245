"""A real Airflow, a real Mage, and a real browser in front of both."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from playwright.sync_api import sync_playwright
from ui.airflow_pages import PAGES

import server_logs
from airflow_server import AIRFLOW_3, DATABASE, EXAMPLE_DAGS, PREPARED_DATA, AirflowServer
from chromium import ARGUMENTS, find_chromium
from isolation import REPOSITORY
from mage_server import MageServer
from postgresql import PostgreSQL

IMAGES = REPOSITORY / "docs" / "images"
TAKES_PICTURES = bool(os.environ.get("PICTURES"))
# Of a busy machine, nobody knows how long a page takes.
PATIENCE_MS = 60_000
LINE = "3" if AIRFLOW_3 else "2"


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def servers():
    """Return Airflow and Mage, with a connection between them and the examples in it."""
    with ExitStack() as stack:
        postgresql = stack.enter_context(PostgreSQL(PREPARED_DATA))
        server_logs.watch("PostgreSQL", postgresql.log_path)
        mage = MageServer(postgresql.create_database("mage"))
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(stack.enter_context, mage)
            airflow = stack.enter_context(AirflowServer(postgresql.url(DATABASE), dags=[EXAMPLE_DAGS]))
            started.result()
        airflow.add_connection(
            "mage_default", "mage", host=mage.url, login=mage.email, password=mage.password
        )
        yield airflow, mage


@pytest.fixture(scope="session")
def airflow(servers):
    return servers[0]


@pytest.fixture(scope="session")
def mage(servers):
    return servers[1]


@pytest.fixture(scope="session")
def browser():
    path = find_chromium()
    if path is None:
        pytest.fail("There is no Chromium: install one, or name it in CHROMIUM=")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """Return a page of a browser that nobody has used before."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def pages(page, airflow):
    return PAGES(page, airflow.url)


@pytest.fixture
def picture(page):
    """Take a picture for the documentation, if this is what the tests were started for."""

    def take(name, **options):
        if TAKES_PICTURES:
            page.screenshot(path=IMAGES / f"{name}-airflow-{LINE}.png", **options)

    return take


@pytest.fixture(scope="session")
def runs(airflow):
    """Return one finished run of each example that the pages are looked at for, by DAG."""
    dags = (
        "example_mage_pipeline",
        "example_mage_failing_pipeline",
        "example_mage_deferrable",
        "example_mage_task_group",
    )
    run_ids = {dag_id: airflow.trigger_dag(dag_id) for dag_id in dags}
    for dag_id, run_id in run_ids.items():
        airflow.wait_dag_run(dag_id, run_id)
    return run_ids
