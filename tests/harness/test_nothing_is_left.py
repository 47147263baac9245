"""What the servers of tests leave behind when those who started them are killed: nothing."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from isolation import PORTS, REPOSITORY, free_ports, is_free, wait_until
from postgresql import PostgreSQL

SHARED_MEMORY = Path("/proc/sysvipc/shm")
WITH_DEV = {**os.environ, "PYTHONPATH": str(REPOSITORY / "dev")}

SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
from postgresql import PostgreSQL
with PostgreSQL() as server:
    server.create_database("some")
    print(server.directory, flush=True)
    time.sleep(600)
"""
CLINGING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("ready", flush=True)
        time.sleep(600)
    sys.exit()
time.sleep(600)
"""
GUARDED = f"""
import sys, time
from pathlib import Path
from guard import GuardedProcess
directory = Path(sys.argv[1])
command = [sys.executable, "-c", {CLINGING!r}]
GuardedProcess(command, env={{}}, cwd=directory, log_path=directory / "log", remove=[directory])
time.sleep(600)
"""


def marked(directory):
    """Return the processes that work in a directory or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def segments():
    """Return the ids of the shared memory segments of this machine."""
    return {line.split()[1] for line in SHARED_MEMORY.read_text().splitlines()[1:]}


@pytest.fixture
def short_path():
    """A directory that a Unix socket can be below, as ``tmp_path`` may be too long for that."""
    with tempfile.TemporaryDirectory(prefix="short-") as name:
        path = Path(name)
        path.chmod(0o711)  # the other user that runs PostgreSQL where root would must get there
        yield path


def test_postgresql_starts_where_the_path_of_temporary_files_is_too_long_for_a_socket(tmp_path, monkeypatch):
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    with PostgreSQL() as server:
        assert server.create_database("some")
    assert not server.directory.exists()
    assert not list(directory.iterdir())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_postgresql_whose_caller_is_killed_leaves_no_process_no_file_and_no_shared_memory(how, short_path):
    env = {**WITH_DEV, "TMPDIR": str(short_path)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], env=env, stdout=subprocess.PIPE, text=True
    ) as caller:
        directory = Path(caller.stdout.readline().strip())
        segment = (directory / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert marked(directory)
        assert segment in segments()
        caller.send_signal(how)
    wait_until(lambda: not directory.exists(), what="end of the directory", timeout=60)
    wait_until(lambda: not marked(short_path), what="end of the processes", timeout=60)
    assert segment not in segments()


def test_what_left_its_process_group_and_ignores_sigterm_ends_with_the_caller(tmp_path):
    directory = tmp_path / "server"
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", GUARDED, str(directory)], env=WITH_DEV) as caller:
        log = directory / "log"
        wait_until(lambda: log.exists() and "ready" in log.read_text(), what="server", timeout=60)
        assert len(marked(directory)) >= 3
        caller.kill()
    wait_until(lambda: not directory.exists(), what="end of the directory", timeout=60)
    wait_until(lambda: not marked(directory), what="end of the processes", timeout=60)


def test_a_port_that_was_given_to_one_process_is_given_to_no_other():
    [taken] = free_ports(1)
    other = next(port for port in PORTS if port != taken and is_free(port))

    code = f"""
import isolation
choices = iter([{taken}, {other}])
isolation.random.choice = lambda _: next(choices)
print(isolation.free_ports(1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=WITH_DEV, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([other])
