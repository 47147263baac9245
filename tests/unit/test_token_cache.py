"""The processes of one user on one host share one log-in, and nobody else gets anything out of it."""

import errno
import fcntl
import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from airflow_provider_mage.api import auth, host_folder, token_cache
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.errors import MageAuthError
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.api.token_cache import LONGEST_LIFE, TokenCache
from airflow_provider_mage.hooks.mage import MageHook
from fakes import faults
from fakes.mage import FakeMage

READ_IN_OTHER_PROCESSES = """
import os, sys
url, login, password, count, scrypt_n = sys.argv[1:]
import cryptography.fernet, filelock, jwt, platformdirs, requests  # once, and not in every process
from airflow_provider_mage.api import token_cache
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.session import MageSession

token_cache.COST["n"] = int(scrypt_n)

def read():
    auth = MageAuth(url, Credentials(login, password), shares_on_disk=True)
    return len(MageSession(url, auth=auth).get("pipelines")["pipelines"])

for _ in range(int(count)):
    if os.fork() == 0:
        try:
            os.write(1, f"{read()} ".encode())
        finally:
            os._exit(0)
for _ in range(int(count)):
    os.wait()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "tokens"


@pytest.fixture
def cache(folder):
    return TokenCache("server and user", "password", folder)


def files(folder):
    return sorted(path.name.rpartition(".")[2] for path in folder.iterdir())


def read_elsewhere(mage, count=1):
    """Read in other processes, all at once, and return what each has found."""
    arguments = [f"{mage.url}/api", mage.email, mage.password, str(count), str(token_cache.COST["n"])]
    command = [sys.executable, "-c", READ_IN_OTHER_PROCESSES, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=240)  # noqa: S603
    return done.stdout.split()


def session_of(mage, **credentials):
    user = Credentials(**{"login": mage.email, "password": mage.password, **credentials})
    return MageSession(
        f"{mage.url}/api", auth=MageAuth(f"{mage.url}/api", user, shares_on_disk=True), retry_for=0
    )


# The cache itself


def test_token_is_found_again(cache, folder):
    assert cache.read() is None

    cache.write("a-token")

    assert cache.read() == "a-token"
    assert TokenCache("server and user", "password", folder).read() == "a-token"


def test_newer_token_replaces_the_older_one(cache, folder):
    cache.write("first")
    cache.write("second")

    assert cache.read() == "second"
    assert files(folder) == ["token"]


@pytest.mark.parametrize(("identity", "secret"), [("server and user", "other"), ("other user", "password")])
def test_other_users_do_not_find_it(cache, folder, identity, secret):
    cache.write("a-token")

    assert TokenCache(identity, secret, folder).read() is None


def test_file_shows_nothing(cache, folder):
    cache.write("a-token")

    [path] = folder.iterdir()
    content = path.read_bytes()
    for text in ("a-token", "server", "user", "password"):
        assert text.encode() not in content
        assert text not in path.stem


def test_folder_and_files_are_for_their_owner_only(cache, folder):
    with cache.read_or_lock():
        cache.write("a-token")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files(folder) == ["lock", "token"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_folder_that_was_open_is_closed(cache, folder):
    folder.mkdir(mode=0o755)

    cache.write("a-token")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("later", [LONGEST_LIFE + 1, -3600])
def test_token_that_is_old_or_from_the_future_is_not_used(cache, monkeypatch, later):
    cache.write("a-token")
    now = time.time() + later
    monkeypatch.setattr(time, "time", lambda: now)

    assert cache.read() is None
    cache.write("new")
    assert cache.read() == "new"


@pytest.mark.parametrize("mtime", [0, 2**33])
def test_time_of_the_file_says_nothing(cache, folder, mtime):
    """A clock that was set, or a server of files with a clock of its own."""
    cache.write("a-token")
    [path] = folder.iterdir()
    os.utime(path, (mtime, mtime))

    assert cache.read() == "a-token"


@pytest.mark.parametrize(
    "stored",
    [
        *(
            {"token": token}
            for token in (None, "", 5, ["a"], "two words", "a-token\n", "t\u00f6ken", "\udc80")
        ),
        {},
        [],
        "a-token",
        None,
    ],
)
def test_what_cannot_be_sent_is_no_token(cache, folder, caplog, stored):
    cache.write("a-token")
    [path] = folder.iterdir()
    path.write_bytes(cache._cipher().encrypt(json.dumps(stored).encode()))

    assert cache.read() is None
    assert not caplog.records


def test_password_may_be_any_text(folder):
    """As ``os.environ`` holds what is no UTF-8."""
    TokenCache("server and \udc80", "pass\udcffword", folder).write("a-token")

    assert TokenCache("server and \udc80", "pass\udcffword", folder).read() == "a-token"


def test_guess_costs_what_the_docs_say(folder, monkeypatch):
    monkeypatch.undo()
    assert token_cache.COST == {"n": 2**16, "r": 8, "p": 1}

    cache = TokenCache("server and user", "password", folder)
    cache.write("a-token")

    assert cache.read() == "a-token"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 100])
def test_file_that_was_damaged_is_as_good_as_none(cache, folder, content):
    cache.write("a-token")
    [path] = folder.iterdir()
    path.write_bytes(content)

    assert cache.read() is None
    cache.write("new")
    assert cache.read() == "new"
    assert files(folder) == ["token"]


def test_dropped_token_is_gone(cache):
    cache.write("a-token")

    cache.drop("a-token")

    assert cache.read() is None


def test_token_that_another_process_has_renewed_is_kept(cache):
    cache.write("new")

    cache.drop("old")

    assert cache.read() == "new"


def test_only_one_at_a_time_holds_the_lock(folder):
    inside, most = [], []

    def enter(_):
        with TokenCache("server and user", "password", folder).read_or_lock():
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.01)
            inside.pop()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(enter, range(12)))

    assert max(most) == 1
    assert len(most) == 12


def test_holder_of_the_lock_may_take_it_again(cache):
    """A task that is killed in the middle of a log-in cancels its run from the signal handler."""
    with cache.read_or_lock(), cache.read_or_lock():
        cache.write("a-token")

    assert cache.read() == "a-token"


def test_lock_that_somebody_keeps_does_not_stop_anybody_for_ever(folder, monkeypatch):
    monkeypatch.setattr(token_cache, "LOCK_PATIENCE", 0.05)
    entered = []

    with TokenCache("server and user", "password", folder).read_or_lock():

        def enter():
            with TokenCache("server and user", "password", folder).read_or_lock():
                entered.append(1)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()

    assert entered == [1]


# A host that does not let us


def refuse(error):
    def raise_error(*args, **options):
        raise error

    return raise_error


def no_home(monkeypatch, cache_home):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", refuse(KeyError("uid not found")))


def read_only_disk(monkeypatch, cache_home):
    monkeypatch.setattr(os, "mkdir", refuse(OSError(errno.EROFS, "Read-only file system", "/cache")))


def full_disk(monkeypatch, cache_home):
    monkeypatch.setattr(os, "replace", refuse(OSError(errno.ENOSPC, "No space left on device")))


def no_room_for_a_file(monkeypatch, cache_home):
    monkeypatch.setattr(
        "tempfile._get_candidate_names", refuse(OSError(errno.ENOSPC, "No space left on device"))
    )


def no_room_in_a_file(monkeypatch, cache_home):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: open("/dev/full", "wb"))  # noqa: PTH123, SIM115


def no_permission_to_lock(monkeypatch, cache_home):
    monkeypatch.setattr(fcntl, "flock", refuse(OSError(errno.EACCES, "Permission denied")))


def no_locks_left(monkeypatch, cache_home):
    monkeypatch.setattr(fcntl, "flock", refuse(OSError(errno.ENOLCK, "No locks available")))


def no_locks(monkeypatch, cache_home):
    monkeypatch.setattr(fcntl, "flock", refuse(OSError(errno.ENOSYS, "Function not implemented")))


def no_locks_in_this_python(monkeypatch, cache_home):
    monkeypatch.setattr(fcntl, "flock", refuse(NotImplementedError()))


def scrypt_is_missing(monkeypatch, cache_home):
    monkeypatch.delattr(hashlib, "scrypt")


def scrypt_is_refused(monkeypatch, cache_home):
    monkeypatch.setattr(hashlib, "scrypt", refuse(ValueError("[digital envelope routines] unsupported")))


def scrypt_is_not_allowed(monkeypatch, cache_home):
    monkeypatch.setattr(hashlib, "scrypt", refuse(UnsupportedAlgorithm("scrypt is not approved")))


def no_memory(monkeypatch, cache_home):
    monkeypatch.setattr(hashlib, "scrypt", refuse(MemoryError()))


def file_for_a_home(monkeypatch, cache_home):
    cache_home.touch()


def file_for_a_folder(monkeypatch, cache_home):
    cache_home.mkdir()
    (cache_home / "airflow-provider-mage").touch()


def fifo_for_a_folder(monkeypatch, cache_home):
    cache_home.mkdir()
    os.mkfifo(cache_home / "airflow-provider-mage")


def link_for_a_folder(monkeypatch, cache_home):
    (cache_home / "elsewhere").mkdir(parents=True)
    (cache_home / "airflow-provider-mage").symlink_to(cache_home / "elsewhere")


def dangling_link_for_a_folder(monkeypatch, cache_home):
    cache_home.mkdir()
    (cache_home / "airflow-provider-mage").symlink_to(cache_home / "nowhere")


def folder_of_another_user(monkeypatch, cache_home):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    (cache_home / "airflow-provider-mage").mkdir(parents=True)
    os.chown(cache_home / "airflow-provider-mage", 12345, 12345)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (no_home, "home"),
        (read_only_disk, "Read-only file system (/cache)"),
        (full_disk, "No space left on device"),
        (no_room_for_a_file, "No space left on device"),
        (no_room_in_a_file, "No space left on device"),
        (no_permission_to_lock, "Permission denied"),
        (no_locks_left, "No locks available"),
        (no_locks, "Function not implemented"),
        (no_locks_in_this_python, "NotImplementedError"),
        (scrypt_is_missing, "no scrypt"),
        (scrypt_is_refused, "no scrypt"),
        (scrypt_is_not_allowed, "scrypt is not approved"),
        (no_memory, "MemoryError"),
        (file_for_a_home, "Not a directory"),
        (file_for_a_folder, "File exists"),
        (fifo_for_a_folder, "File exists"),
        (link_for_a_folder, "is no folder of this user's"),
        (dangling_link_for_a_folder, "File exists"),
        (folder_of_another_user, "is no folder of this user's"),
    ],
)
@pytest.mark.timeout(50)  # nobody waits for a lock that nobody has: that takes a minute
def test_host_that_is_no_good_stops_nobody_and_is_told_once(
    mage, monkeypatch, tmp_path, caplog, trouble, reason
):
    trouble(monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())

    for _ in range(2):
        session_of(mage).get("pipelines")

    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage().startswith("The tasks of this host may each make a log-in of their own")
    assert reason in record.getMessage()
    assert "XDG_CACHE_HOME" in record.getMessage()
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "cache"}
    left = [
        path.suffix for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("cache", "file")
    ]
    assert set(left) <= {".lock", ".token", ""}


def fifo(path):
    os.mkfifo(path)


def folder_with_something_in_it(path):
    (path / "file").mkdir(parents=True)


def link(path):
    path.symlink_to("/etc/passwd")


def link_to_nowhere(path):
    path.symlink_to("nowhere")


def foreign_file(path):
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    path.touch(mode=0o600)
    os.chown(path, 12345, 12345)


def huge_file(path):
    with path.open("wb") as file:
        file.truncate(10**12)  # takes no room


def garbage(path):
    path.write_bytes(b"[" * 60_000)


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (fifo, "is no file of this user's"),
        (link, "Too many levels of symbolic links"),
        (link_to_nowhere, "Too many levels of symbolic links"),
        (foreign_file, "is no file of this user's"),
        (huge_file, "is larger than"),
        (garbage, None),
        (folder_with_something_in_it, "is no file of this user's"),
    ],
)
@pytest.mark.timeout(50)
def test_what_is_in_the_place_of_the_token_is_replaced(mage, tmp_path, caplog, put, reason):
    session_of(mage).get("pipelines")
    [path] = (tmp_path / "cache").rglob("*.token")
    path.unlink()
    put(path)

    for _ in range(3):
        session_of(mage).get("pipelines")

    if put is folder_with_something_in_it:  # is left alone
        assert mage.log_ins == 4
    else:
        assert mage.log_ins == 2
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert [reason in record.getMessage() for record in caplog.records] == [True] * (reason is not None)
    assert files(path.parent) == ["lock", "token"]


@pytest.mark.parametrize(
    "put", [folder_with_something_in_it, fifo, link, link_to_nowhere, foreign_file, huge_file]
)
@pytest.mark.timeout(50)
def test_what_is_in_the_place_of_the_lock_stops_nobody(mage, tmp_path, caplog, put):
    session_of(mage).get("pipelines")
    [path] = (tmp_path / "cache").rglob("*.lock")
    next(path.parent.glob("*.token")).unlink()
    path.unlink()
    host_folder._lock_at.cache_clear()  # as in another process
    put(path)

    for _ in range(3):
        session_of(mage).get("pipelines")

    assert mage.log_ins == 2  # a token needs no lock
    assert len(caplog.records) <= 1


# What it saves


def test_processes_share_one_log_in(mage):
    session_of(mage).get("pipelines")

    assert read_elsewhere(mage, count=2) == ["2", "2"]
    assert mage.log_ins == 1


def test_a_hundred_processes_that_start_together_make_one_log_in(mage):
    mage.inject(faults.late_answer(1), match=("POST", "/sessions$"))  # a real one takes as long

    assert read_elsewhere(mage, count=100) == ["2"] * 100
    assert mage.log_ins == 1


@pytest.mark.parametrize("lose", ["revoke_all_tokens", "expire_all_tokens"])
def test_stored_token_that_mage_refuses_is_replaced(mage, lose):
    session_of(mage).get("pipelines")
    getattr(mage, lose)()

    session_of(mage).get("pipelines")
    session_of(mage).get("pipelines")

    assert mage.log_ins == 2


def test_token_that_another_process_has_renewed_is_taken_over(mage):
    first, second = session_of(mage), session_of(mage)
    first.get("pipelines")
    second.get("pipelines")
    mage.revoke_all_tokens()

    first.get("pipelines")
    second.get("pipelines")

    assert mage.log_ins == 2


def test_token_that_another_process_has_left_may_be_refused_too(mage):
    first, second = session_of(mage), session_of(mage)
    first.get("pipelines")
    second.get("pipelines")
    mage.revoke_all_tokens()
    first.get("pipelines")
    mage.revoke_all_tokens()

    second.get("pipelines")

    assert mage.log_ins == 3


def test_server_that_refuses_every_token_is_not_asked_for_ever():
    with FakeMage(token_lifetime=timedelta(0)) as server:
        with pytest.raises(MageAuthError, match=r"\(expired_oauth_token\)"):
            session_of(server).get("pipelines")

        assert server.log_ins == 3


def test_changed_password_does_not_profit_from_the_old_one(mage):
    session_of(mage).get("pipelines")

    with pytest.raises(MageAuthError, match="refused the log-in"):
        session_of(mage, password="wrong").get("pipelines")


def test_refused_log_in_is_not_remembered(mage):
    with pytest.raises(MageAuthError):
        session_of(mage, password="wrong").get("pipelines")

    assert session_of(mage).get("pipelines")


def test_given_token_is_not_stored(mage, tmp_path):
    session_of(mage).get("pipelines")
    before = sorted((tmp_path / "cache").rglob("*"))

    session_of(mage, login=None, oauth_token=mage.session_tokens()[0]).get("pipelines")

    assert sorted((tmp_path / "cache").rglob("*")) == before


def test_server_without_authentication_leaves_no_token(tmp_path):
    with FakeMage(authentication=False) as server:
        session_of(server).get("pipelines")

    assert not list((tmp_path / "cache").rglob("*.token"))


def test_outage_during_the_log_in_leaves_no_lock(mage):
    mage.inject(faults.http_error(404), match=("POST", "/sessions$"))
    one = session_of(mage)
    with pytest.raises(Exception, match="404"):
        one.get("pipelines")

    assert read_elsewhere(mage) == ["2"]


@pytest.mark.parametrize(
    ("extra", "log_ins"), [({}, 1), ({"share_login": "false"}, 2), ({"share_login": "y"}, 1)]
)
def test_sharing_can_be_switched_off_in_the_connection(mage, connect, tmp_path, extra, log_ins):
    conn_id = connect(extra=extra)
    for _ in range(2):
        auth._auth_of.cache_clear()  # as in another process
        MageHook(conn_id).client.list_pipelines()

    assert mage.log_ins == log_ins
    assert bool(list((tmp_path / "cache").rglob("*.token"))) == (log_ins == 1)


def test_test_button_neither_uses_nor_stores_a_token(mage, connect, tmp_path):
    conn_id = connect()
    MageHook(conn_id).test_connection()
    assert not list((tmp_path / "cache").rglob("*"))

    MageHook(conn_id).client.list_pipelines()
    MageHook(conn_id).test_connection()

    assert mage.log_ins == 3


def test_no_stored_file_holds_a_secret(mage, connect, tmp_path):
    hook = MageHook(connect())
    hook.client.list_pipelines()

    stored = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(stored) == 2
    for secret in (mage.password, mage.email, mage.url, *mage.session_tokens()):
        assert not any(
            secret.encode() in content or json.dumps(secret).encode() in content for content in stored
        )
