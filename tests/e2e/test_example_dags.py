"""The example DAGs, exactly as shipped, under a real scheduler and executor, against a real Mage."""

import pytest

from airflow_server import EXAMPLE_DAGS
from isolation import wait_until

EXPECTED = {
    "example_mage_assets": "success",
    "example_mage_backfill": "success",
    "example_mage_cancel": "success",
    "example_mage_cluster": "success",
    "example_mage_cluster_env_vars": "success",
    "example_mage_cluster_group": "success",
    "example_mage_deferrable": "success",
    "example_mage_failing_pipeline": "failed",
    "example_mage_hook": "success",
    "example_mage_mapped": "success",
    "example_mage_on_failure": "failed",
    "example_mage_output": "success",
    "example_mage_pipeline": "success",
    "example_mage_pro_deployment": "success",
    "example_mage_schedule": "success",
    "example_mage_sensor": "success",
    "example_mage_task_group": "success",
    "wrong_password": "failed",
}


@pytest.fixture
def mage_runs(mage, run_ids):
    """Return the pipeline's runs that a DAG has started, when the DAG's run is over."""

    def mage_runs(pipeline_uuid, dag_id):
        assert run_ids[dag_id]
        return [
            run
            for run in mage.runs(pipeline_uuid)
            if (run["variables"] or {}).get("airflow", {}).get("dag_id") == dag_id
        ]

    return mage_runs


def test_every_dag_is_run(run_ids):
    assert set(run_ids) == set(EXPECTED)


@pytest.mark.parametrize(("dag_id", "state"), EXPECTED.items())
def test_dag_run_ends_as_it_should(airflow, run_ids, log, dag_id, state):
    run = airflow.request("GET", f"/dags/{dag_id}/dagRuns/{run_ids[dag_id]}")
    logs = {task_id: log(dag_id, task_id)[-40:] for task_id in airflow.task_states(dag_id, run_ids[dag_id])}
    assert run["state"] == state, logs


def test_green_task_is_exactly_one_completed_mage_run(mage, mage_runs, airflow, run_ids):
    [run] = mage_runs("daily_orders", "example_mage_pipeline")
    xcoms = airflow.xcoms("example_mage_pipeline", run_ids["example_mage_pipeline"], "run_daily_orders")

    assert run["status"] == "completed"
    assert xcoms["return_value"] == xcoms["pipeline_run_id"] == run["id"]
    blocks = {block["block_uuid"]: block["status"] for block in mage.run(run["id"])["block_runs"]}
    assert blocks == dict.fromkeys(("load_orders", "clean_orders", "export_totals"), "completed")


def test_authors_variables_reach_the_blocks(mage_runs):
    [run] = mage_runs("daily_orders", "example_mage_pipeline")

    assert run["variables"]["orders"] == 60


def test_red_task_is_exactly_one_failed_mage_run(mage_runs):
    [run] = mage_runs("broken_orders", "example_mage_failing_pipeline")

    assert run["status"] == "failed"


def test_last_lines_of_a_failed_tasks_log_name_the_block_and_quote_its_error(mage_runs, log):
    [run] = mage_runs("broken_orders", "example_mage_failing_pipeline")
    tail = "\n".join(log("example_mage_failing_pipeline", "run_broken_orders")[-15:])

    assert "check_orders" in tail
    assert "ValueError" in tail
    assert "orders have a negative amount" in tail
    assert f"/pipelines/broken_orders/runs/{run['id']}" in tail


@pytest.mark.parametrize(
    ("dag_id", "task_id", "pipeline_uuid"),
    [
        ("example_mage_pipeline", "run_daily_orders", "daily_orders"),
        ("example_mage_deferrable", "run_daily_orders", "daily_orders"),
        ("example_mage_failing_pipeline", "run_broken_orders", "broken_orders"),
        ("example_mage_sensor", "wait_for_daily_orders", "daily_orders"),
    ],
)
def test_task_links_to_its_run_in_mage(mage, mage_runs, airflow, run_ids, dag_id, task_id, pipeline_uuid):
    [run] = mage_runs(pipeline_uuid, dag_id)
    url = f"{mage.url}/pipelines/{pipeline_uuid}/runs/{run['id']}"

    links = {"Mage run": url, "Mage pipeline": f"{mage.url}/pipelines/{pipeline_uuid}/triggers"}
    if run["status"] == "failed":
        [block] = [one for one in mage.run(run["id"])["block_runs"] if one["status"] == "failed"]
        log_page = f"{mage.url}/pipelines/{pipeline_uuid}/logs?block_run_id%5B%5D={block['id']}"
        links["Mage block log"] = log_page
    shown = airflow.extra_links(dag_id, run_ids[dag_id], task_id)
    assert {name: address for name, address in shown.items() if address} == links
    assert airflow.xcoms(dag_id, run_ids[dag_id], task_id)["pipeline_run_url"] == url


def test_cancelled_run_is_cancelled_in_mage(mage_runs):
    [run] = mage_runs("daily_orders", "example_mage_cancel")

    assert run["status"] == "cancelled"


