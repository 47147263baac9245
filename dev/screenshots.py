"""
Take the pictures in docs/images: the log of a failed task, and that of one that was deferred for a while.

What ``make screenshots`` does. It needs Chromium, which no package index has: ``CHROMIUM`` names it, if it is
not on the path. Look at the pictures before they are committed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from airflow_server import DATABASE, EXAMPLE_DAGS, PREPARED_DATA, AirflowServer
from isolation import REPOSITORY, die_with_parent, roomy_directory
from mage_server import MageServer
from postgresql import PostgreSQL

IMAGES = REPOSITORY / "docs" / "images"
NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120
WIDTH, HEIGHT = 1280, 900
# picture, DAG, task, and how much of the page is shown: the stack of a failure has this machine's own paths
PICTURES = (
    ("log-failed.png", "example_mage_failing_pipeline", "run_broken_orders", 611),
    ("log-deferred.png", "example_mage_deferrable", "run_daily_orders", 600),
)
SLOW = '    count = int(kwargs.get("orders", 40))\n'


def find_browser() -> str:
    """
    Find Chromium.

    :return: its path
    :raises SystemExit: when there is none
    """
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise SystemExit(f"Install Chromium (one of {', '.join(NAMES)}), or say where it is in CHROMIUM=")


def take(browser: str, url: str, path: Path, height: int) -> None:
    """
    Take a picture of the upper part of a page.

    :param browser: the path of Chromium
    :param url: the page
    :param path: where the picture goes
    :param height: how tall it is
    """
    with tempfile.TemporaryDirectory() as directory:
        whole, part = Path(directory) / "whole.png", Path(directory) / "part.html"
        _photograph(browser, url, whole, HEIGHT)
        # The page would scroll in a window of that height.
        style = f"margin: 0; height: {height}px; overflow: hidden"
        part.write_text(f"<body style='{style}'><img src='{whole.name}'>")
        _photograph(browser, part.as_uri(), path, height)


def _photograph(browser: str, url: str, path: Path, height: int) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH},{height}",
            "--virtual-time-budget=20000",
            f"--screenshot={path}",
            url,
        ]
        subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)


def main() -> int:
    """Take all pictures, and print the logs that are on them."""
    die_with_parent()
    browser = find_browser()
    tempfile.tempdir = str(roomy_directory())
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as servers:
        postgresql = servers.enter_context(PostgreSQL(PREPARED_DATA))
        mage = MageServer(postgresql.create_database("mage"))
        # Long enough to be seen running.
        block = mage.project_dir / "data_loaders" / "load_orders.py"
        block.write_text(block.read_text().replace(SLOW, f"    import time\n    time.sleep(40)\n{SLOW}"))
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(servers.enter_context, mage)
            airflow = servers.enter_context(AirflowServer(postgresql.url(DATABASE), dags=[EXAMPLE_DAGS]))
            started.result()
        airflow.add_connection(
            "mage_default", "mage", host=mage.url, login=mage.email, password=mage.password
        )
        run_ids = {dag_id: airflow.trigger_dag(dag_id) for _, dag_id, _, _ in PICTURES}
        for name, dag_id, task_id, height in PICTURES:
            airflow.wait_dag_run(dag_id, run_ids[dag_id])
            page = f"{airflow.url}/dags/{dag_id}/runs/{run_ids[dag_id]}/tasks/{task_id}?try_number=1"
            take(browser, page, IMAGES / name, height)
            print(f"--> {IMAGES / name}", *airflow.shown_log(dag_id, run_ids[dag_id], task_id), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
