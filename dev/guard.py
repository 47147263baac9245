"""Start a server so that nothing of it outlives whoever started it, however that one dies.

Servers fork, and some of what they fork leaves the process group (Mage's kernels, Airflow's task
processes), so that ending the group is not enough. Between the caller and the server stands a small guard
process. It adopts what the server orphans (a Linux "child subreaper"), so everything stays below it, and it
reads a pipe whose other end only the caller holds: when the caller is gone, by Ctrl-C, an exception or
``kill -9``, the pipe closes, and the guard ends everything below it and removes the directories that the
caller can no longer remove.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from isolation import die_with_parent, remove

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PR_SET_CHILD_SUBREAPER = 36
STOP, KILL = b"s", b"k"
GRACE_SECONDS = 5.0
POSTGRES = "postgres"
"""A program that is sent SIGQUIT, at which it stops at once: SIGKILL would leave its shared memory behind."""


class GuardedProcess:
    """
    A running command and everything that it starts.

    :param command: the program and its arguments
    :param env: its whole environment: nothing is inherited
    :param cwd: where it runs
    :param log_path: file that its output is appended to; None: it writes where the caller does
    :param remove: directories that are removed when the caller dies
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log_path: Path | None,
        remove: Sequence[Path] = (),
    ) -> None:
        removals = [argument for path in remove for argument in ("--remove", str(path))]
        with log_path.open("ab") if log_path else contextlib.nullcontext() as log:
            self._guard = subprocess.Popen(
                [sys.executable, __file__, *removals, "--", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,  # a Ctrl-C in the terminal is for the caller alone
            )

    @property
    def is_running(self) -> bool:
        """Whether the command still runs."""
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int:
        """The command's exit code, once it has ended; negative if a signal ended it."""
        return self._guard.wait()

    def processes(self) -> list[psutil.Process]:
        """Everything that runs below the guard, the command included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            below: list[psutil.Process] = psutil.Process(self._guard.pid).children(recursive=True)
            return below
        return []

    def stop(self) -> None:
        """Ask everything to end (SIGTERM), kill what has not soon, and return when all is gone."""
        self._end(STOP)

    def kill(self) -> None:
        """Kill everything at once (SIGKILL), and return when all is gone."""
        self._end(KILL)

    def _end(self, how: bytes) -> None:
        pipe = self._guard.stdin
        assert pipe is not None  # noqa: S101  # a fact about Popen(stdin=PIPE), for the type checker
        with contextlib.suppress(BrokenPipeError, ValueError):  # gone, or ended before
            pipe.write(how)
            pipe.flush()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
        self._guard.wait()


def end_children(*, grace: float) -> None:
    """
    End everything below this process.

    :param grace: seconds between SIGTERM and SIGKILL; 0 sends SIGKILL only
    """
    me = psutil.Process()
    below = me.children(recursive=True)
    asked = []
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == POSTGRES:
                process.send_signal(signal.SIGQUIT)
            elif grace:
                process.terminate()
            else:
                continue
            asked.append(process)
    psutil.wait_procs(asked, timeout=grace or GRACE_SECONDS)
    # Again and again: what is killed may have forked a moment before.
    while below := me.children(recursive=True):
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=1)


def reap_adopted(server_pid: int) -> None:
    """
    Take the exit status of what was orphaned and adopted, so that no zombies pile up.

    :param server_pid: left alone: it is `subprocess`'s own child
    """
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid != server_pid and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def main() -> int:
    """Run the command given after ``--`` until it ends, or until the pipe on stdin says so or closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--remove", type=Path, action="append", default=[])
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    word = b""
    try:
        # It ends also if the guard is killed, which nobody should do.
        server = subprocess.Popen(args.command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509  no threads
        while server.poll() is None:
            if select.select([sys.stdin], [], [], 1.0)[0]:
                word = os.read(sys.stdin.fileno(), 1)
                break
            reap_adopted(server.pid)
        else:
            word = STOP  # it ended by itself: whoever started it may want to read its log
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_children(grace=GRACE_SECONDS if word == STOP else 0)
        if not word:  # the pipe closed, as the caller is dead, or somebody ends every process
            for path in args.remove:
                remove(path)
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
