"""Every example in the README and the docs runs, and every name in the README's table is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.cluster import mage_cluster
from airflow_provider_mage.operators.cluster import MageUpdateClusterEnvVarsOperator
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes.mage_pro import FakeMagePro

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    (page, text) for page in PAGES for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
]
KNOWN = {
    one.__name__: one
    for one in (
        mage_cluster,
        MagePipelineRunSensor,
        MageTriggerPipelineOperator,
        MageUpdateClusterEnvVarsOperator,
    )
}


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[page.name for page, _ in EXAMPLES])
def test_example_runs(page, text, connect, monkeypatch):
    with FakeMagePro(polls_to_finish=None) as server:
        conn_id = connect(host=server.url, login=server.email, password=server.password)
        text = text.replace('"mage_default"', f'"{conn_id}"')
        with DAG("docs", schedule=None):
            exec(compile(text, str(page), "exec"), dict(KNOWN))  # noqa: S102  # our own pages


def test_there_are_examples_of_every_kind():
    assert {page.name for page, _ in EXAMPLES} >= {
        "README.md",
        "clusters.md",
        "connections.md",
        "pipelines.md",
    }


def test_every_name_in_the_readme_is_where_it_says():
    table = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| (`[\w.]+`(?:, `[\w.]+`)*) \|", PAGES[0].read_text(), re.MULTILINE
    )
    names = 0
    for left, right in table:
        modules = re.findall(r"[\w.]+", right)
        for number, name in enumerate(re.findall(r"\w+", left)):
            module = modules[min(number, len(modules) - 1)]
            assert hasattr(import_module(f"airflow_provider_mage.{module}"), name), f"{module}.{name}"
            names += 1
    assert names > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
