"""Import every module of the installed package with warnings as errors, and say on what."""

import importlib
import pkgutil
import platform
import sys
import warnings
from importlib.metadata import version

# Airflow warns of things of its own; it is there before the package is, as in real life.
import airflow.providers.common.compat.sdk
import airflow.triggers.base  # noqa: F401

# Its web server alone imports this, and Airflow 3 has no such one.
NOT_HERE = {"airflow_provider_mage.hooks.form_fields"}

sys.path.remove(str(sys.path[0]))  # the installed package, and not what lies beside this file
warnings.simplefilter("error")
package = importlib.import_module("airflow_provider_mage")
names = [one.name for one in pkgutil.walk_packages(package.__path__, "airflow_provider_mage.")]
for name in names:
    if name not in NOT_HERE:
        importlib.import_module(name)
for name in importlib.import_module("airflow_provider_mage.api").__all__:
    getattr(importlib.import_module("airflow_provider_mage.api"), name)
print(
    f"--> airflow-provider-mage {version('airflow-provider-mage')} on Python {platform.python_version()} and "
    f"Airflow {version('apache-airflow')}: {len(names)} modules"
)
