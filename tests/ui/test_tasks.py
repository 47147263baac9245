"""What a person sees of a task: its log, and the pages in Mage that it leads to."""

import re

import pytest

from airflow_server import AIRFLOW_3

TASKS = {
    "example_mage_pipeline": "run_daily_orders",
    "example_mage_failing_pipeline": "run_broken_orders",
    "example_mage_deferrable": "run_daily_orders",
}


@pytest.fixture
def signed_in(page, mage):
    """Sign in to Mage, as its page does it."""
    page.goto(f"{mage.url}/sign-in")
    page.locator("input[type=text], input[type=email], input:not([type])").first.fill(mage.email)
    page.locator("input[type=password]").fill(mage.password)
    page.get_by_role("button", name=re.compile("Sign in", re.IGNORECASE)).click()
    page.wait_for_url(lambda url: "sign-in" not in url)


@pytest.mark.parametrize("dag_id", TASKS)
@pytest.mark.usefixtures("signed_in")
def test_each_link_leads_to_the_page_of_that_very_run(airflow, pages, runs, dag_id):
    task_id = TASKS[dag_id]
    run_id = airflow.xcoms(dag_id, runs[dag_id], task_id)["pipeline_run_id"]
    pages.open_details(dag_id, runs[dag_id], task_id)
    links = pages.links()

    pipeline_uuid = "broken_orders" if "failing" in dag_id else "daily_orders"
    assert set(links) == {"Mage run", "Mage pipeline", *(["Mage block log"] if "failing" in dag_id else [])}
    assert links["Mage run"].endswith(f"/pipelines/{pipeline_uuid}/runs/{run_id}")
    # Mage's page of a run has its blocks, and its id in the address alone.
    shows = {"Mage run": "load_orders", "Mage pipeline": pipeline_uuid, "Mage block log": "check_orders"}
    for name, link in links.items():
        pages.page.goto(link)
        pages.page.get_by_text(shows[name]).first.wait_for(state="attached")
        assert pages.page.url.startswith(link.partition("?")[0])


def test_log_of_a_failed_task_says_why(pages, runs, picture):
    dag_id = "example_mage_failing_pipeline"
    pages.open_log(dag_id, runs[dag_id], TASKS[dag_id])
    pages.wait_for_log("Block check_orders failed: ValueError: ")
    if AIRFLOW_3:  # down to the stack, which has the machine's own paths
        picture("log-failed", clip={"x": 0, "y": 0, "width": 1280, "height": 611})


def test_log_of_a_deferred_task_tells_each_step(pages, runs, picture):
    dag_id = "example_mage_deferrable"
    pages.open_log(dag_id, runs[dag_id], TASKS[dag_id])
    pages.wait_for_log(re.compile("Run .* completed after"))
    if AIRFLOW_3:
        picture("log-deferred")


@pytest.mark.parametrize("view", ["grid", "graph"])
def test_pipeline_is_a_group_with_a_task_for_each_block(pages, runs, picture, view):
    dag_id = "example_mage_task_group"
    getattr(pages, f"open_{view}")(dag_id, runs[dag_id])
    for name in ("launch", "load_orders", "clean_orders", "export_totals", "verdict"):
        pages.page.get_by_text(name, exact=False).first.wait_for(state="attached")
    if AIRFLOW_3:
        pages.page.wait_for_timeout(3000)  # until the graph has found its place
        part = {"grid": (0, 0, 1280, 560), "graph": (76, 470, 820, 140)}[view]
        picture(f"task-group-{view}", clip=dict(zip(("x", "y", "width", "height"), part, strict=True)))


def test_link_of_a_blocks_task_leads_to_the_log_of_that_block(airflow, pages, runs):
    dag_id, task_id = "example_mage_task_group", "orders.clean_orders"
    pages.open_details(dag_id, runs[dag_id], task_id)

    assert "/pipelines/daily_orders/logs?block_run_id" in pages.links()["Mage block log"]
