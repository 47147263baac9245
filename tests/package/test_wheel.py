"""The built wheel, as it is installed: what Airflow and an author's import get from it."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import airflow
import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import airflow_provider_mage
from airflow_provider_mage.provider_info import get_provider_info

DISTRIBUTION = importlib.metadata.distribution("airflow-provider-mage")
FILES = [str(path) for path in DISTRIBUTION.files or []]


def start_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a fresh interpreter, where nothing is imported yet."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def run_python(code: str) -> str:
    done = start_python("-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tests_see_the_installed_wheel_and_not_the_sources():
    assert Path(airflow_provider_mage.__file__).is_relative_to(sys.prefix)
    assert DISTRIBUTION.version == airflow_provider_mage.__version__


def test_wheel_holds_the_package_and_nothing_else():
    assert "airflow_provider_mage/py.typed" in FILES
    assert {path.split("/")[0] for path in FILES if ".dist-info" not in path} == {"airflow_provider_mage"}
    assert any(path.endswith("licenses/LICENSE") for path in FILES)


def test_entry_point_is_what_airflow_looks_for():
    [entry_point] = [e for e in DISTRIBUTION.entry_points if e.group == "apache_airflow_provider"]

    assert (entry_point.name, entry_point.load()) == ("provider_info", get_provider_info)


def test_provider_info_is_valid_for_this_airflow():
    schema = Path(airflow.__file__).parent / "provider_info.schema.json"

    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_everything_that_the_provider_info_names_exists():
    info = get_provider_info()
    modules = [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for part in info.get(kind, [])
        for module in part["python-modules"]
    ]
    classes = [*info["extra-links"], *(kind["hook-class-name"] for kind in info["connection-types"])]

    for module in modules:
        importlib.import_module(module)
    for path in classes:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_discovery_imports_no_airflow():
    """Airflow imports the provider info while it is itself half imported."""
    assert (
        run_python(
            "import sys, airflow_provider_mage.provider_info as p; p.get_provider_info();"
            "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'requests')])"
        ).strip()
        == "[]"
    )


API_MODULES = sorted(
    path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    for path in FILES
    if path.startswith("airflow_provider_mage/api/") and path.endswith(".py")
)


@pytest.mark.parametrize("module", API_MODULES)
def test_api_imports_with_airflow_absent(module):
    run_python(f"import sys; sys.modules['airflow'] = None; import {module}")


DAG_MODULES = ["cluster"] + [
    path.removeprefix("airflow_provider_mage/").removesuffix(".py").replace("/", ".")
    for path in FILES
    if path.startswith(("airflow_provider_mage/operators/", "airflow_provider_mage/sensors/"))
    and path.endswith(".py")
    and not path.endswith("__init__.py")
]


def test_what_a_dag_file_imports_brings_no_http_stack():
    """`requests` would cost every DAG parse on Airflow 3 a quarter of a second."""
    airflow_itself = "airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator, XCom"
    code = f"""
import importlib, sys
from {airflow_itself}
before = "requests" in sys.modules
for module in {DAG_MODULES!r}:
    importlib.import_module(f"airflow_provider_mage.{{module}}")
    if ("requests" in sys.modules) != before:
        sys.exit(f"{{module}} imports requests")
"""
    assert len(DAG_MODULES) > 5
    run_python(code)


MODULES = [
    path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in FILES
    if path.startswith("airflow_provider_mage/") and path.endswith(".py")
]
PUBLIC_MODULES = sorted(module for module in MODULES if "._" not in module)

# What the modules are built on. Airflow 2.11 warns when it is imported: 2.11.0 of its own default settings,
# 2.11.2 of what it uses of Flask.
AIRFLOW_ITSELF = """
import airflow.triggers.base
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator
"""


@pytest.fixture(scope="module")
def airflow_warns_itself():
    return start_python("-W", "error", "-c", AIRFLOW_ITSELF).returncode != 0


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_import_alone_warns_of_nothing(module, airflow_warns_itself):
    if module.endswith(".form_fields"):
        pytest.skip("Airflow 2's web server alone imports it, with a Flask that warns of itself")
    done = start_python("-W", "error", "-c", f"import {module}")

    if done.returncode != 0:
        assert airflow_warns_itself, done.stderr
        run_python(f"{AIRFLOW_ITSELF}\nimport warnings; warnings.simplefilter('error'); import {module}")


def test_lowest_versions_are_tested():
    """The environment of the lowest versions has each floor itself."""
    pins = Path(__file__).parents[2] / "constraints" / "airflow-lowest.txt"
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ \n]+)", pins.read_text(), re.MULTILINE))
    requirements = [Requirement(text) for text in DISTRIBUTION.requires or []]

    assert len(requirements) > 5
    for requirement in requirements:
        [floor] = [part.version for part in requirement.specifier if part.operator == ">="]
        assert Version(pinned[requirement.name]) == Version(floor), requirement.name


def test_links_of_the_readme_lead_to_what_is_in_the_sdist():
    root = Path(__file__).resolve().parents[2]
    [sdist] = (root / "dist").glob(f"*-{airflow_provider_mage.__version__}.tar.gz")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (root / "README.md").read_text())

    assert len(links) > 15
    assert [link for link in links if not any(name.startswith(link) for name in files)] == []


def test_addresses_in_the_metadata_are_those_that_there_are():
    addresses = DISTRIBUTION.metadata.get_all("Project-URL")

    assert addresses == ["Documentation, https://docs.mage.ai/"]
    assert "Development Status :: 4 - Beta" in DISTRIBUTION.metadata.get_all("Classifier")
