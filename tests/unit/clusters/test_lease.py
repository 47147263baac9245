"""DAG runs that share a cluster do not pull it from under each other."""

import json
import threading
import time

import pytest

from airflow_provider_mage._clusters import lease as lease_module
from airflow_provider_mage._clusters.lease import HOLDING, STOPPING, Holder, Leases, VariableStore

A, B = Holder("dag_a", "run 1", "start_cluster"), Holder("dag_b", "run 1", "start_cluster")


class Book:
    """A store that two workers may write to at any time."""

    def __init__(self):
        self.text = "{}"

    def read(self):
        return json.loads(self.text)

    def write(self, book):
        self.text = json.dumps(book)


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def active():
    """The DAG runs that go on."""
    return {("dag_a", "run 1"), ("dag_b", "run 1")}


@pytest.fixture
def leases(book, active, clock):
    return Leases(book, "c1", is_active=lambda *run: run in active, clock=clock)


def test_last_one_stops_the_cluster(leases, book):
    leases.acquire(A)
    leases.acquire(B)

    assert leases.announce_stop(A) is False
    assert leases.announce_stop(B) is True
    leases.release(B)
    assert book.read() == {}


def test_whoever_has_no_lease_stops_nothing(leases):
    assert leases.announce_stop(A) is False


def test_retry_of_a_stop_goes_on_with_it(leases):
    leases.acquire(A)

    assert leases.announce_stop(A) is True
    assert leases.announce_stop(A) is True


def test_cleared_task_takes_its_lease_again(leases, book):
    leases.acquire(A)
    leases.announce_stop(A)
    leases.acquire(A)

    assert book.read() == {A.key: {"state": HOLDING}}


def test_lease_of_a_run_that_is_over_is_void(leases, book, active, caplog):
    leases.acquire(A)
    leases.acquire(B)
    active.clear()

    assert leases.announce_stop(B) is True
    assert list(book.read()) == [B.key]
    assert "void" in caplog.text


def test_lease_counts_if_nobody_knows_how_its_run_is(book, clock):
    def nobody_knows(*run):
        raise RuntimeError("no database")

    leases = Leases(book, "c1", is_active=nobody_knows, clock=clock)
    leases.acquire(A)
    leases.acquire(B)

    assert leases.announce_stop(B) is False


def test_newcomer_waits_until_the_cluster_is_down(leases, book, clock):
    leases.acquire(A)
    assert leases.announce_stop(A) is True

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 1_000_020:
            leases.release(A)

    clock.sleep = sleep
    leases.acquire(B)

    assert book.read() == {B.key: {"state": HOLDING}}
    assert clock.now > 1_000_020


def test_newcomer_gives_up_in_time(leases, clock):
    leases.acquire(A)
    leases.announce_stop(A)

    with pytest.raises(TimeoutError, match="dag_a"):
        leases.acquire(B, deadline=clock.now + 30)


def test_newcomer_who_comes_before_the_last_look_is_seen(leases, book, clock):
    leases.acquire(A)
    clock.sleep = lambda seconds: book.write({**book.read(), B.key: {"state": HOLDING}})

    assert leases.announce_stop(A) is False
    assert book.read() == {B.key: {"state": HOLDING}}


def test_two_that_are_done_at_once_do_not_leave_it_to_each_other(leases, book, clock):
    leases.acquire(A)
    leases.acquire(B)
    other = []

    def sleep(seconds):
        clock.sleep = lambda seconds: None
        other.append(leases.announce_stop(B))

    clock.sleep = sleep
    assert leases.announce_stop(A) is True
    assert other == [True]


def test_stopping_run_that_died_holds_nobody_up(leases, book, active):
    leases.acquire(A)
    leases.announce_stop(A)
    active.discard(("dag_a", "run 1"))

    leases.acquire(B)

    assert book.read() == {B.key: {"state": HOLDING}}


def test_lost_write_is_written_again(book, clock):
    class Lossy(Book):
        losses = 3

        def write(self, content):
            if self.losses:
                self.losses -= 1
            else:
                super().write(content)

    store = Lossy()
    Leases(store, "c1", is_active=lambda *run: True, clock=clock).acquire(A)

    assert store.read() == {A.key: {"state": HOLDING}}


def test_cluster_is_up_whenever_somebody_holds_it(monkeypatch):
    """Many runs come and go on two hosts, which take no turns with each other."""
    monkeypatch.setattr(lease_module, "SETTLING", 0.2)
    monkeypatch.setattr(lease_module, "FIRST_LOOK", 0.01)
    monkeypatch.setattr(lease_module, "LONGEST_LOOK", 0.02)
    store, is_up, wrongs = Book(), threading.Event(), []
    starts = []

    def live(number):
        leases = Leases(store, f"host {number % 2}", is_active=lambda *run: True)
        holder = Holder("dag", f"run {number}", "start")
        for _ in range(5):
            time.sleep(0.017 * (number + 1))
            leases.acquire(holder)
            if not is_up.is_set():
                starts.append(number)
                is_up.set()
            for _ in range(5):
                time.sleep(0.01)
                if not is_up.is_set():
                    wrongs.append(number)
            if leases.announce_stop(holder):
                is_up.clear()
                time.sleep(0.02)
                leases.release(holder)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrongs == []
    assert store.read() == {}
    assert not is_up.is_set()


def test_leases_are_kept_in_a_variable_that_says_whose_it_is(handle, monkeypatch):
    variables = {}
    monkeypatch.setattr(lease_module, "read_variable", variables.get)
    monkeypatch.setattr(
        lease_module, "write_variable", lambda key, text, description: variables.update({key: text})
    )
    store = VariableStore(handle)

    store.write({A.key: {"state": STOPPING}})

    [key] = variables
    assert key.startswith("mage_cluster_leases_team-1_c1_")
    assert store.read() == {A.key: {"state": STOPPING}}
    store.write({})
    assert variables == {key: None}
