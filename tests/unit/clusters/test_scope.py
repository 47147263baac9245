"""The two tasks around a block of tasks: a lease, a start, a stop."""

import json

import pytest

from airflow_provider_mage._clusters import lease as lease_module
from airflow_provider_mage._clusters.lease import HOLDING, Holder
from airflow_provider_mage.operators import cluster_scope as scope_module
from airflow_provider_mage.operators.cluster_scope import (
    MageClusterSetupOperator,
    MageClusterTeardownOperator,
    VariableStore,
)
from fakes.faults import Fault

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Airflow's Variables."""
    kept = {}

    def write(key, text, description):
        kept.pop(key) if text is None else kept.update({key: text})

    monkeypatch.setattr(scope_module, "read_variable", kept.get)
    monkeypatch.setattr(scope_module, "write_variable", write)
    monkeypatch.setattr(lease_module, "SETTLING", 0.05)
    monkeypatch.setattr(lease_module, "FIRST_LOOK", 0.05)
    return kept


@pytest.fixture
def scope(task):
    """Make the setup and the teardown of a DAG run."""

    def make(run_id, *, deferrable, **stop):
        start = task(MageClusterSetupOperator, task_id="start", deferrable=deferrable)
        stop = task(
            MageClusterTeardownOperator, task_id="stop", setup_task_id="start", deferrable=deferrable, **stop
        )
        start.run_id = stop.run_id = run_id
        return start, stop

    return make


@BOTH
def test_cluster_is_up_in_between_and_no_lease_is_left(cloud, scope, variables, deferrable):
    cluster = cloud.cluster("c1", delay=0.2)
    start, stop = scope("run 1", deferrable=deferrable)

    assert start.run() == "Active"
    assert len(variables) == 1
    assert stop.run() == "Stopped"
    assert cluster.history == ["Starting", "Active", "Stopping", "Stopped"]
    assert variables == {}


@BOTH
def test_last_of_two_runs_stops_the_cluster(cloud, scope, variables, deferrable):
    cluster = cloud.cluster("c1", delay=0.1)
    (start, stop), (other_start, other_stop) = (
        scope(run_id, deferrable=deferrable) for run_id in ("run 1", "run 2")
    )
    start.run()
    other_start.run()

    assert stop.run() == "Active"
    assert other_stop.run() == "Stopped"
    assert cluster.history == ["Starting", "Active", "Stopping", "Stopped"]
    assert variables == {}


@BOTH
def test_stop_that_waits_for_runs_leaves_the_cluster_to_who_has_come_meanwhile(
    cloud, scope, variables, deferrable, mage, connect
):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    mage.advance(run.id, 2)
    start, stop = scope("run 1", deferrable=deferrable, if_busy="wait", mage_conn_id=connect("mage"))
    _, other_stop = scope("run 2", deferrable=deferrable)
    start.run()

    def come(request, answer):
        [key] = variables
        newcomer = Holder(stop.dag_id, "run 2", "start")
        variables[key] = json.dumps({**json.loads(variables[key]), newcomer.key: {"state": HOLDING}})
        mage.finish(run.id)
        return answer

    # While the stop asks what runs on the cluster, and is told that something does.
    mage.inject(Fault("newcomer", is_processed=True, change=come), match=("GET", "/pipeline_runs"))

    assert stop.run() == "Active"
    assert cloud.count("PUT") == 1
    assert other_stop.run() == "Stopped"


def test_stop_without_a_lease_leaves_the_cluster_as_it_is(cloud, scope):
    cloud.cluster("c1", status="Active")
    _, stop = scope("run 1", deferrable=False)

    assert stop.run() == "Active"
    assert cloud.count("PUT") == 0


def test_stop_that_0_1_0_deferred_gives_the_lease_back(cloud, scope, variables):
    start, stop = scope("run 1", deferrable=False)
    start.run()
    cloud.cluster("c1", status="Stopped")

    assert stop.operator.execute_complete(stop.context, {"cluster_id": "c1", "error": None}) == "Stopped"
    assert variables == {}


def test_leases_are_kept_in_a_variable_that_says_whose_it_is(handle, variables):
    store = VariableStore(handle)
    lease = {Holder("some_dag", "run 1", "start").key: {"state": HOLDING}}

    store.write(lease)

    [key] = variables
    assert key.startswith("mage_cluster_leases_team-1_c1_")
    assert store.read() == lease
    store.write({})
    assert variables == {}


@BOTH
@pytest.mark.parametrize("text", ["garbage", "[]", '{"[]": {}}'])
def test_variable_that_somebody_has_edited_keeps_no_cluster_up(
    cloud, scope, variables, deferrable, text, caplog
):
    cluster = cloud.cluster("c1", delay=0.1)
    start, stop = scope("run 1", deferrable=deferrable)
    start.run()
    [key] = variables
    variables[key] = text

    assert stop.run() == "Stopped"
    assert cluster.history[-1] == "Stopped"
    assert variables == {}
    warnings = [message for message in caplog.messages if "is no lease of a cluster" in message]
    assert len(warnings) == 1
    assert f"Variable {key!r}" in warnings[0]
