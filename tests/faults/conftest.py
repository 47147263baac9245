"""
What goes wrong between Airflow and Mage, done on purpose.

A test that asks for ``outcomes`` has a ``case``, which does what is to be looked at: it has ``play(mage)``,
``check(outcome)``, ``at(pace)``, which is the same case with longer time-outs, and says which ``pool`` plays
it, whether it ``needs_mage``, the shared one, and, for the longest to be begun first, its ``length``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from faults import PACES, SLOW

from airflow_provider_mage.api import auth
from mage_server import MageServer
from postgresql import PostgreSQL

HERE = Path(__file__).resolve().parent
PROJECT = (HERE.parent / "mage_project", HERE / "mage_project")

AT_ONCE = {"fake": 10, "real": 20, "accidents": 1, "lost job": 1}
"""
How many cases a pool plays at a time. They wait for time-outs most of the time; more of the real ones than
this, and they would wait for Mage's one thread instead. The last two have servers of their own.
"""

REPLAYS = pytest.StashKey[list]()


@pytest.fixture(autouse=True)
def no_log_in_of_another_test():
    auth._auth_of.cache_clear()


@pytest.fixture(scope="session")
def mage():
    """A real Mage server, which loses no jobs of its own accord, and whose writers wait for no other."""
    with (
        PostgreSQL() as postgresql,
        MageServer(postgresql.create_database("mage"), overlays=PROJECT) as server,
    ):
        yield server


def play(case, mage, replays):
    """
    Play a case, and again with longer time-outs for as long as it fails on a server that is too slow.

    What the package promises, it promises for a server that answers within a time-out. So whether a busy
    machine may excuse a failure is measured, and then the case has to hold with more time; no check is ever
    left out.
    """
    for pace in PACES:
        case_at_pace = case.at(pace)
        outcome = case_at_pace.play(mage)
        try:
            case_at_pace.check(outcome)
        except AssertionError:
            # Of the server the proxy knows best, which shares this process with the client.
            if outcome.slowest <= SLOW * case_at_pace.timeout:
                break
            replays.append(f"{case_at_pace}: an answer took {outcome.slowest:.1f} s")
        else:
            break
    return case_at_pace, outcome


@pytest.fixture(scope="session")
def outcomes(request):
    """
    What became of each case, and the case as it was played last.

    All are over before the first is looked at: between two tests pytest changes os.environ, which requests
    read their proxies from, and a thread that is reading it just then dies of a KeyError.
    """
    chosen = [
        item.callspec.params["case"] for item in request.session.items if "outcomes" in item.fixturenames
    ]
    # The longest first, so that none is left alone at the end; and those that can begin while Mage starts.
    chosen.sort(key=lambda case: (case.needs_mage, -case.length))
    replays = request.config.stash.setdefault(REPLAYS, [])
    with ExitStack() as stack:
        pools = {name: stack.enter_context(ThreadPoolExecutor(number)) for name, number in AT_ONCE.items()}
        played = {}
        for case in chosen:
            mage = request.getfixturevalue("mage") if case.needs_mage else None
            played[case] = pools[case.pool].submit(play, case, mage, replays)
        return played


def pytest_terminal_summary(terminalreporter, config):
    if replays := config.stash.get(REPLAYS, []):
        terminalreporter.section("played again with longer time-outs, as the server was slow")
        for line in replays:
            terminalreporter.line(line)
