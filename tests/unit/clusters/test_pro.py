"""What a Mage Pro cluster has on top: workspaces, deployments, single blocks; and its pipeline schedules."""

import json

import pytest

from airflow_provider_mage.api.errors import MageAPIError, MageError, MageNotFoundError, MageTransportError
from airflow_provider_mage.api.pro import MageProClient
from airflow_provider_mage.operators.block import MageRunBlockOperator
from airflow_provider_mage.operators.deployment import MageDeployOperator
from airflow_provider_mage.operators.schedule import MagePipelineScheduleOperator
from airflow_provider_mage.operators.workspace import MageUpdateWorkspaceOperator
from fakes.faults import CLOSE_AFTER, WEB_PAGE, Answer, Fault, crash
from fakes.mage_pro import FakeMagePro
from fakes.scheduler import TaskInstance

COMMIT = {
    "setting_name": "prod",
    "commit": "abc123",
    "branch": "main",
    "message": "Add feature X",
    "target_branch": "deploy-main",
    "environment": "production",
}


@pytest.fixture
def pro():
    with FakeMagePro(password="sesame-4711", polls_to_finish=None) as server:
        server.example_pipelines()
        yield server


@pytest.fixture
def pro_client(pro, session):
    return MageProClient(session(pro))


@pytest.fixture
def run(pro, connect):
    conn_id = connect(host=pro.url, login=pro.email, password=pro.password)

    def run(operator_class, **arguments):
        arguments = {"task_id": "t", "mage_conn_id": conn_id, **arguments}
        return TaskInstance(lambda: operator_class(**arguments)).run()

    return run


def test_workspaces(pro_client, pro):
    pro_client.create_workspace("new", cluster_type="k8s")

    assert [one["name"] for one in pro_client.list_workspaces()] == ["dev", "new"]
    assert pro_client.get_workspace("new")["status"] == "running"
    pro_client.delete_workspace("new")
    with pytest.raises(MageNotFoundError):
        pro_client.get_workspace("new")


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ({"action": "stop"}, {"action": "stop"}),
        ({"action": "resume"}, {"action": "resume"}),
        (
            {"action": "patch", "container_config": "env:\n  - name: A", "update_workspace_settings": True},
            {"action": "patch", "container_config": "env:\n  - name: A", "update_workspace_settings": True},
        ),
        (
            {"action": "patch", "lifecycle_config": {"termination_policy": {}}},
            {"action": "patch", "lifecycle_config": {"termination_policy": {}}},
        ),
    ],
)
def test_workspace_update_sends_the_documented_request(pro, run, arguments, body):
    run(MageUpdateWorkspaceOperator, workspace_name="dev", **arguments)

    [request] = pro.requests_of("PUT")
    assert (request.path, request.json) == ("/api/workspaces/dev", {"workspace": body})


@pytest.mark.parametrize("arguments", [{"action": "explode"}, {"action": "stop", "container_config": "x"}])
def test_nonsense_about_a_workspace_is_not_sent(pro, run, arguments):
    with pytest.raises(ValueError, match="action"):
        run(MageUpdateWorkspaceOperator, workspace_name="dev", **arguments)
    assert pro.count("PUT") == 0


def test_container_config_is_sent_and_shown_to_nobody(pro, connect, monkeypatch):
    masked = []
    monkeypatch.setattr("airflow_provider_mage.operators.workspace.mask_secret", masked.append)
    operator = MageUpdateWorkspaceOperator(
        task_id="t",
        mage_conn_id=connect(host=pro.url, login=pro.email, password=pro.password),
        workspace_name="dev",
        action="patch",
        container_config="env: [{name: PW, value: {{ secret }}}]",
    )

    operator.render_template_fields({"secret": "hush-4711"})
    operator.execute({})

    [request] = pro.requests_of("PUT", "/workspaces/dev")
    assert request.json["workspace"]["container_config"] == "env: [{name: PW, value: hush-4711}]"
    assert str(operator.container_config) == "***"
    assert masked == ["env: [{name: PW, value: hush-4711}]"]


def test_container_config_may_be_json_that_was_rendered_natively(pro, run):
    run(
        MageUpdateWorkspaceOperator,
        workspace_name="dev",
        action="patch",
        container_config={"env": [{"name": "A", "value": "1"}]},
    )

    [request] = pro.requests_of("PUT", "/workspaces/dev")
    assert request.json["workspace"]["container_config"] == '{"env": [{"name": "A", "value": "1"}]}'


def test_deployment_sends_the_documented_request(pro, run):
    run(MageDeployOperator, **COMMIT, target_directory="/home/src/p")

    [request] = pro.requests_of("POST", "deployments")
    assert request.path == "/api/deployment_settings/prod/deployments"
    assert request.json == {
        "deployment": {
            "source": {"head": {"name": "main"}, "name": "Add feature X", "version": "abc123"},
            "stage": {
                "branch": {"name": "deploy-main"},
                "environment": "production",
                "target_directory": "/home/src/p",
            },
        }
    }


def test_deployment_is_waited_for_if_mage_tells_how_it_stands(pro, run):
    pro.deployment_statuses = iter(["pending", "running", "Completed"])

    assert run(MageDeployOperator, **COMMIT, poll_interval=0.01) == {"id": 1, "status": "Completed"}
    assert pro.count("GET", "/deployments/1") == 2


def test_deployment_that_fails_is_red(pro, run):
    pro.deployment_statuses = iter(["pending", "failed"])

    with pytest.raises(MageError, match="'failed'"):
        run(MageDeployOperator, **COMMIT, poll_interval=0.01)


