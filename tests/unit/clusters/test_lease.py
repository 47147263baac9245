"""DAG runs that share a cluster do not pull it from under each other."""

import heapq
import itertools
import json
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mage._clusters.handle import ClusterHandle
from airflow_provider_mage._clusters.lease import HOLDING, STOPPING, Damaged, Holder, Leases, read_leases
from airflow_provider_mage.api.cloud import MageCloudClient
from airflow_provider_mage.api.session import MageSession

A, B = Holder("dag_a", "run 1", "start_cluster"), Holder("dag_b", "run 1", "start_cluster")


class Store:
    """A store that two workers may write to at any time."""

    def __init__(self):
        self.text = "{}"

    def read(self):
        return read_leases(self.text)

    def write(self, leases):
        self.text = json.dumps(leases)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def lessor(clock):
    """Make the leases of cluster c1 as a worker of some host sees them."""

    def make(store, is_active, clock=clock, host="a"):
        session = MageSession(f"http://{host}.test", clock=clock)
        handle = ClusterHandle(MageCloudClient(session), "team-1", "c1")
        return Leases(handle, store, is_active=is_active)

    return make


@pytest.fixture
def active():
    """The DAG runs that go on."""
    return {("dag_a", "run 1"), ("dag_b", "run 1")}


@pytest.fixture
def leases(store, active, lessor):
    return lessor(store, lambda *run: run in active)


def test_last_one_stops_the_cluster(leases, store):
    leases.acquire(A)
    leases.acquire(B)

    assert leases.announce_stop(A) is False
    assert leases.announce_stop(B) is True
    leases.release(B)
    assert store.read() == {}


def test_whoever_has_no_lease_stops_nothing(leases):
    assert leases.announce_stop(A) is False


def test_retry_of_a_stop_goes_on_with_it(leases):
    leases.acquire(A)

    assert leases.announce_stop(A) is True
    assert leases.announce_stop(A) is True


def test_cleared_task_takes_its_lease_again(leases, store):
    leases.acquire(A)
    leases.announce_stop(A)
    leases.acquire(A)

    assert store.read() == {A.key: {"state": HOLDING}}


def test_lease_of_a_run_that_is_over_is_void(leases, store, active, caplog):
    leases.acquire(A)
    leases.acquire(B)
    active.clear()

    assert leases.announce_stop(B) is True
    assert list(store.read()) == [B.key]
    assert "void" in caplog.text


def test_lease_counts_if_nobody_knows_how_its_run_is(store, lessor):
    def nobody_knows(*run):
        raise RuntimeError("no database")

    leases = lessor(store, nobody_knows)
    leases.acquire(A)
    leases.acquire(B)

    assert leases.announce_stop(B) is False


def test_newcomer_waits_until_the_cluster_is_down(leases, store, clock):
    leases.acquire(A)
    assert leases.announce_stop(A) is True

    def sleep(seconds):
        clock.now += seconds
        if clock.now > 1_000_020 and A.key in store.read():
            store.write({B.key: store.read()[B.key]})

    clock.sleep = sleep
    leases.acquire(B)

    assert store.read() == {B.key: {"state": HOLDING}}
    assert clock.now > 1_000_020


def test_newcomer_gives_up_in_time(leases, clock):
    leases.acquire(A)
    leases.announce_stop(A)

    with pytest.raises(TimeoutError, match="dag_a"):
        leases.acquire(B, deadline=clock.now + 30)


def test_newcomer_who_comes_before_the_last_look_is_seen(leases, store, clock):
    leases.acquire(A)
    clock.sleep = lambda seconds: store.write({**store.read(), B.key: {"state": HOLDING}})

    assert leases.announce_stop(A) is False
    assert store.read() == {B.key: {"state": HOLDING}}


def test_two_that_are_done_at_once_do_not_leave_it_to_each_other(leases, store, clock):
    leases.acquire(A)
    leases.acquire(B)
    other = []

    def sleep(seconds):
        clock.sleep = lambda seconds: None
        other.append(leases.announce_stop(B))

    clock.sleep = sleep
    assert leases.announce_stop(A) is True
    assert other == [True]


def test_stopping_run_that_died_holds_nobody_up(leases, store, active):
    leases.acquire(A)
    leases.announce_stop(A)
    active.discard(("dag_a", "run 1"))

    leases.acquire(B)

    assert store.read() == {B.key: {"state": HOLDING}}


def test_lost_write_is_written_again(lessor):
    class Lossy(Store):
        losses = 3

        def write(self, content):
            if self.losses:
                self.losses -= 1
            else:
                super().write(content)

    store = Lossy()
    lessor(store, lambda *run: True).acquire(A)

    assert store.read() == {A.key: {"state": HOLDING}}


