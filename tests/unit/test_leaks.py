"""No secret in anything that is written, raised, shown or handed on: logs at DEBUG, and nothing masked."""

import logging
import traceback

import pytest

from airflow_provider_mage.api.auth import Credentials
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes import faults
from fakes.mage import FakeMage

PASSWORD, API_KEY, GIVEN_TOKEN = "h1dden-password", "h1dden-api-key", "h1dden-given-token"


class Witness:
    """Collects everything that could be read by somebody."""

    def __init__(self):
        self.texts = []
        self.errors = 0
        self.secrets = {PASSWORD, API_KEY, GIVEN_TOKEN}

    def learn(self, secret):
        self.secrets.add(secret)

    def see(self, *things):
        for thing in things:
            self.texts += [str(thing), repr(thing)]

    def expect_error(self, call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is, it is looked at
            self.errors += 1
            self.texts += traceback.format_exception(error)
            chain, seen = [error], set()
            while chain:
                link = chain.pop()
                if link is None or id(link) in seen:
                    continue
                seen.add(id(link))
                self.see(link, link.args, vars(link))
                request = getattr(link, "request", None)
                self.see(request and (request.headers, request.body))
                chain += [link.__cause__, link.__context__]
        else:
            pytest.fail(f"{call} was expected to fail")


@pytest.fixture
def server():
    with FakeMage(password=PASSWORD, api_key=API_KEY, polls_to_finish=1) as fake:
        fake.example_pipelines()
        yield fake


@pytest.fixture
def witness(server, caplog, capfd, monkeypatch):
    """What is seen until the end of the test, when none of it may hold a secret."""
    one = Witness()
    monkeypatch.setattr("airflow_provider_mage.hooks.base.mask_secret", one.learn)
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "airflow_provider_mage"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield one
    records = caplog.get_records("call")
    for record in records:
        one.see(record.getMessage(), record.args, record.exc_text, vars(record))
    one.texts += capfd.readouterr()
    secrets = one.secrets | set(server.session_tokens())
    assert any(record.name.startswith("urllib3") for record in records)
    leaks = [(secret, text) for text in one.texts for secret in secrets if secret in text]
    assert leaks == []


@pytest.fixture
def conn(server, connect):
    def make(**fields):
        given = {"host": server.url, "password": PASSWORD, "extra": {"api_key": API_KEY}, **fields}
        return connect(**given)

    return make


def test_log_ins_and_renewals(server, conn, witness):
    hook = MageHook(conn())
    witness.see(hook, hook.client, hook.session, hook.session.auth, hook.get_conn())
    witness.see(hook.client.list_pipelines(), hook.client.get_status(), hook.test_connection())
    server.revoke_all_tokens()
    witness.see(hook.client.list_pipelines())
    server.expire_all_tokens()
    witness.see(hook.client.list_pipelines())

    assert len(witness.secrets) > 6


def test_refusals(server, conn, witness):
    with_token = {"api_key": API_KEY, "oauth_token": GIVEN_TOKEN}
    refused = [
        conn(login=None, extra=with_token),
        conn(login="somebody"),
        conn(extra={"api_key": f"{API_KEY}-more"}),
        conn(extra={"api_key": f"{API_KEY}\nmore"}),
        conn(extra={"api_key": API_KEY, "oauth_token": f"{GIVEN_TOKEN} more"}),
        conn(host=f"http://me:{PASSWORD}@127.0.0.1"),
        conn(host=f"http://me:{PASSWORD}/@127.0.0.1:1"),
    ]
    for conn_id in refused:
        witness.expect_error(lambda name: MageHook(name).client.list_pipelines(), conn_id)
        witness.see(MageHook(conn_id).test_connection())

    assert witness.errors == len(refused)


@pytest.mark.parametrize(
    "fault",
    [
        faults.WEB_PAGE,
        faults.TRUNCATED_JSON,
        faults.TRUNCATED_BODY,
        faults.EMPTY_BODY,
        faults.LOGIN_REDIRECT,
        faults.RESET_AFTER,
        faults.http_error(503),
        faults.too_many_requests(0),
        faults.database_locked(),
        faults.database_away(),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize(
    "where", [("POST", "/sessions$"), ("GET", "/pipelines$"), ("POST", "/pipeline_runs$")]
)
def test_outages(server, session, witness, fault, where):
    """Also while it logs in, whose answer holds the token, and where the body holds the variables."""
    schedule = server.pipeline_schedule("daily_orders")
    credentials = Credentials(server.email, PASSWORD, api_key=API_KEY)
    client = MageClient(session(server, credentials=credentials, retry_for=2, on_secret=witness.learn))
    server.inject(fault, times=None, match=where)

    def everything():
        client.list_pipelines()
        client.create_pipeline_run(schedule.id, {"key": GIVEN_TOKEN})

    witness.expect_error(everything)


def test_server_that_is_down(server, conn, witness):
    hook = MageHook(conn(), retry_for=0)
    hook.get_conn()
    with server.down():
        witness.expect_error(hook.client.list_pipelines)
        witness.expect_error(MageHook(conn(login="admin"), retry_for=0).client.list_pipelines)
        witness.see(hook.test_connection())


def test_tasks(server, conn, witness, context):
    conn_id = conn()
    for pipeline_uuid in ("daily_orders", "broken_orders", "no_such"):
        operator = MageTriggerPipelineOperator(
            task_id="run", pipeline_uuid=pipeline_uuid, mage_conn_id=conn_id, variables={"n": 1}
        )
        if pipeline_uuid == "daily_orders":
            operator.execute(context)
        else:
            witness.expect_error(operator.execute, context)
        witness.see(operator, {name: getattr(operator, name) for name in operator.template_fields})
    sensor = MagePipelineRunSensor(pipeline_run_id=2, task_id="wait", mage_conn_id=conn_id)
    witness.expect_error(sensor.poke, context)
    witness.see(sensor, context["ti"].xcoms)

    assert server.log_ins == 1
