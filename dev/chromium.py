"""The machine's own Chromium, which no package index has: ``CHROMIUM`` names it, if it is not on the path."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # one of those that it refuses, and that a server may get here
    "--explicitly-allowed-ports=10080",
)


def find_chromium() -> str | None:
    """Return its path; None if there is none."""
    names = (os.environ.get("CHROMIUM", ""), *NAMES)
    return next((path for name in names if name and (path := shutil.which(name))), None)
