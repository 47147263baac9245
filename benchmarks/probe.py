"""Somebody else, who wants something of Mage meanwhile: ``probe.py URL SECONDS``, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

EVERY = 0.05


class Probe:
    """
    Reads a Mage server's status again and again, from now on.

    :param url: The server's.
    :param seconds: How long.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, url, str(seconds)], stdout=subprocess.PIPE, text=True
        )

    def latencies(self) -> list[float]:
        """Wait for the end, and return the seconds that each answer took."""
        output, _ = self._process.communicate()
        return list(map(float, json.loads(output)))


def p99(values: list[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[int(len(values) * 0.99)]


def main() -> None:
    """Read the status as often as asked, and print what each answer took."""
    url, end, took = f"{sys.argv[1]}/api/status", time.time() + float(sys.argv[2]), []
    while time.time() < end:
        started = time.perf_counter()
        with urllib.request.urlopen(url) as answer:  # noqa: S310  a server that we have started
            answer.read()
        took.append(time.perf_counter() - started)
        time.sleep(EVERY)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
