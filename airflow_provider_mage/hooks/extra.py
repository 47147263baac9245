"""The extra fields of a connection, as whatever Airflow's forms, files and URIs make of them."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import ssl
from typing import Any

from airflow_provider_mage._arguments import shown
from airflow_provider_mage.api.names import near_names
from airflow_provider_mage.api.records import is_word
from airflow_provider_mage.hooks.form import FIELDS, STORED_SECRET, SWITCH, field_name

log = logging.getLogger(__name__)

NAMES = tuple(FIELDS["mage_cloud"])
DEFAULT_TIMEOUT = 30.0
# A time-out beyond an hour is none; sockets cannot have one of some centuries.
LONGEST_TIMEOUT = 3600.0
# How OpenSSL finds a certificate in a folder.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
# What the Test button puts first, where that is not "Settings".
_WHAT = {"api_key": "API key", "oauth_token": "Credentials"}
# What requests asks, in this order.
_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class SettingError(ValueError):
    """
    A field of a connection is wrong.

    :param conn_id: The connection.
    :param sentence: What is wrong, and what to do, without a full stop.
    :param what: What the Test button puts first.
    """

    def __init__(self, conn_id: str, sentence: str, what: str = "Settings") -> None:
        super().__init__(f"Connection {conn_id!r}: {sentence}.")
        self.sentence = f"{sentence[0].upper()}{sentence[1:]}."
        self.what = what


class Extra:
    """
    What was filled in among the extra fields of a connection.

    Whatever cannot be meant raises a :class:`SettingError`.

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
            for meant in near_names(name, NAMES)[:1]:
                log.warning(
                    "Connection %r: extra has %r, which means nothing; is it %r?", self._conn_id, name, meant
                )

    def text(self, name: str) -> str | None:
        """Read a text; a number is one, too. The value is never quoted: it may be a secret."""
        value = self.fields.get(name)
        if value is None:
            return None
        what = _WHAT.get(name, "Settings")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self._error(f"{field_name(name)} must be a text, not {type(value).__name__}", what)
        if value == STORED_SECRET:
            raise self._error(
                f"{field_name(name)} is hidden by Airflow's form, which sends a stored secret to no test: "
                "type it again to test it. It stays stored, whether you type it or not",
                what,
            )
        return str(value)

    def word(self, name: str) -> str | None:
        """Read a key or a token, which has to be fit for a header."""
        value = self.text(name)
        if value is not None and not is_word(value):
            raise self._error(
                f"{field_name(name)} must be one word of ASCII characters: check it for blanks and line ends",
                _WHAT[name],
            )
        return value

    def switch(self, name: str) -> bool:
        """Read a switch, in any form that Airflow's UIs send; True if it is not there."""
        value = self.fields.get(name, True)
        try:
            return SWITCH[str(value).lower()]
        except KeyError:
            words = ", ".join(SWITCH)
            raise self._error(f"{field_name(name)} must be one of {words}, not {shown(value)}") from None

    def timeout(self) -> float:
        """Read the seconds that a request may take."""
        value = self.fields.get("timeout", DEFAULT_TIMEOUT)
        try:
            timeout = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            timeout = math.nan
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise self._error(
                f"{field_name('timeout')} must be a number of seconds above 0 and up to "
                f"{LONGEST_TIMEOUT:.0f}, not {shown(value)}"
            )
        return timeout

    def verify(self, url: str) -> bool | str:
        """Read whether certificates are checked, and by which authorities: as ``requests`` wants it."""
        switch = self.fields.get("verify_ssl", True)
        if str(switch).lower() in SWITCH:
            if not self.switch("verify_ssl"):
                return False
            name, must = "ca_bundle", f"{field_name('ca_bundle')} must be the path of a CA bundle"
        else:  # version 0.1.0 had the path here
            name, must = (
                "verify_ssl",
                f"{field_name('verify_ssl')} must be true, false or the path of a CA bundle",
            )
            if isinstance(switch, str) and "ca_bundle" in self.fields:
                name = "ca_bundle"
        value = self.fields.get(name)
        if value is None:
            if url.startswith("https:"):
                self._check_environment()
            return True
        if not isinstance(value, str):
            raise self._error(f"{must}, not {shown(value)}", "TLS")
        if "-----BEGIN" in value:
            raise self._error(
                f"{field_name(name)} holds a certificate itself: write that to a file on workers and "
                "triggerers, and give its path",
                "TLS",
            )
        fault = _fault_of_bundle(value)
        if fault:
            raise self._error(f"{must}; {shown(value)} {fault}", "TLS")
        return value

    def _check_environment(self) -> None:
        """Check the CA bundle that requests takes from the environment where a connection names none."""
        for name in _BUNDLE_VARIABLES:
            path = os.environ.get(name)
            if path:
                fault = _fault_of_bundle(path)
                if fault:
                    raise self._error(
                        f"`{name}` in the environment, which counts unless {field_name('ca_bundle')} is set, "
                        f"is of no use: {shown(path)} {fault}",
                        "TLS",
                    )
                return

    def _error(self, sentence: str, what: str = "Settings") -> SettingError:
        return SettingError(self._conn_id, sentence, what)


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
