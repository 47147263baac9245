"""What ``make demo`` does: the example DAGs on a real Airflow and a real Mage, and what came of it."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_server import AIRFLOW_VERSION, DATABASE, PREPARED_DATA, AirflowServer
from isolation import die_with_parent, is_free, roomy_directory
from mage_server import MageServer
from postgresql import PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Iterator

# DAG, task, the state that it should end in
EXAMPLES = (
    ("example_mage_pipeline", "run_daily_orders", "success"),
    ("example_mage_failing_pipeline", "run_broken_orders", "failed"),
)
NO_RUN: dict[str, Any] = {"pipeline_uuid": "none", "status": "not started", "block_runs": []}
COLOURS = {"success": "green", "completed": "green", "failed": "red"}
USUAL_AIRFLOW_PORT, USUAL_MAGE_PORT = 8080, 6789
LOG_LINES = 12

console = Console(highlight=False)


@contextmanager
def step(what: str) -> Iterator[None]:
    """
    Show that something is going on, and when it is done how long it took.

    :param what: what is going on
    """
    began = time.monotonic()
    if not console.is_terminal:
        console.print(f"{what} ...")
    with console.status(f"{what} ..."):
        yield
    console.print(f"[green]done[/] {what} [dim]({time.monotonic() - began:.0f} s)[/]")


def coloured(state: object) -> Text:
    """
    A state in its colour.

    :param state: Airflow's or Mage's word for it
    :return: the text for a table's cell
    """
    return Text(str(state), style=COLOURS.get(str(state), "yellow"))


def show_results(airflow: AirflowServer, mage: MageServer, run_ids: dict[str, str]) -> bool:
    """
    Print what happened, as Airflow and Mage tell it.

    :param airflow: asked for task states, XComs, links and logs
    :param mage: asked for the states of runs and blocks
    :param run_ids: Airflow's run of each DAG
    :return: whether every task ended as it should
    """
    table = Table(title="What happened", title_justify="left", show_lines=True)
    for heading in ("In Airflow", "In Mage", "Blocks"):
        table.add_column(heading, overflow="fold")
    links = []
    as_it_should = True
    for dag_id, task_id, wanted in EXAMPLES:
        run_id = run_ids[dag_id]
        state = airflow.task_states(dag_id, run_id)[task_id]
        as_it_should &= state == wanted
        pipeline_run_id = airflow.xcoms(dag_id, run_id, task_id).get("pipeline_run_id")
        run = mage.run(pipeline_run_id) if pipeline_run_id else NO_RUN
        name = f"{run['pipeline_uuid']} #{pipeline_run_id}"
        blocks = Text("\n").join(
            Text.assemble(block["block_uuid"], " ", coloured(block["status"])) for block in run["block_runs"]
        )
        as_wanted = ", as it should be" if state == wanted else f", should be {wanted}"
        table.add_row(
            Text.assemble(dag_id, "\n", task_id, "\n", coloured(state), as_wanted),
            Text.assemble(name, "\n", coloured(run["status"])),
            blocks,
        )
        links += [
            f"{task_id}, {link}: {url}"
            for link, url in airflow.extra_links(dag_id, run_id, task_id).items()
            if url
        ]
    console.print(table)
    console.print("The links that Airflow shows on the tasks:", style="bold")
    for link in links:
        console.print(f"  {link}", soft_wrap=True, markup=False)
    dag_id, task_id, _ = EXAMPLES[-1]
    console.print(f"The last lines in the log of {task_id}, which is meant to fail:", style="bold")
    for line in airflow.shown_log(dag_id, run_ids[dag_id], task_id)[-LOG_LINES:]:
        console.print(f"  {line}", soft_wrap=True, markup=False)
    return as_it_should


def stay_up(airflow: AirflowServer, mage: MageServer) -> None:
    """
    Say where everything is, and wait for Ctrl-C.

    :param airflow: to look at
    :param mage: to look at
    """
    console.rule("Both stay up until Ctrl-C")
    console.print(f"Airflow  {airflow.url}   no log-in: whoever comes is an administrator", markup=False)
    console.print(
        f"Mage     {mage.url}   e-mail {mage.email}   password {mage.password}", markup=False, soft_wrap=True
    )
    console.print(
        f"Trigger a DAG again, or look at the connection: {airflow.url}/connections",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"Logs     {airflow.directory} and {mage.log_path}", markup=False, soft_wrap=True)
    signal.pause()


def run_demo(*, keep: bool) -> bool:
    """
    Start both servers, run the examples, show what came of it and stop everything.

    :param keep: whether the servers stay up until Ctrl-C
    :return: whether everything ended as it should
    """
    console.print(
        f"airflow-provider-mage {version('airflow-provider-mage')}, on this machine alone", markup=False
    )
    with ExitStack() as servers:
        with step(f"start a real Mage server, and a real Airflow {AIRFLOW_VERSION} with the package in it"):
            postgresql = servers.enter_context(PostgreSQL(PREPARED_DATA))
            mage = MageServer(postgresql.create_database("mage"), port=USUAL_MAGE_PORT)
            with ThreadPoolExecutor(1) as pool:
                started = pool.submit(servers.enter_context, mage)
                port = USUAL_AIRFLOW_PORT if is_free(USUAL_AIRFLOW_PORT) else 0
                airflow = servers.enter_context(AirflowServer(postgresql.url(DATABASE), port=port))
                started.result()
            address = urlsplit(mage.url)
            airflow.add_connection(
                "mage_default",
                "mage",
                schema=address.scheme,
                host=address.hostname,
                port=address.port,
                login=mage.email,
                password=mage.password,
            )
        with step("run the example DAGs"):
            run_ids = {dag_id: airflow.trigger_dag(dag_id) for dag_id, _, _ in EXAMPLES}
            for dag_id, run_id in run_ids.items():
                airflow.wait_dag_run(dag_id, run_id)
        as_it_should = show_results(airflow, mage, run_ids)
        if keep:
            stay_up(airflow, mage)
        console.print("stopping both servers ...")
    return as_it_should


def main() -> int:
    """Run the demo; the exit code is 0 only if every task ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="both servers stay up until Ctrl-C")
    keep = parser.parse_args().keep
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tempfile.tempdir = str(roomy_directory())
    try:
        as_it_should = run_demo(keep=keep)
    except KeyboardInterrupt:
        console.print("stopped: nothing is left running")
        return 0 if keep else 130
    except (RuntimeError, TimeoutError, requests.RequestException) as error:
        console.print(f"The demo failed. {error}", style="red", markup=False)
        return 1
    verdict = "Every task ended as it should" if as_it_should else "A task did not end as it should"
    console.print(f"{verdict}; nothing is left running.", style="green" if as_it_should else "red")
    return 0 if as_it_should else 1


if __name__ == "__main__":
    sys.exit(main())
