"""Every public method of every client, with every odd value in every place of every answer that it gets."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
from functools import partial

import pytest
import requests
from oddities import ODD, changed, complaint, places
from requests.adapters import BaseAdapter, HTTPAdapter

from airflow_provider_mage.api.auth import MAGE_API_KEY, Credentials, MageAuth
from airflow_provider_mage.api.cloud import MAGE_CLOUD_API_KEY, MageCloudClient
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.api.models import BlockRun, BlockRunStatus
from airflow_provider_mage.api.pro import MageProClient
from airflow_provider_mage.api.session import MageSession
from fakes.faults import Fault
from fakes.mage import FakeMage
from fakes.mage_cloud import FakeMageCloud
from fakes.mage_pro import FakeMagePro
from fakes.messages import Answer

# By the names that methods have for their parameters.
ARGUMENTS = {
    "pipeline_uuid": "daily_orders",
    "pipeline_run_id": 1,
    "pipeline_schedule_id": 1,
    "block_uuid": "load_orders",
    "block_run": BlockRun(1, "load_orders", BlockRunStatus.COMPLETED),
    "name": "a_name",
    "block_type": "custom",
    "content": "x = 1",
    "action": "stop",
    "setting_name": "main",
    "branch": "main",
    "commit": "0" * 40,
    "message": "Change",
    "target_branch": "main",
    "environment": "production",
    "deployment_id": 1,
    "team_id": "team-1",
    "cluster_id": "c1",
    "env_vars": {"A": "1"},
}
NO_REQUEST = {"is_same_connection", "pipeline_run_url", "pipeline_url", "log_url", "with_retries", "connect"}
# And for those that take any.
OWN = {"update_pipeline_schedule": {"status": "active"}, "update_pipeline": {"description": "x"}}


def methods(cls):
    return [
        name
        for name, _ in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name not in NO_REQUEST
    ]


CALLS = [(cls, name) for cls in (MageProClient, MageCloudClient) for name in methods(cls)]


class Recorder(HTTPAdapter):
    """Passes requests on, and keeps the answers."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def send(self, request, *args, **options):
        response = super().send(request, *args, **options)
        with contextlib.suppress(ValueError):
            self.answers.append(response.json())
        return response


class Replay(BaseAdapter):
    """Answers what was kept, the last one for as long as it is asked."""

    def __init__(self, answers):
        super().__init__()
        self.answers = list(answers)
        self.count = 0

    def send(self, request, **_):
        self.count += 1
        assert self.count < 1000, "it never stops asking"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        response = requests.Response()
        response.status_code = 200
        response.raw = io.BytesIO(json.dumps(answer).encode())
        response.url, response.request, response.connection = request.url, request, self
        return response

    def close(self):
        """Nothing is open."""


def call(cls, name, session):
    method = getattr(cls(session), name)
    needed = {
        parameter: ARGUMENTS[parameter]
        for parameter, about in inspect.signature(method).parameters.items()
        if about.default is inspect.Parameter.empty and about.kind is not inspect.Parameter.VAR_KEYWORD
    }
    return method(**needed, **OWN.get(name, {}))


def record(cls, name):
    """Call a method with a server that knows it, and return the answers that it got."""
    is_cloud = cls is MageCloudClient
    with FakeMageCloud() if is_cloud else FakeMagePro(polls_to_finish=None) as server:
        if is_cloud:
            server.cluster("c1")
        else:
            server.example_pipelines()
            server.advance(server.pipeline_run(server.pipeline_schedule("daily_orders")).id, 2)
        url = server.url if is_cloud else f"{server.url}/api"
        key = MAGE_CLOUD_API_KEY if is_cloud else MAGE_API_KEY
        auth = MageAuth(url, Credentials(server.email, server.password, api_key=key), use_cookie=is_cloud)
        session = MageSession(url, auth=auth, retry_for=0.0)
        recorder = Recorder()
        session.http.mount("http://", recorder)
        with contextlib.suppress(MageError):
            call(cls, name, session)
        session.http.close()
    # Where the fake has no such thing: what the call takes for an answer is in its name.
    noun = name.partition("_")[2]
    return recorder.answers or [{noun: {"uuid": "a", "name": "a", "blocks": [{"uuid": "b"}], "id": 1}}]


@pytest.mark.parametrize(("cls", "name"), CALLS, ids=lambda part: getattr(part, "__name__", part))
def test_calls(cls, name):
    answers = record(cls, name)
    complaints = []
    for index, answer in enumerate(answers):
        for place in places(answer):
            for kind, odd in ODD.items():
                script = [*answers[:index], changed(answer, place, odd), *answers[index + 1 :]]
                session = MageSession("http://mage.test/api", retry_for=0.0)
                session.http.mount("http://", Replay(script))
                found = complaint(partial(call, cls, name, session))
                if found is not None:
                    complaints.append(f"answer {index} with {place} {kind}: {found}")
                session.http.close()

    assert answers
    assert not complaints, "\n".join(complaints)


def test_lists_end_whatever_they_say_of_a_next_page():
    row = {"id": 1, "name": "a", "pipeline_uuid": "daily_orders", "status": "active"}
    session = MageSession("http://mage.test/api", retry_for=0.0)
    session.http.mount("http://", Replay([{"pipeline_schedules": [row], "metadata": {"next": True}}]))

    assert len(MageProClient(session).list_pipeline_schedules("daily_orders")) == 1


LOG_IN = {"session": {"token": "abc", "expires": "2030-01-01", "user": {"id": 1, "project_access": 1}}}


def test_log_ins():
    complaints = []
    with FakeMage() as server:
        for place in places(LOG_IN):
            for kind, odd in ODD.items():
                answer = Answer.of(changed(LOG_IN, place, odd))
                fault = Fault("odd", is_processed=True, change=lambda *_, answer=answer: answer)
                server.inject(fault, match=("POST", "/sessions$"))
                auth = MageAuth(f"{server.url}/api", Credentials(server.email, server.password))
                session = MageSession(f"{server.url}/api", auth=auth, retry_for=0.0)
                found = complaint(lambda session=session: session.get("status"))
                if found is not None:
                    complaints.append(f"{place} {kind}: {found}")
                session.http.close()

    assert not complaints, "\n".join(complaints)