def test_wrong_password_starts_nothing_and_says_so(mage_runs, log):
    assert mage_runs("daily_orders", "wrong_password") == []
    assert "password" in "\n".join(log("wrong_password", "run_daily_orders")[-15:])


@pytest.mark.parametrize(
    ("cluster_id", "dag_id"),
    [("reports", "example_mage_cluster"), ("orders", "example_mage_cluster_group")],
)
def test_cluster_is_up_for_the_pipelines_and_down_afterwards(cloud, run_ids, cluster_id, dag_id):
    assert run_ids[dag_id]
    cluster = cloud.cloud.teams["team-1"][cluster_id]

    assert cluster.history == ["Starting", "Active", "Stopping", "Stopped"]


def test_mapped_pipelines_run_on_the_cluster_that_is_up(mage_runs):
    runs = mage_runs("daily_orders", "example_mage_cluster")

    assert sorted(run["variables"]["orders"] for run in runs) == [20, 30]
    assert {run["status"] for run in runs} == {"completed"}


def test_environment_is_changed_and_the_cluster_restarted(cloud, run_ids, env_var_secret):
    assert run_ids["example_mage_cluster_env_vars"]
    assert cloud.env("staging") == {
        "ENV": "prod",
        "TOKEN": None,  # it comes from elsewhere
        "DEFAULT_EXECUTOR_TYPE": "k8s",
        "ORDERS_API_TOKEN": env_var_secret,
    }
    assert cloud.cloud.teams["team-1"]["staging"].history == ["Starting", "Active", "Stopping", "Stopped"]


def test_commit_is_deployed_a_block_tried_and_the_workspace_resumed(pro, run_ids):
    assert run_ids["example_mage_pro_deployment"]
    [deployment] = pro.deployments

    assert deployment["source"]["version"] == "4f2c1e0"
    assert deployment["source"]["name"].startswith("Deployed by Airflow: example_mage_pro_deployment / ")
    [request] = pro.requests_of("POST", "/runs$")
    assert request.json["run"]["block_uuid"] == "load_orders"
    assert pro.count("PUT", "/workspaces/dev") == 1


def test_schedule_is_on_again(mage, run_ids):
    assert run_ids["example_mage_schedule"]
    rows = mage.request("GET", "/pipelines/daily_orders/pipeline_schedules")["pipeline_schedules"]

    assert [row["status"] for row in rows if row["name"] == "nightly"] == ["active"]


def test_output_of_a_block_reaches_another_task(airflow, run_ids):
    run_id = run_ids["example_mage_output"]
    rows = airflow.xcoms("example_mage_output", run_id, "run_daily_orders")["return_value"]

    assert [row["country"] for row in rows] == ["DE", "FR", "NL", "PT"]
    total = round(sum(row["amount"] for row in rows), 2)
    assert airflow.xcoms("example_mage_output", run_id, "add_up")["return_value"] == total


def test_backfill_hands_each_day_to_mage(mage_runs):
    runs = mage_runs("daily_orders", "example_mage_backfill")

    days = sorted(
        (
            run["execution_date"][:10],
            run["variables"]["interval_start_datetime"][:10],
            run["variables"]["interval_end_datetime"][:10],
        )
        for run in runs
    )
    assert days == [
        ("2026-01-01", "2026-01-01", "2026-01-02"),
        ("2026-01-02", "2026-01-02", "2026-01-03"),
    ]


def test_each_mapped_task_is_a_run_of_its_own(mage_runs):
    runs = mage_runs("daily_orders", "example_mage_mapped")

    assert sorted(run["variables"]["orders"] for run in runs) == [10, 20, 30]


def test_asset_runs_the_dag_that_waits_for_it(airflow, run_ids):
    assert run_ids["example_mage_assets"]
    airflow.wait_for_dag("example_mage_assets_report")

    def has_run():
        rows = airflow.request("GET", "/dags/example_mage_assets_report/dagRuns")["dag_runs"]
        return any(row["state"] == "success" for row in rows)

    wait_until(has_run, what="run because of the asset", timeout=600, interval=1)


def test_callback_learns_what_has_failed(airflow, run_ids, mage_runs):
    """On Airflow 3, callbacks of a task's own process write into its log; on 2.11, too."""
    [run] = mage_runs("broken_orders", "example_mage_on_failure")
    log = airflow.task_log("example_mage_on_failure", run_ids["example_mage_on_failure"], "run_broken_orders")

    assert f"Mage run {run['id']}: check_orders failed, see " in log


def test_hook_of_a_task_of_ones_own_reads_runs(airflow, run_ids):
    counts = airflow.xcoms("example_mage_hook", run_ids["example_mage_hook"], "count_runs")["return_value"]

    assert all(number > 0 for number in counts.values())


def test_every_example_is_described():
    for path in EXAMPLE_DAGS.glob("*.py"):
        text = path.read_text()
        assert text.count("description=") == text.count("doc_md=__doc__") == text.count(" DAG(\n"), path