class SharedTime:
    """Time that passes when all of some threads sleep; one of them runs at a time, the others stand still."""

    def __init__(self, threads):
        self.now = 1_000_000.0
        self._awake = threads
        self._sleepers = []
        self._order = itertools.count()
        self._woken = None
        self._condition = threading.Condition()

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        with self._condition:
            me = (self.now + seconds, next(self._order))
            heapq.heappush(self._sleepers, me)
            self.leave()
            self._condition.wait_for(lambda: self._woken == me)

    def leave(self):
        with self._condition:
            self._awake -= 1
            if not self._awake and self._sleepers:
                self._awake, self._woken = 1, heapq.heappop(self._sleepers)
                self.now = self._woken[0]
                self._condition.notify_all()


@pytest.mark.parametrize("seed", range(30))
def test_cluster_is_up_whenever_somebody_holds_it(lessor, seed):
    """Many runs come and go on hosts of their own, which take no turns with each other."""
    count, chance = 6, random.Random(seed)  # noqa: S311  no secret
    clock, is_up, wrongs = SharedTime(count), threading.Event(), []

    class Slow(Store):
        """In between, others read and write."""

        def read(self):
            clock.sleep(chance.uniform(0, 0.05))
            return super().read()

        def write(self, leases):
            clock.sleep(chance.uniform(0, 0.05))
            super().write(leases)

    store = Slow()

    def live(number):
        leases = lessor(store, lambda *run: True, clock=clock, host=f"host-{number}")
        holder = Holder("dag", f"run {number}", "start")
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        for _ in range(5):
            clock.sleep(chance.uniform(0, 5))
            leases.acquire(holder)
            is_up.set()
            for _ in range(5):
                clock.sleep(chance.uniform(0, 1))
                if not is_up.is_set():
                    wrongs.append(number)
            if leases.announce_stop(holder):
                clock.sleep(chance.uniform(0, 3))
                is_up.clear()
                clock.sleep(chance.uniform(0, 3))
                leases.release(holder)
        clock.leave()

    threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrongs == []
    assert store.text == "{}"
    assert not is_up.is_set()


# Edited by hand

ODD_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([HOLDING, STOPPING]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("state"), inner, max_size=3)
    ),
    max_leaves=5,
)
ODD_KEYS = st.text() | ODD_JSON.map(json.dumps) | st.sampled_from([A.key, B.key])
ODD_TEXTS = (
    st.text()
    | ODD_JSON.map(json.dumps)
    | st.dictionaries(ODD_KEYS, ODD_JSON, max_size=3).map(json.dumps)
    | st.sampled_from(
        [
            "garbage",
            "[]",
            "5",
            "null",
            "[" * 5000,
            "{}",
            "NaN",
            '"text"',
            json.dumps({A.key: {}, B.key: {"state": []}}),
        ]
    )
)


@given(text=ODD_TEXTS)
def test_whatever_is_stored_a_cluster_can_be_started_and_stopped(text):
    clock = OwnClock()
    handle = ClusterHandle(MageCloudClient(MageSession("http://a.test", clock=clock)), "team-1", "c1")
    store = Store()
    store.text = text
    leases = Leases(handle, store, is_active=lambda *_: False)

    leases.acquire(A)
    assert leases.announce_stop(A) is True
    leases.release(A)

    assert not isinstance(store.read(), Damaged)
    assert A.key not in store.read()


class OwnClock:
    """Time that passes only when somebody sleeps."""

    now = 0.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("text", ["garbage", "[]", "5", "null", '{"a": 1}', json.dumps({A.key: {}})])
def test_whoever_may_have_lost_its_lease_to_an_edit_stops_the_cluster(leases, store, text):
    leases.acquire(A)
    store.text = text

    assert leases.announce_stop(A) is True


def test_whoever_has_lost_its_lease_to_an_edit_stops_nothing_that_others_hold(leases, store):
    leases.acquire(A)
    leases.acquire(B)
    store.text = json.dumps({A.key: "gone", B.key: {"state": HOLDING}})

    assert leases.announce_stop(A) is False
    assert leases.announce_stop(B) is True


@pytest.mark.parametrize(
    "lease", [None, 5, "holding", [], {}, {"state": None}, {"state": "held"}, {"state": {}}, {"since": 1e400}]
)
def test_what_is_no_lease_is_not_read_as_one(lease):
    text = json.dumps({A.key: lease, B.key: {"state": HOLDING}})

    assert read_leases(text) == {B.key: {"state": HOLDING}}
    assert isinstance(read_leases(text), Damaged)
