"""What a public forge runs is what a contributor runs: targets of the Makefile, with pinned versions."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def jobs_of(path):
    return yaml.safe_load(path.read_text())["jobs"].values()


def commands_of(path):
    """Return what is given to make, one text for each time that it is called."""
    commands = []
    for job in jobs_of(path):
        cells = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for step in job["steps"]:
            for command in re.findall(r"^make (.+)$", step.get("run", ""), re.MULTILINE):
                commands += [command.replace("${{ matrix.make }}", cell.get("make", "")) for cell in cells]
    return commands


def test_workflows_test_and_publish():
    assert [path.name for path in WORKFLOWS] == ["publish.yml", "test.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_make_has_every_target_that_a_workflow_names(path):
    commands = commands_of(path)

    assert commands
    assert {command.split()[0] for command in commands} <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_versions_that_a_workflow_names_are_pinned(path):
    pins = {pins.stem for pins in (ROOT / "constraints").glob("*.txt")}
    for command in commands_of(path):
        for name, quoted, bare in re.findall(r"\b(AIRFLOW|LINES|MAGE)=(?:'([^']*)'|(\S+))", command):
            kind = "mage" if name == "MAGE" else "airflow"
            assert {f"{kind}-{number}" for number in (quoted or bare).split()} <= pins


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_major_version(path):
    used = [step["uses"] for job in jobs_of(path) for step in job["steps"] if "uses" in step]

    assert used
    assert all(re.search(r"@(release/)?v\d+$", action) for action in used), used


def test_only_the_job_that_publishes_may_do_so():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]

    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert jobs["publish"]["environment"] == "pypi"
    assert all("run" not in step for step in jobs["publish"]["steps"])
