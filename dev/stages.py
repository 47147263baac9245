"""
Run stages of the tests side by side, each timed, and each so that it leaves nothing behind.

    stages.py [--at-once N] [--airflow 3 2.11] [--lowest lowest] [--mage 0.9.80]
        [--database sqlite postgresql] [--runs 30] [--fuzz-seconds 20] STAGE [STAGE ...]

A stage is a command that runs below a guard and in a temporary directory of its own, in memory where there is
room. Both go with the stage, also when this process or the `make` that started it is killed. One stage alone
prints as it goes; of several, each prints when it is over, and a red one's end is repeated at the end of all.
The exit code is 0 only if all are green.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from guard import GuardedProcess
from isolation import REPOSITORY, die_with_parent, remove, roomy_directory

NAMES = ("check", "unit", "hostile", "contract", "faults", "essential", "e2e", "ui")
DATABASES = ("sqlite", "postgresql")
UNIT_TESTS = ("tests/package", "tests/unit")
# What a line of Airflow has to do for the package to be of use on it.
ESSENTIAL_TESTS = tuple(
    f"tests/e2e/test_{name}.py"
    for name in ("example_dags", "airflow_knows_the_provider", "lifecycle", "failing_pipelines")
)
UNIT_WORKERS = ("-n", "2", "--dist", "worksteal")
CONTRACT_WORKERS = ("-n", "3", "--dist", "loadfile")
LOOK_SECONDS = 0.2
SUMMARY = "= short test summary info ="
REPEATED_LINES = 60


@dataclass(frozen=True)
class Stage:
    """A command of the test suite."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)


