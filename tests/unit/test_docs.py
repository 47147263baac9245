"""Every example in the README and the docs runs, and every name in the README's table is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG

import arguments_page
import messages
from airflow_provider_mage import api
from airflow_provider_mage.cluster import mage_cluster
from airflow_provider_mage.operators.cluster import MageUpdateClusterEnvVarsOperator
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.provider_info import get_provider_info
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes.mage_pro import FakeMagePro

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
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
    readme = (ROOT / "README.md").read_text()
    table = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`[\w.]+`(?:, `[\w.]+`)*) \|", readme, re.MULTILINE)
    names = 0
    for left, right in table:
        modules = re.findall(r"[\w.]+", right)
        for number, name in enumerate(re.findall(r"\w+", left)):
            module = modules[min(number, len(modules) - 1)]
            assert hasattr(import_module(f"airflow_provider_mage.{module}"), name), f"{module}.{name}"
            names += 1
    assert names > 15


def anchors_of(page):
    """Return what links to headings of a page say, as a forge and the site make it."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        to = page.parent / target if target else page
        assert to.exists(), target
        assert not anchor or anchor in anchors_of(to), f"{target}#{anchor}"


def test_page_of_arguments_is_what_the_docstrings_say():
    assert arguments_page.PAGE.read_text() == arguments_page.page(), "`make docs` writes it anew"


def test_reference_has_every_public_name():
    reference = (ROOT / "docs" / "reference.md").read_text()
    names = {*api.__all__, *re.findall(r"`(Mage\w+)`", (ROOT / "README.md").read_text())}

    assert [name for name in sorted(names) if f".{name}\n" not in reference] == []


def flat(text):
    """Take a text without its line ends, quotes and capitals."""
    return re.sub(r"[\s`]+", " ", text).replace(" .", ".").casefold()


@pytest.mark.parametrize("message", messages.messages(), ids=lambda message: message.where)
def test_message_is_explained_on_the_page_about_errors(message):
    page = flat((ROOT / "docs" / "troubleshooting.md").read_text())

    assert flat(message.core).strip() in page, message.text


def test_messages_of_every_room_are_found():
    rooms = {message.where.partition("/")[0].partition(".")[0] for message in messages.messages()}

    assert rooms >= {"_arguments", "_clusters", "_runs", "api", "hooks", "operators", "sensors", "triggers"}


def test_every_operator_and_sensor_is_on_the_page_of_arguments():
    info = get_provider_info()
    modules = [
        module
        for kind in ("operators", "sensors")
        for part in info[kind]
        for module in part["python-modules"]
    ]
    public = {
        name
        for module in modules
        for name, one in vars(import_module(module)).items()
        if name.startswith("Mage") and isinstance(one, type) and hasattr(one, "template_fields")
    }
    # Those of `mage_cluster`, which makes them; and what others are derived from.
    inner = {"MageClusterSetupOperator", "MageClusterTeardownOperator", "MageOperator"}

    assert public - inner == {name.rpartition(".")[2] for name in arguments_page.CLASSES}


@pytest.mark.parametrize("name", arguments_page.CLASSES)
def test_docstrings_say_which_arguments_are_templated(name):
    module, _, class_name = name.rpartition(".")
    cls = getattr(import_module(f"airflow_provider_mage.{module}"), class_name)
    told = {
        argument
        for one in cls.__mro__
        for argument, meaning in arguments_page.meanings(one).items()
        if "(templated)" in meaning
    }

    assert set(cls.template_fields) <= told
