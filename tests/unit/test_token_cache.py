"""The processes of one user on one host share one log-in, and nobody else gets anything out of it."""

import json
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from airflow_provider_mage.api import auth, token_cache
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.errors import MageAuthError
from airflow_provider_mage.api.session import MageSession
from airflow_provider_mage.api.token_cache import LONGEST_LIFE, TokenCache
from airflow_provider_mage.hooks.mage import MageHook
from fakes import faults
from fakes.mage import FakeMage

READ_IN_OTHER_PROCESSES = """
import os, sys
import cryptography.fernet, filelock, jwt, platformdirs, requests  # once, and not in every process
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.session import MageSession

def read():
    auth = MageAuth(url, Credentials(login, password), shares_on_disk=True)
    return len(MageSession(url, auth=auth).get("pipelines")["pipelines"])

url, login, password, count = sys.argv[1:]
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
    arguments = [f"{mage.url}/api", mage.email, mage.password, str(count)]
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


def test_old_token_is_not_used_any_more(cache, folder):
    cache.write("a-token")
    [path] = folder.iterdir()
    before = path.stat().st_mtime - LONGEST_LIFE - 1
    os.utime(path, (before, before))

    assert cache.read() is None


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\0" * 100])
def test_file_that_was_damaged_is_as_good_as_none(cache, folder, content):
    cache.write("a-token")
    [path] = folder.iterdir()
    path.write_bytes(content)

    assert cache.read() is None
    cache.write("new")
    assert cache.read() == "new"


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


def test_disk_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "file").touch()
    cache = TokenCache("server and user", "password", tmp_path / "file")

    with cache.read_or_lock():
        assert cache.read() is None
        cache.write("a-token")
        cache.drop("a-token")
    assert cache.read() is None


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
