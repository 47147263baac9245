"""The extra fields of a connection, as whatever Airflow's forms, files and URIs make of them."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import ssl
from difflib import get_close_matches
from typing import Any

log = logging.getLogger(__name__)

NAMES = ("api_key", "oauth_token", "verify_ssl", "timeout", "share_login", "team_id")
DEFAULT_TIMEOUT = 30.0
# A time-out beyond an hour is none; sockets cannot have one of some centuries.
LONGEST_TIMEOUT = 3600.0
# Of a wrong value, no more than this is quoted.
SHOWN = 60
# How OpenSSL finds a certificate in a folder.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
_SWITCH = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}
# What requests asks, in this order.
_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Extra:
    """
    What was filled in among the extra fields of a connection. Whatever cannot be meant raises a ValueError.

    :param conn_id: The connection.
    :param conn_type: Its type.
    :param text: Its extra, as Airflow stores it: JSON.
    """

    def __init__(self, conn_id: str, conn_type: str, text: str | None) -> None:
        self._conn_id = conn_id
        self.fields = self._read(text, f"extra__{conn_type}__")

    def _read(self, text: str | None, prefix: str) -> dict[str, Any]:
        try:
            given = json.loads(text) if text and text.strip() else None
        except (ValueError, RecursionError):
            given = text
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self._error('extra must be a JSON object, such as {"timeout": 10}')
        fields: dict[str, Any] = {}
        # Airflow 2's forms may prefix a name, which counts for less; Airflow 3's send null for an empty one.
        for name, value in sorted(given.items(), key=lambda item: not item[0].startswith(prefix)):
            stripped = value.strip() if isinstance(value, str) else value
            if stripped not in (None, ""):
                fields[name.removeprefix(prefix)] = stripped
        return fields

    def point_out_misspelt(self) -> None:
        """Warn of names that mean nothing and are almost like one that does."""
        for name in self.fields.keys() - set(NAMES):
            for meant in get_close_matches(name.lower(), NAMES, n=1):
                log.warning(
                    "Connection %r: extra has %r, which means nothing; is it %r?", self._conn_id, name, meant
                )

    def text(self, name: str) -> str | None:
        """Read a text; a number is one, too. The value is never quoted: it may be a secret."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self._error(f"`{name}` in extra must be a text, not {type(value).__name__}")
        return str(value)

    def switch(self, name: str, *, default: bool) -> bool:
        """Read a switch, in any form that Airflow's UIs send."""
        value = self.fields.get(name, default)
        try:
            return _SWITCH[str(value).lower()]
        except KeyError:
            words = ", ".join(_SWITCH)
            raise self._error(f"`{name}` in extra must be one of {words}, not {_shown(value)}") from None

    def timeout(self) -> float:
        """Read the seconds that a request may take."""
        value = self.fields.get("timeout", DEFAULT_TIMEOUT)
        try:
            timeout = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            timeout = math.nan
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise self._error(
                "`timeout` in extra must be a number of seconds above 0 and up to "
                f"{LONGEST_TIMEOUT:.0f}, not {_shown(value)}"
            )
        return timeout

    def verify(self, url: str) -> bool | str:
        """Read ``verify_ssl``: a switch, or the path of CA certificates."""
        value = self.fields.get("verify_ssl", True)
        if str(value).lower() in _SWITCH:
            verify = self.switch("verify_ssl", default=True)
            if verify and url.startswith("https:"):
                self._check_environment()
            return verify
        if not isinstance(value, str):
            raise self._error(
                f"`verify_ssl` in extra must be true, false or the path of a CA bundle, not {_shown(value)}"
            )
        if "-----BEGIN" in value:
            raise self._error(
                "`verify_ssl` in extra holds a certificate itself: write that to a file on workers and "
                "triggerers, and give its path"
            )
        fault = _fault_of_bundle(value)
        if fault:
            raise self._error(
                "`verify_ssl` in extra must be true, false or the path of a CA bundle; "
                f"{_shown(value)} {fault}"
            )
        return value

    def _check_environment(self) -> None:
        """Check the CA bundle that requests takes from the environment where a connection names none."""
        for name in _BUNDLE_VARIABLES:
            path = os.environ.get(name)
            if path:
                fault = _fault_of_bundle(path)
                if fault:
                    raise self._error(
                        f"`{name}` in the environment, which counts unless `verify_ssl` in extra names a CA "
                        f"bundle, is of no use: {_shown(path)} {fault}"
                    )
                return

    def _error(self, sentence: str) -> ValueError:
        return ValueError(f"Connection {self._conn_id!r}: {sentence}.")


def _fault_of_bundle(path: str) -> str:
    """Say why a path does not lead to CA certificates; nothing if it does."""
    try:
        if os.path.isdir(path):  # noqa: PTH112  a Path raises for what can be none
            if any(map(_HASHED_NAME.fullmatch, os.listdir(path))):  # noqa: PTH208
                return ""
            return "is a folder without certificates under their hashed names (see `openssl rehash`)"
        if not os.path.isfile(path):  # noqa: PTH113  likewise
            return "is no file"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        return "holds no certificates that can be read (they must be PEM)"
    return ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
