"""A real Airflow on loopback, for tests and the demo: scheduler, executor, triggerer and the rest.

It is the Airflow of the environment that this module runs in, 2.11 or 3, with a home of its own, on
PostgreSQL: its processes would lock one another out of a SQLite file, and on Airflow 3.3 the API server
itself.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import server_logs
from guard import GuardedProcess
from isolation import LOOPBACK, REPOSITORY, bare_environment, free_ports, wait_until
from postgresql import PostgreSQL
from repeating import LOST, ask_patiently
from server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


T = TypeVar("T")

EXAMPLE_DAGS = REPOSITORY / "example_dags"
EXECUTOR = Path(__file__).resolve().parent / "orderly_executor.py"
AIRFLOW_VERSION = version("apache-airflow")
AIRFLOW_3 = not AIRFLOW_VERSION.startswith("2.")
COMPONENTS = (
    ("api-server", "scheduler", "dag-processor", "triggerer")
    if AIRFLOW_3
    else ("webserver", "scheduler", "triggerer")
)
PREPARED_DATA = Path(sys.prefix) / "prepared-database"
"""What a PostgreSQL starts from in which this environment's Airflow has made its tables."""

DATABASE = "airflow"
LOG_SERVER_PORTS = ("AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT", "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT")
START_SECONDS = 600
WAIT_SECONDS = 600
"""How long to wait by default: it matters only where something is wrong, and not where a machine is slow."""

POLL_SECONDS = 1.0
REQUEST_SECONDS = 60
IMPORT_SECONDS = 60
"""How long a DAG may be missing, with DAG files that cannot be imported, until they are blamed."""

FINISHED = {"success", "failed"}
OVER = {*FINISHED, "upstream_failed", "skipped", "removed"}


