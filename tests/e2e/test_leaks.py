"""No password and no session token in anything that Airflow writes, with its logs at DEBUG."""

import base64
import json
import re
from contextlib import suppress

import pytest
from sqlalchemy import inspect
from sqlalchemy import text as statement

JWT = re.compile(r"eyJ[\w-]{8,}\.([\w-]{8,})\.[\w-]+")


def written_texts(airflow):
    """Yield everything that Airflow has written, by where: every file, and every row of its database."""
    for path in airflow.directory.rglob("*"):
        if path.is_file():
            # A component's own files come and go.
            with suppress(FileNotFoundError):
                yield str(path.relative_to(airflow.directory)), path.read_text(errors="replace")
    with airflow.database.connect() as connection:
        for table in inspect(airflow.database).get_table_names():
            for row in connection.execute(statement(f'SELECT * FROM "{table}"')):  # noqa: S608  # its own names
                yield f"table {table}", " ".join(map(as_text, row))


def as_text(cell):
    return bytes(cell).decode(errors="replace") if isinstance(cell, (bytes, memoryview)) else str(cell)


def places(airflow, *needles):
    """Return the names of the places where one of the texts is written, also inside a JWT's payload."""
    found = set()
    for where, text in written_texts(airflow):
        payloads = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in JWT.findall(text)]
        haystack = text + b"".join(payloads).decode(errors="replace")
        found.update(where for needle in needles if needle in haystack)
    return found


@pytest.fixture
def looked_at_everything(airflow, run_ids):
    """The search finds what is there: in the logs of tasks and components, XComs and rendered fields."""
    run_ids.wait()
    found = places(airflow, "daily_orders")
    assert {"table rendered_task_instance_fields", "table task_instance", "scheduler.log"} <= found
    assert any("task_id=run_daily_orders" in where for where in found)
    assert "table xcom" in places(airflow, "/pipelines/daily_orders/runs/")
    assert "table connection" in places(airflow, "mage_default")
    run_id = run_ids["example_mage_pipeline"]
    log = airflow.task_log("example_mage_pipeline", run_id, "run_daily_orders")
    assert "debug" in log.lower()


@pytest.mark.usefixtures("looked_at_everything")
def test_password_is_nowhere(mage, airflow):
    basic = base64.b64encode(f"{mage.email}:{mage.password}".encode()).decode()

    assert places(airflow, mage.fingerprint, basic) == set()


@pytest.mark.usefixtures("looked_at_everything")
def test_rejected_password_is_nowhere(airflow, wrong_password):
    assert places(airflow, wrong_password) == set()


@pytest.mark.usefixtures("looked_at_everything")
def test_session_token_is_nowhere(mage, airflow):
    tokens = mage.session_tokens()

    assert len(tokens) > 1  # the harness has one, Airflow's tasks have others
    assert places(airflow, *tokens) == set()


@pytest.mark.usefixtures("looked_at_everything")
def test_nothing_of_mage_clouds_is_anywhere(airflow, cloud, pro):
    tokens = [*cloud.session_tokens(), *pro.session_tokens()]

    assert len(tokens) > 1
    assert places(airflow, cloud.password, pro.password, *tokens) == set()


@pytest.mark.usefixtures("looked_at_everything")
def test_value_of_an_environment_variable_is_nowhere(airflow, env_var_secret):
    assert places(airflow, env_var_secret) == set()
    # The names are what Airflow keeps of the rendered field.
    assert "table rendered_task_instance_fields" in places(airflow, "'ORDERS_API_TOKEN': '***'")


def test_search_sees_a_token_inside_a_jwt(airflow, run_ids):
    payload = base64.urlsafe_b64encode(json.dumps({"token": "planted-token"}).encode()).decode().rstrip("=")
    planted = airflow.log_dir / "planted.log"
    planted.write_text(f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJl")

    assert places(airflow, "planted-token") == {"logs/planted.log"}
    planted.unlink()
