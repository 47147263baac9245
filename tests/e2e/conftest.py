"""One real Mage, one real Airflow, and every DAG run once: the tests look at what happened."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import failing_pipelines
import group_pipelines
import pytest

import server_logs
from airflow_server import DATABASE, EXAMPLE_DAGS, PREPARED_DATA, AirflowServer, readable
from fakes.mage_cloud import FakeMageCloud
from fakes.mage_pro import FakeMagePro
from mage_server import MageServer
from postgresql import PostgreSQL
from side_by_side import SideBySide

HERE = Path(__file__).resolve().parent

DAG_DIRS = [EXAMPLE_DAGS, HERE / "dags"]
LIFECYCLE_DAGS = HERE / "lifecycle_dags"
CLUSTER_DAGS = HERE / "cluster_dags"
LOG_DAGS = HERE / "log_dags"
GROUP_DAGS = HERE / "group_dags"
SECOND_DATABASE = "second_airflow"
TEST_PROJECT = HERE.parent / "mage_project"
WAITING_TASKS = int(os.environ.get("WAITING_TASKS", "20"))
"""How many wait at once in tests of that."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if not item.get_closest_marker("timeout"):
                # longer than what a test waits for, so that it says what it waits for
                item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One server, with a database for each Airflow and one for Mage."""
    with PostgreSQL(PREPARED_DATA) as server:
        server_logs.watch("PostgreSQL", server.log_path)
        server.create_database(SECOND_DATABASE, template=DATABASE)
        yield server


@pytest.fixture(scope="session")
def starting_mage(postgresql: PostgreSQL) -> Iterator[Future[MageServer]]:
    """Start Mage while Airflow starts."""
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        server = MageServer(postgresql.create_database("mage"), overlays=[TEST_PROJECT])
        hold_up_what_is_to_be_cancelled(server)
        failing_pipelines.write(server.project_dir)
        group_pipelines.write(server.project_dir)
        yield pool.submit(stack.enter_context, server)


def hold_up_what_is_to_be_cancelled(mage: MageServer) -> None:
    """Let the example's run, of four seconds, last until it is cancelled, however late that is."""
    block = mage.project_dir / "data_loaders" / "load_orders.py"
    shipped = block.read_text()
    first_line = '    count = int(kwargs.get("orders", 40))\n'
    assert shipped.count(first_line) == 1
    wait = (
        "    import time\n"
        '    while (kwargs.get("airflow") or {}).get("dag_id") == "example_mage_cancel":\n'
        "        time.sleep(0.5)\n"
    )
    block.write_text(shipped.replace(first_line, wait + first_line))


@pytest.fixture(scope="session")
def mage(starting_mage: Future[MageServer]) -> MageServer:
    return starting_mage.result()


@pytest.fixture(scope="session")
def wrong_password() -> str:
    return f"wrong-{secrets.token_hex(12)}"


@pytest.fixture(scope="session")
def cloud() -> Iterator[FakeMageCloud]:
    """A simulated Mage Cloud, whose clusters take two seconds to start and to stop."""
    with FakeMageCloud(password=f"cloudy-{secrets.token_hex(12)}", delay=2.0) as server:
        for cluster_id in ("reports", "orders", "staging"):  # those of the examples
            server.cluster(cluster_id)
        yield server


@pytest.fixture(scope="session")
def pro() -> Iterator[FakeMagePro]:
    """A Mage Pro cluster as documented."""
    with FakeMagePro(password=f"pro-{secrets.token_hex(12)}") as server:
        server.example_pipelines()
        server.deployment_statuses = iter(["pending", "completed"])
        yield server


@pytest.fixture(scope="session")
def env_var_secret() -> str:
    return f"env-{secrets.token_hex(12)}"


@pytest.fixture(scope="session")
def airflow(
    postgresql: PostgreSQL,
    starting_mage: Future[MageServer],
    cloud: FakeMageCloud,
    pro: FakeMagePro,
    wrong_password: str,
    env_var_secret: str,
) -> Iterator[AirflowServer]:
    dags = [*DAG_DIRS, LIFECYCLE_DAGS, CLUSTER_DAGS, LOG_DAGS, GROUP_DAGS]
    env = {"WAITING_TASKS": str(WAITING_TASKS)}
    # DEBUG: what must not leak must not leak there either
    with AirflowServer(postgresql.url(DATABASE), dags=dags, logging_level="DEBUG", env=env) as server:
        mage = starting_mage.result()
        server.add_connection("mage_default", "mage", host=mage.url, login=mage.email, password=mage.password)
        server.add_connection(
            "mage_wrong_password", "mage", host=mage.url, login=mage.email, password=wrong_password
        )
        server.add_connection(
            "mage_cloud_default",
            "mage_cloud",
            host=cloud.url,
            login=cloud.email,
            password=cloud.password,
            extra={"team_id": "team-1"},
        )
        server.add_connection("mage_pro", "mage", host=pro.url, login=pro.email, password=pro.password)
        server.add_connection("orders_api", "http", host="orders.invalid", password=env_var_secret)
        yield server


@pytest.fixture(scope="session")
def run_ids(airflow: AirflowServer) -> SideBySide[str]:
    """
    One finished run of every DAG, by DAG id; a file is named for its DAG. They run side by side.

    Whoever looks at what a DAG has done asks for its run: it is waited for then.
    """

    def run(dag_id: str) -> str:
        if dag_id == "example_mage_backfill":
            return airflow.backfill(dag_id, "2026-01-01", "2026-01-02")[-1]
        run_id = airflow.trigger_dag(dag_id)
        airflow.wait_dag_run(dag_id, run_id)
        return run_id

    dag_ids = sorted(path.stem for directory in DAG_DIRS for path in directory.glob("*.py"))
    return SideBySide({dag_id: partial(run, dag_id) for dag_id in dag_ids})


@pytest.fixture(scope="session")
def log(airflow: AirflowServer, run_ids: SideBySide[str]):
    """Return the lines of a task's log, as a person reads them in the UI."""

    def log(dag_id: str, task_id: str) -> list[str]:
        return readable(airflow.task_log(dag_id, run_ids[dag_id], task_id))

    return log
