"""The Test button: an answer within seconds, whatever is wrong, and first of all what is wrong."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTimeError
from typing import TYPE_CHECKING

from airflow_provider_mage.api.errors import MageAuthError, MageError, MageTransportError
from airflow_provider_mage.api.proxies import proxy_of
from airflow_provider_mage.api.transport import speaks_tls

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_WITHIN = 5.0
# Seconds beyond that, for what has no limit of its own: the look-up of a name.
_GRACE = 0.5
_SHORTEST = 0.2

_NO_ANSWER = (
    f"URL: there was no answer within {ANSWER_WITHIN:.0f} s: check host and port, that Mage is up, and that "
    "this machine can look up the host's name."
)
_SPEAKS_HTTPS = (
    "TLS: the host speaks https, not http, on this port: write https:// before the host, or check the port."
)


class UnfitError(Exception):
    """
    The connection works, and is of no use.

    :param what: What is wrong.
    :param sentence: Why, and what to do.
    """

    def __init__(self, what: str, sentence: str) -> None:
        super().__init__(f"{what}: {sentence}")


class Trial:
    """One press of the button, and the time that it has."""

    longest_request = ANSWER_WITHIN - 1.0

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + ANSWER_WITHIN

    def time_left(self) -> float:
        """Return the seconds that the next request may take."""
        return max(self._ends_at - time.monotonic(), _SHORTEST)

    def run(self, test: Callable[[], str], api_url: str) -> tuple[bool, str]:
        """
        Run a test in a thread, which is left to itself when the time is over.

        :param test: Returns what was found; raises a MageError or an :class:`UnfitError`.
        :param api_url: Where it asks.
        :return: Whether it succeeded, and what to show.
        """
        outcome: Future[tuple[bool, str]] = Future()

        def try_it() -> None:
            try:
                outcome.set_result(self._outcome(test, api_url))
            except BaseException as error:  # noqa: BLE001  it is raised where somebody waits for it
                outcome.set_exception(error)

        threading.Thread(target=try_it, name="mage-test-button", daemon=True).start()
        try:
            return outcome.result(self.time_left() + _GRACE)
        except OutOfTimeError:
            return False, _NO_ANSWER

    def _outcome(self, test: Callable[[], str], api_url: str) -> tuple[bool, str]:
        try:
            return True, test()
        except UnfitError as error:
            return False, str(error)
        except MageAuthError as error:
            return False, f"{error.what}: {error}"
        except MageTransportError as error:
            if error.what == "URL" and self._is_https(api_url):
                return False, _SPEAKS_HTTPS
            return False, f"{error.what}: {error}"
        except MageError as error:
            return False, f"Mage: {error}"

    def _is_https(self, api_url: str) -> bool:
        if not api_url.startswith("http:") or proxy_of(api_url) is not None:
            return False
        return speaks_tls(api_url, self.time_left())