class Running:
    """
    A stage that has been started.

    :param stage: what runs
    :param prints: whether it prints as it goes
    """

    def __init__(self, stage: Stage, *, prints: bool) -> None:
        self.stage = stage
        self._began = time.monotonic()
        self._directory = Path(mkdtemp(prefix=f"{stage.name}-", dir=roomy_directory()))
        # PostgreSQL runs as another user where the caller is root
        self._directory.chmod(0o711)
        self._log = None if prints else self._directory / "output"
        env = {
            **os.environ,
            "AIRFLOW_HOME": str(self._directory / "airflow"),
            "TMPDIR": str(self._directory),
            "CI": "1",  # so that pytest cuts no line short
            **stage.env,
        }
        self._process = GuardedProcess(
            stage.command, env=env, cwd=REPOSITORY, log_path=self._log, remove=[self._directory]
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not self._process.is_running

    def end(self) -> Result:
        """
        Stop what still runs of it, print what has not been printed and remove its directory.

        :return: what came of it
        """
        self._process.stop()
        seconds = time.monotonic() - self._began
        output = self._log.read_text(errors="replace").rstrip() if self._log else ""
        result = Result(self.stage.name, self._process.exit_code, seconds, output)
        if self._log:
            print(f"\n==> {self.stage.name}\n{output}", flush=True)
        print(f"<== {result}", flush=True)
        remove(self._directory)
        return result


@dataclass(frozen=True)
class Result:
    """What came of a stage."""

    name: str
    exit_code: int
    seconds: float
    output: str

    @property
    def summary(self) -> str:
        """What a reader of a long output wants to know first: which tests failed; else its last lines."""
        lines = self.output.splitlines()
        of_tests = [number for number, line in enumerate(lines) if SUMMARY in line]
        return "\n".join(lines[of_tests[-1] :] if of_tests else lines[-REPEATED_LINES:])

    def __str__(self) -> str:
        verdict = "green" if self.exit_code == 0 else f"RED (exit code {self.exit_code})"
        return f"{self.name:<22}{self.seconds:>6.0f} s  {verdict}"


def stages(names: list[str], args: argparse.Namespace) -> list[Stage]:
    """
    Return the stages that some names stand for, in the order in which they start.

    :param names: of `NAMES`
    :param args: the command line
    :return: a stage for each Airflow line, database or kind of test
    """
    pytest_args = shlex.split(args.pytest_args)
    mage_env = {"MAGE_ENV": str(args.envs / f"mage-{args.mage}")}

    def program(line: str, name: str) -> str:
        return str(args.envs / f"airflow-{line}" / "bin" / name)

    def pytest(name: str, line: str, *arguments: str, **env: str) -> Stage:
        # each its own cache: several write at a time
        cache = ["-o", f"cache_dir=.pytest_cache/{name}"]
        return Stage(name, [program(line, "pytest"), *arguments, *cache, *pytest_args], {**mage_env, **env})

    unit = (*UNIT_TESTS, *UNIT_WORKERS)
    # The end-to-end tests first: their servers keep a small machine busy, and the other stages wait more.
    made = {
        "e2e": [pytest(f"e2e-{line}", line, "tests/e2e") for line in args.airflow],
        "ui": [pytest(f"ui-{line}", line, "tests/ui") for line in args.airflow],
        "essential": [pytest(f"essential-{line}", line, *ESSENTIAL_TESTS) for line in args.airflow],
        "faults": [pytest("faults", "3", "tests/faults")],
        # By file, as each has servers of its own.
        "contract": [
            pytest(f"contract-{database}", "3", "tests/contract", *CONTRACT_WORKERS, MAGE_DATABASE=database)
            for database in args.database
        ],
        "hostile": [pytest("hostile", "3", "tests/hostile", f"--fuzz-seconds={args.fuzz_seconds}")],
        "unit": [
            *(pytest(f"unit-{line}", line, "tests/harness", *unit) for line in args.airflow),
            *(pytest(f"unit-{line}", line, *unit) for line in args.lowest),
        ],
        "check": [Stage("check", ["make", "--no-print-directory", "check"])],
    }
    if args.runs:
        command = [program("3", "python"), "dev/faults.py", "--runs", str(args.runs)]
        made["faults"].append(Stage("faults-at-random", command, mage_env))
    return [stage for name, of_name in made.items() if name in names for stage in of_name]


def run(wanted: list[Stage], at_once: int) -> list[Result]:
    """
    Run stages, some at a time.

    :param wanted: the stages, in the order in which they start
    :param at_once: how many at a time
    :return: what came of each, in the order in which they ended
    """
    waiting, running, results = deque(wanted), list[Running](), list[Result]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(Running(waiting.popleft(), prints=len(wanted) == 1))
            time.sleep(LOOK_SECONDS)
            for one in [one for one in running if one.is_over]:
                running.remove(one)
                results.append(one.end())
    finally:
        for one in running:
            one.end()
    return results


def report(results: list[Result]) -> str:
    """Return what the red ones say at their end, and a table of all."""
    red = [f"\n==> {result.name}, again\n{result.summary}" for result in results if result.exit_code != 0]
    return "\n".join([*red, "", *map(str, results)])


def main() -> int:
    """Run the stages and print a table of what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="STAGE", help=", ".join(NAMES))
    parser.add_argument("--at-once", type=int, default=2, help="stages side by side")
    parser.add_argument("--envs", type=Path, default=REPOSITORY / ".envs")
    parser.add_argument("--airflow", nargs="+", default=["3", "2.11"])
    parser.add_argument("--lowest", nargs="*", default=[], help="environments for unit tests alone")
    parser.add_argument("--mage", default="0.9.80")
    parser.add_argument(
        "--database", nargs="+", choices=DATABASES, default=DATABASES, help="of contract's Mage"
    )
    parser.add_argument("--runs", type=int, default=0, help="of faults at random")
    parser.add_argument("--fuzz-seconds", type=float, default=20.0, help="of each fuzz test of hostile")
    parser.add_argument("--pytest-args", default="")
    args = parser.parse_args()
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    try:
        results = run(stages(args.names, args), args.at_once)
    except KeyboardInterrupt:
        print("interrupted: nothing is left running")
        return 130
    if len(results) > 1:
        print(f"{report(results)}\n{'all':<22}{time.monotonic() - began:>6.0f} s")
    return 0 if all(result.exit_code == 0 for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
