"""How the pages here become a site: ``make docs``."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = "airflow-provider-mage"
author = "The airflow-provider-mage maintainers"
version = release = re.findall(
    r'^__version__ = "(.+)"', (ROOT / "airflow_provider_mage" / "__init__.py").read_text(), re.MULTILINE
)[0]

extensions = ["myst_parser", "autoapi.extension"]
html_theme = "furo"
html_title = f"{project} {version}"
html_static_path: list[str] = []
html_copy_source = False
html_show_copyright = False

# As on a forge: a heading is what a link with # leads to.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# Read out of the sources, so that neither Airflow nor Mage has to be installed; reference.md says what of it.
autoapi_dirs = [str(ROOT / "airflow_provider_mage")]
autoapi_generate_api_docs = False
autoapi_add_toctree_entry = False
autoapi_options = ["members", "show-inheritance"]
# The sources are whole: what is said of imports concerns what autoapi leaves out.
suppress_warnings = ["autoapi.python_import_resolution"]

# Pages at the root of the repository, and what the site has for them.
OUTSIDE = {
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../SECURITY.md": "security.md",
}


def setup(app):
    """Let links that work in the repository work on the site."""

    def redirect(_app, _docname, content):
        for target, page in OUTSIDE.items():
            content[0] = content[0].replace(f"]({target}", f"]({page}")

    app.connect("source-read", redirect)
