"""Which Mage is tested, as the environment says; the fake is told to be the same."""

from __future__ import annotations

import os
from pathlib import Path

from fakes.databases import DATABASES
from fakes.versions import VERSIONS
from mage_server import DEFAULT_ENV

_environment = Path(os.environ.get("MAGE_ENV", DEFAULT_ENV))
_installed = (path.name for path in _environment.glob("lib/*/*/mage_ai-*.dist-info"))
VERSION = VERSIONS[next(_installed, "mage_ai-0.9.80.dist-info")[len("mage_ai-") : -len(".dist-info")]]
DATABASE = DATABASES[os.environ.get("MAGE_DATABASE", "sqlite")]