def test_deployment_that_cannot_be_read_for_a_while_is_waited_for(pro, run):
    pro.deployment_statuses = iter(["pending", "Completed"])
    pro.inject(crash(), times=2, match=("GET", "/deployments/"))

    assert run(MageDeployOperator, **COMMIT, poll_interval=0.01)["status"] == "Completed"
    assert pro.count("POST", "/deployments") == 1


@pytest.mark.parametrize("reads", [0, 1])
def test_deployment_that_can_never_be_read_counts_as_accepted(pro, run, reads):
    pro.deployment_statuses = iter(["pending"] * 9)
    pro.inject(WEB_PAGE, times=None, match=("GET", "/deployments/"), skip=reads)

    if reads:
        with pytest.raises(MageTransportError):
            run(MageDeployOperator, **COMMIT, poll_interval=0.01)
    else:
        assert run(MageDeployOperator, **COMMIT, poll_interval=0.01) == {"id": 1, "status": "pending"}


def test_deployment_of_unknown_fate_is_not_repeated(pro, run):
    pro.inject(CLOSE_AFTER, match=("POST", "deployments"))

    with pytest.raises(MageError, match="It is unknown whether Mage deploys commit abc123"):
        run(MageDeployOperator, **COMMIT)
    assert len(pro.deployments) == 1


def test_unknown_deployment_setting(run):
    with pytest.raises(MageNotFoundError):
        run(MageDeployOperator, **{**COMMIT, "setting_name": "nobody"})


def test_block_runs_with_the_schedules_token_which_nobody_sees(pro, run, caplog):
    with caplog.at_level("DEBUG"):
        output = run(
            MageRunBlockOperator,
            pipeline_uuid="daily_orders",
            block_uuid="load_orders",
            variables={"orders": 3},
        )

    assert output == [{"text_data": "{'orders': 3}", "type": "text"}]
    [schedule] = pro.pipeline_schedules.values()
    [request] = pro.requests_of("POST", "/runs")
    assert request.headers["authorization"] == f"Bearer {schedule.token}"
    assert schedule.token not in caplog.text
    assert schedule.token not in json.dumps(output)


def test_schedules_token_is_told_to_whoever_masks_secrets(pro, session):
    secrets = []
    schedule = pro.pipeline_schedule("daily_orders")

    MageProClient(session(pro, on_secret=secrets.append)).run_block(
        schedule.id, "daily_orders", "load_orders"
    )

    assert schedule.token in secrets


@pytest.mark.parametrize("value", [float("nan"), {1, 2}], ids=str)
def test_variables_of_a_block_are_checked_before_anything_is_sent(pro, run, value):
    with pytest.raises(ValueError, match="JSON cannot hold"):
        run(
            MageRunBlockOperator,
            pipeline_uuid="daily_orders",
            block_uuid="load_orders",
            variables={"a": value},
        )
    assert pro.requests == []


def test_block_that_fails_is_red_and_not_run_again(pro, run):
    with pytest.raises(MageAPIError, match="the block failed"):
        run(MageRunBlockOperator, pipeline_uuid="daily_orders", block_uuid="broken")
    assert pro.count("POST", "/runs") == 1


@pytest.mark.parametrize("by_name", [True, False])
def test_schedule_is_switched_once(pro, run, by_name):
    schedule = pro.pipeline_schedule("daily_orders", "nightly", status="active")
    which = (
        {"pipeline_uuid": "daily_orders", "pipeline_schedule_name": "nightly"}
        if by_name
        else {"pipeline_schedule_id": str(schedule.id)}
    )

    for status in ("inactive", "inactive", "active"):
        assert run(MagePipelineScheduleOperator, status=status, **which) == schedule.id
        assert pro.pipeline_schedules[schedule.id].status == status
    assert pro.count("PUT") == 2


def test_oldest_of_several_schedules_of_one_name_is_switched_and_the_log_says_so(pro, run, caplog):
    """As it is for a run that is started by the schedule's name."""
    oldest, younger = (pro.pipeline_schedule("daily_orders", "twice", status="active") for _ in range(2))

    with caplog.at_level("INFO"):
        switched = run(
            MagePipelineScheduleOperator,
            status="inactive",
            pipeline_uuid="daily_orders",
            pipeline_schedule_name="twice",
        )

    assert switched == oldest.id
    assert (oldest.status, younger.status) == ("inactive", "active")
    assert f"has 2 schedules named 'twice': using the oldest, {oldest.id}." in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"status": "bogus", "pipeline_schedule_id": 1},
            "`status` must be one of active, inactive, not 'bogus'",
        ),
        ({"status": "active"}, "pipeline_schedule_id"),
        (
            {"status": "active", "pipeline_uuid": "daily_orders", "pipeline_schedule_name": "nobody"},
            "has no schedule named 'nobody'",
        ),
    ],
)
def test_schedule_that_cannot_be_meant_is_left_alone(pro, run, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(MagePipelineScheduleOperator, **arguments)
    assert pro.count("PUT") == 0


def test_status_that_mage_would_choke_on_is_never_sent(pro, pro_client):
    with pytest.raises(ValueError, match="bogus"):
        pro_client.update_pipeline_schedule(1, status="bogus")
    assert pro.requests == []


def test_block_with_a_typo_in_its_name_is_told_with_the_name_that_is_meant(pro, run):
    refused = Answer.of({"error": {"code": 500, "message": "no such block"}})
    pro.inject(Fault("refused", is_processed=False, change=lambda *_: refused), match=("POST", "/runs$"))

    with pytest.raises(MageNotFoundError, match=r"has no block 'laod_orders': did you mean 'load_orders'"):
        run(MageRunBlockOperator, pipeline_uuid="daily_orders", block_uuid="laod_orders")
