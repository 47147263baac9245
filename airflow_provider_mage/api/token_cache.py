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
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_mage.api.host_folder import digest_of, go_on_without, private_folder, take_host_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.fernet import Fernet
    from filelock import FileLock

# Seconds to wait for another process's log-in before making one of our own.
LOCK_PATIENCE = 60.0

# Seconds after which whoever waits for that log-in looks whether it is there.
LOOK_EVERY = 0.2

# Seconds after which a stored token is not used any more, whatever Mage thinks of it.
LONGEST_LIFE = 24 * 3600

# What reading the file costs each process, and a guess of the password whoever has got hold of it: a fifth of
# a second and 64 MiB (observed), a fraction of a task's start, and a fifth of the log-in that it saves Mage.
COST = {"n": 2**16, "r": 8, "p": 1}

# Bytes. A token of Mage's has a few hundred.
_LARGEST_FILE = 64 * 1024

_without_cache = partial(
    go_on_without,
    "The tasks of this host may each make a log-in of their own, which keeps Mage busy for a second.",
    to_mend="Where a file or a folder is the reason, set XDG_CACHE_HOME to one that this user may write to; "
    '`"share_login": false` in the extra of the connection ends this warning.',
)


class TokenCache:
    """
    The stored token of one user of one server.

    Trouble with the host is told once and never stops anybody: the log-in is then made as if there were no
    cache.

    :param identity: What the token belongs to: server, user and API key.
    :param secret: The user's password, of which the encryption key is made.
    :param folder: Where tokens are kept; by default the user's own cache folder.
    """

    def __init__(self, identity: str, secret: str, folder: Path | None = None) -> None:
        self._folder = folder
        self._identity = identity
        self._secret = secret
        self._fernet: Fernet | None = None

    @contextmanager
    def read_or_lock(self) -> Iterator[str | None]:
        """
        Yield the stored token; where there is none, yield None, and keep others from logging in meanwhile.

        Whoever waits for another's log-in goes on as soon as there is a token, all at the same time.
        """
        give_up = time.monotonic() + LOCK_PATIENCE
        lock: FileLock | None = None
        try:
            token = self.read()
            with _without_cache():
                if token is None:
                    self._check_that_it_could_be_stored()
                while token is None and lock is None and time.monotonic() < give_up:
                    lock = take_host_lock(self._identity, LOOK_EVERY, self._folder)
                    token = self.read()
            yield token
        finally:
            if lock is not None:
                with _without_cache():
                    lock.release()

    def read(self) -> str | None:
        """Return the stored token, or None if there is none that we can use."""
        from cryptography.fernet import InvalidToken

        with _without_cache():
            try:
                content = _content(self._path())
                # Fernet keeps the time at which it encrypted, and takes none that is still to come.
                stored = json.loads(self._cipher().decrypt(content, ttl=LONGEST_LIFE))
            except (FileNotFoundError, InvalidToken):
                return None
            token = stored.get("token") if isinstance(stored, dict) else None
            return token if _is_token(token) else None
        return None

    def _check_that_it_could_be_stored(self) -> None:
        """Without a key or room on the disk there is nothing to wait for: nobody could leave a token."""
        self._cipher()
        with tempfile.TemporaryFile(dir=private_folder(self._folder)) as file:
            file.write(bytes(4096))
            file.flush()

    def write(self, token: str) -> None:
        """Store a token in place of the one before."""
        with _without_cache():
            content = self._cipher().encrypt(json.dumps({"token": token}).encode())
            path = self._path()
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # made with mode 0600
                try:
                    file.write(content)
                    file.flush()
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise

    def drop(self, token: str) -> None:
        """Forget a token that Mage has refused, unless another process has replaced it already."""
        if self.read() == token:
            with _without_cache():
                self._path().unlink(missing_ok=True)

    def _path(self) -> Path:
        return private_folder(self._folder) / f"{digest_of(self._identity)}.token"

    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet

        if self._fernet is None:
            # A password may be any text, and no error may quote it.
            secret, salt = (text.encode(errors="surrogatepass") for text in (self._secret, self._identity))
            memory = (
                2 * 128 * COST["n"] * COST["r"]
            )  # half of it by scrypt's formula, the rest for the library
            try:
                key = hashlib.scrypt(secret, salt=salt, dklen=32, maxmem=memory, **COST)
            except (AttributeError, ValueError) as error:
                raise RuntimeError("this Python has no scrypt, or its OpenSSL refuses it (FIPS)") from error
            self._fernet = Fernet(base64.urlsafe_b64encode(key))
        return self._fernet


def _content(path: Path) -> bytes:
    """Read a file of ours. Whatever else is in its place is an error at once: a FIFO would let us wait."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(f"{path} is no file of this user's")
        if status.st_size > _LARGEST_FILE:
            raise ValueError(f"{path} is larger than anything that is stored there")
        return os.read(file, _LARGEST_FILE)
    finally:
        os.close(file)


def _is_token(value: object) -> bool:
    """Whether something can be sent as a token: one word of printable characters."""
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and value != ""
        and " " not in value
    )