class AirflowServer(Server):
    """
    An Airflow that lives as long as its ``with`` block, and never longer than this process.

    Nobody has to log in: everyone who reaches its loopback port is an administrator.

    :param database_url: its database: `DATABASE` of a server that was started from `PREPARED_DATA`
    :param dags: directories that are copied into its DAGs folder
    :param logging_level: Airflow's own
    :param env: more environment variables, such as ``AIRFLOW__...`` settings and ``AIRFLOW_CONN_...``
    :param port: of the API server or web server; 0 takes a free one
    """

    def __init__(
        self,
        database_url: str,
        *,
        dags: Sequence[Path] = (EXAMPLE_DAGS,),
        logging_level: str = "INFO",
        env: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="airflow-server-"))
        self.log_dir = self.directory / "logs"
        # many callers, each with a question now and then
        self.database = create_engine(database_url, poolclass=NullPool)
        self._processes: dict[str, GuardedProcess] = {}
        self._token = ""
        self._dags: set[str] = set()
        self._dags_read_at = 0.0
        self._dags_lock = threading.Lock()
        for source in dags:
            shutil.copytree(source, self.directory / "dags" / source.name)
        (self.directory / "config").mkdir()  # Airflow looks for modules there
        shutil.copy(EXECUTOR, self.directory / "config")
        own_port, log_port, trigger_log_port = free_ports(3)
        self.url = f"http://{LOOPBACK}:{port or own_port}"
        self._bin = Path(sys.prefix) / "bin"
        self._env = {
            **bare_environment(home=self.directory, bin_dir=self._bin),
            "AIRFLOW_HOME": str(self.directory),
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.directory / "dags"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.log_dir),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": logging_level,
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
            # Who is busy is not dead. Not the triggerer's: only after its 30 s are the triggers of one that
            # was killed taken up by the next, and one that is alone cannot lose any to another.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "300",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(self._settings_of_3() if AIRFLOW_3 else self._settings_of_2()),
            **(env or {}),
        }

    def _settings_of_3(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": self.url.rpartition(":")[2],
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": f"{EXECUTOR.stem}.OrderlyExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "300",
            "AIRFLOW__DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD": "300",
            # the files are there from the beginning and never change
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "86400",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "86400",
            "AIRFLOW__TRIGGERER__RUNNER_HEALTH_CHECK_THRESHOLD": "300",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # a task's process is ended after so many failed ones in a row (default: 3), and they are frequent
            "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "60",
            # a task's supervisor notices its end up to this late (default: 5 s)
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }

    def _settings_of_2(self) -> dict[str, str]:
        (self.directory / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\n")
        return {
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "AIRFLOW__CORE__DAG_FILE_PROCESSOR_TIMEOUT": "300",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            # the files are there from the beginning and never change
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "86400",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "86400",
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": LOOPBACK,
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": self.url.rpartition(":")[2],
            "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "300",
            "AIRFLOW__WEBSERVER__WEB_SERVER_WORKER_TIMEOUT": "300",
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }

    def start(self) -> None:
        """Start every component and return when all are healthy."""
        for component in COMPONENTS:
            self.start_component(component)
        wait_until(self._is_healthy, what="healthy Airflow", timeout=START_SECONDS, interval=0.5)

    def start_component(self, component: str) -> None:
        """
        Start one of `COMPONENTS`, or one more of its kind.

        :param component: its name, an ``airflow`` subcommand; "triggerer 2" is one more triggerer
        """
        env = self._env
        if component not in COMPONENTS:
            ports = zip(LOG_SERVER_PORTS, free_ports(len(LOG_SERVER_PORTS)), strict=True)
            env = {**env, **{name: str(port) for name, port in ports}}
        self._processes[component] = GuardedProcess(
            [str(self._bin / "airflow"), component.partition(" ")[0]],
            env=env,
            cwd=self.directory,
            log_path=self.component_log(component),
            remove=[self.directory],
        )
        server_logs.watch(f"Airflow's {component}", self.component_log(component))

    def restart_component(self, component: str, *, kill: bool = False) -> None:
        """
        End one of `COMPONENTS` and start it again.

        :param component: its name
        :param kill: with ``kill -9`` instead of SIGTERM
        """
        process = self._processes.pop(component)  # whoever waits meanwhile does not take it for dead
        (process.kill if kill else process.stop)()
        self.start_component(component)

    def component_processes(self, component: str) -> list[psutil.Process]:
        """
        All processes of a component.

        :param component: its name, as it was started
        :return: the processes
        """
        return self._processes[component].processes()

    def component_log(self, component: str) -> Path:
        """
        The file with a component's own output.

        :param component: its name
        :return: its path
        """
        return self.directory / f"{component}.log"

    def close(self) -> None:
        """End all components and remove everything."""
        for process in self._processes.values():
            process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def cli(self, *arguments: str) -> str:
        """
        Run the ``airflow`` command against this Airflow.

        :param arguments: its arguments
        :return: what it printed
        :raises RuntimeError: when it failed
        """
        return self.run("airflow", *arguments)

    def run(self, program: str, *arguments: str) -> str:
        """
        Run a program as whoever looks after this Airflow does on its machine.

        :param program: one of its environment, such as ``python``
        :param arguments: its arguments
        :return: what it printed
        :raises RuntimeError: when it failed
        """
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            env={**self._env, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"},  # it logs to stdout
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"{program} {' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            )
        return done.stdout

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        creates: bool = False,
    ) -> Any:
        """
        Ask the REST API something, again and again while it is too busy to answer.

        A POST is repeated only after a 5xx answer, as the transaction was rolled back then; after a lost
        connection nobody knows.

        :param method: HTTP method
        :param path: below ``/api/v2`` or, on Airflow 2, ``/api/v1``
        :param body: sent as JSON
        :param creates: whether it creates something under an id of our choice: that may be repeated always
        :return: the answer
        :raises requests.HTTPError: when it is not a good one
        """
        may_repeat = creates or method in {"GET", "PATCH"}
        is_repeated = False

        def note(what_was_said: str) -> None:
            nonlocal is_repeated
            is_repeated = True
            server_logs.note("Airflow", what_was_said)

        answer = ask_patiently(
            lambda: self._send(method, path, body),
            what=f"{method} {path}",
            repeat_if_lost=may_repeat,
            note=note,
        )
        # "It is there", "it is in that state": so the request that seemed to be lost was not.
        if is_repeated and may_repeat and answer.status_code == requests.codes.conflict:
            return None
        return self._read(method, path, answer)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        # No session: those of requests are not for several threads.
        headers = {}
        if AIRFLOW_3:
            if not self._token:
                answer = requests.get(f"{self.url}/auth/token", timeout=REQUEST_SECONDS)
                if not answer.ok:
                    return answer
                self._token = answer.json()["access_token"]
            headers["Authorization"] = f"Bearer {self._token}"
        url = f"{self.url}/api/{'v2' if AIRFLOW_3 else 'v1'}{path}"
        return requests.request(method, url, json=body, headers=headers, timeout=REQUEST_SECONDS)

    @staticmethod
    def _read(method: str, path: str, answer: requests.Response) -> Any:
        if not answer.ok:
            raise requests.HTTPError(
                f"{method} {path}: {answer.status_code} {answer.text[:500]}", response=answer
            )
        if not answer.content:
            return None
        # Airflow 2.11 sends logs as they are.
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    def add_connection(self, connection_id: str, conn_type: str, **fields: Any) -> None:
        """
        Store a connection.

        :param connection_id: its id
        :param conn_type: its type
        :param fields: ``host``, ``port``, ``login``, ``password``, ``schema``, and ``extra`` as a dict
        """
        extra = {"extra": json.dumps(fields.pop("extra"))} if "extra" in fields else {}
        body = {"connection_id": connection_id, "conn_type": conn_type, **fields, **extra}
        self.request("POST", "/connections", body, creates=True)

    def change_connection(self, connection_id: str, conn_type: str, **fields: Any) -> None:
        """
        Correct a connection, as a person does in the UI.

        :param connection_id: its id
        :param conn_type: its type
        :param fields: what is changed: ``host``, ``port``, ``login``, ``password``, ``schema``
        """
        mask = "&".join(f"update_mask={name}" for name in fields)
        body = {"connection_id": connection_id, "conn_type": conn_type, **fields}
        self.request("PATCH", f"/connections/{connection_id}?{mask}", body)

    def parse_again(self, dag_id: str) -> None:
        """
        Have the file of a DAG parsed, which nobody looks at again otherwise.

        :param dag_id: the DAG
        """
        token = self.request("GET", f"/dags/{dag_id}")["file_token"]
        self.request("PUT", f"/parseDagFile/{token}")

    def serialized_dag(self, dag_id: str) -> str:
        """
        What the scheduler knows of a DAG.

        :param dag_id: the DAG
        :return: JSON
        """
        newest = text(
            "SELECT data FROM serialized_dag WHERE dag_id = :dag_id ORDER BY last_updated DESC LIMIT 1"
        )
        with self.database.connect() as connection:
            return json.dumps(connection.execute(newest, {"dag_id": dag_id}).scalar())

    def trigger_dag(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> str:
        """
        Start a DAG run, as soon as the DAG is there.

        :param dag_id: the DAG
        :param conf: its configuration
        :param run_id: its id; default: a new one
        :return: its id
        """
        self.wait_for_dag(dag_id)
        run_id = run_id or f"manual__{secrets.token_hex(6)}"
        body: dict[str, Any] = {"conf": dict(conf or {}), "dag_run_id": run_id}
        if AIRFLOW_3:
            body["logical_date"] = None
        self.request("POST", f"/dags/{dag_id}/dagRuns", body, creates=True)
        return run_id

    def backfill(self, dag_id: str, from_date: str, to_date: str) -> list[str]:
        """
        Have Airflow run a DAG for each of some days, and wait until it has.

        :param dag_id: the DAG
        :param from_date: the first day, in ISO form
        :param to_date: the last one
        :return: the ids of the runs, the first day's first
        """
        self.wait_for_dag(dag_id)
        if AIRFLOW_3:
            dates = {"from_date": f"{from_date}T00:00:00Z", "to_date": f"{to_date}T00:00:00Z"}
            self.request("POST", "/backfills", {"dag_id": dag_id, "dag_run_conf": {}, **dates})
        else:
            self.cli("dags", "backfill", "-s", from_date, "-e", to_date, dag_id)
        rows = self.request("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
        rows = sorted(rows, key=lambda row: str(row["logical_date"]))
        run_ids: list[str] = [row["dag_run_id"] for row in rows if row["run_type"] == "backfill"]
        for run_id in run_ids:
            self.wait_dag_run(dag_id, run_id)
        return run_ids

    def wait_dag_run(self, dag_id: str, run_id: str, timeout: float = WAIT_SECONDS) -> str:
        """
        Wait until a DAG run is over.

        :param dag_id: the DAG
        :param run_id: the run
        :param timeout: seconds
        :return: "success" or "failed"
        :raises TimeoutError: when it went on for longer; it says what its tasks are at
        """

        def final_state() -> str | None:
            state: str = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return state if state in FINISHED else None

        try:
            return str(self._wait(final_state, f"end of {run_id} of {dag_id}", timeout))
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.task_states(dag_id, run_id)}") from error

    def wait_for_dag(self, dag_id: str) -> None:
        """
        Wait until a DAG has been parsed.

        :param dag_id: the DAG
        """
        blame_at = time.monotonic() + IMPORT_SECONDS
        self._wait(lambda: self._has_dag(dag_id, blame_at), f"DAG {dag_id}", START_SECONDS)

    def mark_dag_run(self, dag_id: str, run_id: str, state: str) -> None:
        """
        Mark a DAG run, as a person does in the UI.

        :param dag_id: the DAG
        :param run_id: the run
        :param state: "failed" or "success"
        """
        self.request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        """
        Delete a DAG run.

        :param dag_id: the DAG
        :param run_id: the run, which is over
        """
        self.request("DELETE", f"/dags/{dag_id}/dagRuns/{run_id}")

    def wait_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, timeout: float = WAIT_SECONDS
    ) -> str:
        """
        Wait until a task is in one of some states.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :param states: what is waited for, such as "running", "deferred", "failed"
        :param timeout: seconds
        :return: the state it is in
        :raises RuntimeError: when it is over, in another state
        """

        def wanted_state() -> str | None:
            state = self.task_states(dag_id, run_id).get(task_id)
            if state in OVER and state not in states:
                raise RuntimeError(f"{task_id} of {run_id} is {state}, and not in {states}")
            return state if state in states else None

        return str(self._wait(wanted_state, f"{task_id} of {run_id} in {states}", timeout))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """
        The task instances of a run, as the REST API shows them.

        :param dag_id: the DAG
        :param run_id: the run
        :return: the JSON objects: ``task_id``, ``map_index``, ``state``, ``try_number``, ``pid``, …
        """
        found: list[dict[str, Any]] = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """
        The state of every task of a run.

        :param dag_id: the DAG
        :param run_id: the run
        :return: state by task id, of mapped tasks by ``task_id[map_index]``
        """
        return {
            row["task_id"] if row["map_index"] < 0 else f"{row['task_id']}[{row['map_index']}]": row["state"]
            for row in self.task_instances(dag_id, run_id)
        }

    def count_states(self, dag_id: str, run_id: str, task_id: str) -> Counter[str]:
        """
        How many task instances are in which state: read in one go, and not page by page.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the mapped task, or a pattern that several match, as of SQL's LIKE
        :return: their number by state
        """
        rows = text(
            "SELECT state FROM task_instance "
            "WHERE dag_id = :dag_id AND run_id = :run_id AND task_id LIKE :task_id"
        )
        which = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with self.database.connect() as connection:
            return Counter(connection.execute(rows, which).scalars())

    def triggerer_of(self, dag_id: str, run_id: str, task_id: str) -> int | None:
        """
        Which triggerer a deferred task waits in.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :return: the id of the triggerer's job, each start of one is a new job; None if it waits for one
        """
        rows = text(
            "SELECT triggerer_id FROM trigger JOIN task_instance ON trigger_id = trigger.id "
            "WHERE dag_id = :dag_id AND run_id = :run_id AND task_id = :task_id"
        )
        which = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        with self.database.connect() as connection:
            found: int | None = connection.execute(rows, which).scalar()
            return found

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """
        A task's log, from its file: on Airflow 3 one JSON object a line.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :param try_number: which attempt
        :param map_index: of a mapped task
        :return: its text, the triggerer's part last
        """
        directory = self.log_dir / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            directory /= f"map_index={map_index}"
        parts = sorted(directory.glob(f"attempt={try_number}.log*"))
        return "".join(part.read_text() for part in parts)

    def shown_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """
        A task's log in the order in which the UI shows it: that of its worker and of its triggerer in one.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :param try_number: which attempt
        :return: its lines
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        log = self.request("GET", path)
        return readable(log if isinstance(log, str) else "\n".join(map(json.dumps, log["content"])))

    def xcoms(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """
        What a task has pushed.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :param map_index: of a mapped task
        :return: value by key
        """
        entries = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        which = f"map_index={map_index}"
        keys = [row["key"] for row in self.request("GET", f"{entries}?{which}")["xcom_entries"]]
        as_json = f"{which}&stringify=false"
        return {key: self.request("GET", f"{entries}/{key}?{as_json}")["value"] for key in keys}

    def extra_links(self, dag_id: str, run_id: str, task_id: str) -> dict[str, str | None]:
        """
        The links that the UI shows for a task.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :return: URL by name
        """
        links: dict[str, Any] = self.request(
            "GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
        )
        return links["extra_links"] if AIRFLOW_3 else links

    def clear_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """
        Clear a task, as a person does in the UI: it runs again.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool) -> None:
        """
        Clear tasks that are over, together, as a person does in the UI.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_ids: the tasks
        :param downstream: whether what is after them, too
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """
        Mark a task, as a person does in the UI.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :param state: "failed" or "success"
        """
        body = {"new_state": state} if AIRFLOW_3 else {"new_state": state, "dry_run": False}
        self.request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", body)

    def task_processes(self, dag_id: str, run_id: str, task_id: str) -> list[psutil.Process]:
        """
        The processes that a task lives in, which is ``running`` a moment before it has one.

        :param dag_id: the DAG
        :param run_id: the run
        :param task_id: the task
        :return: the process that executes the operator, then its supervisor, up to the executor's worker
        """

        def pid() -> int | None:
            rows = self.task_instances(dag_id, run_id)
            found: int | None = next(row["pid"] for row in rows if row["task_id"] == task_id)
            return found

        task = psutil.Process(self._wait(pid, f"process of {task_id} of {run_id}", WAIT_SECONDS))
        executor = self._processes["scheduler"].processes()
        return [task, *(process for process in task.parents() if process in executor[1:])]

    def _wait(self, look: Callable[[], T | None], what: str, timeout: float) -> T:
        """
        `wait_until`, as long as all components run.

        :param look: returns something true when it is time to stop
        :param what: what is waited for
        :param timeout: seconds
        :return: what `look` returned
        """

        def look_if_all_run() -> T | None:
            self._check_components()
            return look()

        return wait_until(look_if_all_run, what=what, timeout=timeout, interval=POLL_SECONDS)

    def _check_components(self) -> None:
        """
        See whether each component runs that is not just being restarted.

        :raises RuntimeError: when one of them has died
        """
        for component, process in tuple(self._processes.items()):
            if not process.is_running:
                path = self.component_log(component)
                log = path.read_text(errors="replace") if path.exists() else "stopped"
                raise RuntimeError(f"Airflow's {component} has died:\n{log[-3000:]}")

    def _has_dag(self, dag_id: str, blame_at: float) -> bool:
        """
        Whether the DAG has been parsed.

        :param dag_id: the DAG
        :param blame_at: from when on a DAG file that cannot be imported is to blame for its absence
        :return: true if so, false if not yet
        :raises RuntimeError: when a DAG file cannot be imported
        """
        with self._dags_lock:  # many ask at once when Airflow has just started
            if dag_id not in self._dags and time.monotonic() > self._dags_read_at + POLL_SECONDS / 2:
                self._dags = {row["dag_id"] for row in self.request("GET", "/dags?limit=100")["dags"]}
                self._dags_read_at = time.monotonic()
            if dag_id in self._dags:
                return True
        if time.monotonic() > blame_at and (errors := self.request("GET", "/importErrors")["import_errors"]):
            raise RuntimeError("\n".join(error["stack_trace"] for error in errors))
        return False

    def _is_healthy(self) -> bool:
        """
        Whether all components say that they are well.

        :return: true if so, false if not yet
        """
        self._check_components()
        asked = ("GET", "/monitor/health" if AIRFLOW_3 else "/health")
        try:
            health = self._read(*asked, self._send(*asked))
        except (requests.HTTPError, *LOST):
            return False
        needed = {"metadatabase", "scheduler", "triggerer"} | ({"dag_processor"} if AIRFLOW_3 else set())
        return all(health[component]["status"] == "healthy" for component in needed)


def readable(log: str) -> list[str]:
    """
    A task's log as a person reads it in the UI: Airflow 3 writes one JSON object a line.

    :param log: what `AirflowServer.task_log` returned
    :return: its lines, without those of level DEBUG and the marks of folded parts; of an exception on Airflow
        3 only its type and text
    """
    noise = (" DEBUG - ", "::group::", "::endgroup::")
    lines: list[str] = []
    for line in log.splitlines():
        if not line.startswith("{"):
            lines.append(line)
            continue
        record = json.loads(line)
        if record.get("level") == "debug":
            continue
        lines.extend(f"{record.get('level', '')}: {record.get('event', '')}".splitlines())
        for error in record.get("error_detail", []):
            lines.extend(f"{error['exc_type']}: {error['exc_value']}".splitlines())
    return [line for line in lines if not any(mark in line for mark in noise)]


def prepare_database() -> None:
    """Let Airflow make its tables, once for all that start from `PREPARED_DATA`."""
    with PostgreSQL() as server:
        airflow = AirflowServer(server.create_database(DATABASE), dags=())
        try:
            airflow.cli("db", "migrate")
        finally:
            airflow.close()
        server.keep_data(PREPARED_DATA)


if __name__ == "__main__":
    prepare_database()
