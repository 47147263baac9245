"""
Session tokens on disk, so that the task processes of one host share one log-in.

A token is stored encrypted with a key made from the credentials that it stands for: the file is useless to
whoever does not know them, and whoever does could log in anyway. The folder and its files are for their owner
only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_mage.api.host_folder import digest_of, host_lock, private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.fernet import Fernet
    from filelock import FileLock

log = logging.getLogger(__name__)

# Seconds to wait for another process's log-in before making one of our own.
LOCK_PATIENCE = 60.0

# Seconds after which whoever waits for that log-in looks whether it is there.
LOOK_EVERY = 0.2

# Seconds after which a stored token is not used any more, whatever Mage thinks of it.
LONGEST_LIFE = 24 * 3600.0

_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class TokenCache:
    """
    The stored token of one user of one server.

    Trouble with the disk is logged and never stops anybody: the log-in is then made as if there were no
    cache.

    :param identity: What the token belongs to: server, user and API key.
    :param secret: The user's password, of which the encryption key is made.
    :param folder: Where tokens are kept; by default the user's own cache folder.
    """

    def __init__(self, identity: str, secret: str, folder: Path | None = None) -> None:
        self._folder = folder
        self._identity = identity
        self._secret = secret

    @contextmanager
    def read_or_lock(self) -> Iterator[str | None]:
        """
        Yield the stored token; where there is none, yield None, and keep others from logging in meanwhile.

        Whoever waits for another's log-in goes on as soon as there is a token, all at the same time.
        """
        give_up = time.monotonic() + LOCK_PATIENCE
        lock, token = None, self.read()
        try:
            while token is None and lock is None and time.monotonic() < give_up:
                lock = self._try_to_lock()
                token = self.read()
        except OSError as error:
            log.debug("The token cache cannot be locked: %s", error)
        try:
            yield token
        finally:
            if lock is not None:
                lock.release()

    def _try_to_lock(self) -> FileLock | None:
        from filelock import Timeout

        lock = host_lock(self._identity, self._folder)
        try:
            lock.acquire(timeout=LOOK_EVERY)
        except Timeout:
            return None
        return lock

    def read(self) -> str | None:
        """Return the stored token, or None if there is none that we can read."""
        from cryptography.fernet import InvalidToken

        try:
            path = self._path()
            if time.time() - path.stat().st_mtime > LONGEST_LIFE:
                return None
            return str(json.loads(self._cipher().decrypt(path.read_bytes()))["token"])
        except FileNotFoundError:
            return None
        except (OSError, InvalidToken, ValueError, KeyError) as error:
            log.debug("The stored token cannot be used: %s", type(error).__name__)
            return None

    def write(self, token: str) -> None:
        """Store a token in place of the one before."""
        try:
            path = self._path()
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # made with mode 0600
                file.write(self._cipher().encrypt(json.dumps({"token": token}).encode()))
            Path(file.name).replace(path)
        except OSError as error:
            log.debug("The token cannot be stored: %s", error)

    def drop(self, token: str) -> None:
        """Forget a token that Mage has refused, unless another process has replaced it already."""
        if self.read() != token:
            return
        try:
            self._path().unlink(missing_ok=True)
        except OSError as error:
            log.debug("The stored token cannot be removed: %s", error)

    def _path(self) -> Path:
        return private_folder(self._folder) / f"{digest_of(self._identity)}.token"

    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet

        key = hashlib.scrypt(self._secret.encode(), salt=self._identity.encode(), dklen=32, **_SCRYPT)
        return Fernet(base64.urlsafe_b64encode(key))
