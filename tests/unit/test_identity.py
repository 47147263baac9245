"""Whose run it is: all attempts between two clears of one task of one DAG run, and nobody else's."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from airflow_provider_mage._runs import identity as identity_module
from airflow_provider_mage._runs.identity import Claim, RunIdentity
from airflow_provider_mage.api.models import PipelineRun, PipelineRunStatus

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=timezone.utc)
A_MICROSECOND = timedelta(microseconds=1)


def dag_run(start_date=NOON, logical_date=MIDNIGHT, run_after=MIDNIGHT):
    return SimpleNamespace(start_date=start_date, logical_date=logical_date, run_after=run_after)


def identify(try_number=1, max_tries=2, *, retries=2, is_durable=True, of=None, store=None, **ti):
    """Identify an attempt of a task, which has two retries unless told otherwise."""
    ti = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, **ti}
    context = {
        "ti": SimpleNamespace(try_number=try_number, max_tries=max_tries, **ti),
        "dag_run": of or dag_run(),
        **({} if store is None else {"task_state_store": store}),
    }
    return RunIdentity.from_context(context, retries=retries, is_durable=is_durable)


def run_of(identity, *, without=(), **fields):
    """A run that an attempt has asked for."""
    origin = {name: value for name, value in identity.as_variable().items() if name not in without}
    return PipelineRun(7, PipelineRunStatus.RUNNING, variables={"airflow": origin}, **fields)


def test_retries_share_a_key_and_a_clear_makes_another():
    first, retry = identify(1), identify(2)
    cleared, retry_of_cleared = identify(3, max_tries=4), identify(4, max_tries=4)  # 2 + 2 retries

    assert first.run_key == retry.run_key != cleared.run_key == retry_of_cleared.run_key
    assert [one.is_retry for one in (first, retry)] == [False, True]


@pytest.mark.parametrize(
    "other", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}], ids=str
)
def test_no_two_tasks_share_a_key(other):
    assert identify().run_key != identify(**other).run_key


def test_dag_run_that_is_made_again_under_its_id_has_other_keys():
    assert identify().run_key != identify(of=dag_run(start_date=NOON + A_MICROSECOND)).run_key


def test_retries_that_an_author_lowers_in_between_change_nothing():
    assert identify(1, retries=2).run_key == identify(2, retries=1).run_key


@pytest.mark.parametrize(
    "of", [dag_run(start_date=MIDNIGHT), dag_run(NOON, NOON, None), dag_run(NOON, None, NOON), dag_run(None)]
)
def test_dag_test_that_is_run_again_has_other_keys(monkeypatch, of):
    """Its DAG run is dated, and starts, at the same time each time; each is a process of its own."""
    first, retry = identify(1, of=of), identify(2, of=of)
    monkeypatch.setattr(identity_module, "PROCESS_NONCE", "another process")

    assert first.run_key == retry.run_key != identify(1, of=of).run_key


def test_each_attempt_has_its_own_key_if_it_is_not_durable():
    first, retry = identify(1, is_durable=False), identify(2, is_durable=False)

    assert first.run_key != retry.run_key
    assert not retry.is_retry


def test_run_knows_which_attempt_has_asked_for_it():
    first, retry, other = identify(1), identify(2), identify(1, task_id="x")

    assert first.attempt_of(run_of(retry)) == 2
    assert retry.attempt_of(run_of(first)) == 1
    assert other.attempt_of(run_of(first)) is None
    assert [retry.covers(run_of(one)) for one in (first, retry, other)] == [True, True, False]
    assert not first.covers(run_of(retry))


def test_only_the_attempt_that_has_sent_a_request_has_its_nonce():
    first = identify(1)

    assert first.asked_for(run_of(first))
    assert not identify(1).asked_for(run_of(first))


@pytest.mark.parametrize(
    "variables", [{}, {"airflow": None}, {"airflow": "x"}, {"airflow": {"run_key": None}}]
)
def test_run_that_somebody_else_has_started_is_nobodys(variables):
    run = PipelineRun(7, PipelineRunStatus.RUNNING, variables=variables)

    assert identify().attempt_of(run) is None
    assert not identify().asked_for(run)
    assert not Claim(identify()).owns(run)


@pytest.mark.parametrize(
    ("created_at", "started_at", "is_own"),
    [
        (NOON, None, True),
        (NOON - A_MICROSECOND, None, False),  # of a DAG run that was deleted
        (NOON - timedelta(hours=1), NOON, True),  # PostgreSQL dates the creation too early
        (NOON - timedelta(hours=2), NOON - timedelta(hours=1), False),
        (None, None, False),
    ],
)
def test_run_of_version_0_1_0_counts_if_it_was_started_in_this_very_dag_run(created_at, started_at, is_own):
    retry = identify(2)
    run = run_of(retry, created_at=created_at, started_at=started_at)
    run.variables["airflow"].update(run_key=retry.former_key, try_number=1)
    del run.variables["airflow"]["nonce"]

    assert retry.attempt_of(run) == (1 if is_own else None)


def test_former_key_of_a_run_that_has_a_nonce_is_not_believed():
    retry = identify(2)
    run = run_of(retry, created_at=NOON)
    run.variables["airflow"].update(run_key=retry.former_key)

    assert retry.attempt_of(run) is None


class Store(dict):
    """Airflow 3.3's task state store."""

    def set(self, key, value):
        self[key] = value


class LockedStore:
    def get(self, key):
        raise OSError("database is locked")

    set = get


def test_key_is_pinned_where_airflow_has_a_store_and_outlasts_a_dag_run_that_is_queued_again():
    store = Store()
    first = identify(1, store=store)
    retry = identify(2, store=store, of=dag_run(start_date=NOON + timedelta(hours=3)))

    assert retry.run_key == first.run_key
    assert retry.started_at == first.started_at


def test_clear_is_not_fooled_by_the_store():
    store = Store()

    assert identify(1, store=store).run_key != identify(2, max_tries=3, store=store).run_key


def test_store_that_is_out_of_reach_does_no_harm():
    assert identify(2, store=LockedStore()).run_key == identify(2).run_key


def test_orphan_shows_no_variables_and_is_believed():
    assert Claim(identify()).owns(PipelineRun(7, PipelineRunStatus.RUNNING, is_orphan=True))


def test_claim_is_the_same_after_its_journey():
    claim = Claim(identify(), 3, 44, (1.0, 2.0))

    assert Claim.from_dict(claim.to_dict()) == claim
    assert Claim.from_dict(None) is None


def test_duplicates_are_looked_for_at_the_times_that_the_claim_says():
    claim = replace(Claim(identify()), checks_at=(10.0, 30.0, 70.0))

    assert [claim.next_check(at) for at in (0.0, 10.0, 35.0, 70.0)] == [10.0, 30.0, 70.0, None]
    assert Claim(identify()).next_check(0.0) is None


def test_partitioned_dag_run_tells_its_partition():
    """It has no data interval."""
    of = dag_run()
    of.partition_key, of.partition_date = "2026-03-01T00", MIDNIGHT

    variable = identify(of=of).as_variable()

    assert variable["partition_key"] == "2026-03-01T00"
    assert variable["partition_date"] == "2026-03-01T00:00:00+00:00"


@pytest.mark.parametrize("has_names", [True, False])
def test_other_dag_runs_tell_of_no_partition(has_names):
    of = dag_run()
    if has_names:
        of.partition_key = of.partition_date = None

    assert not {"partition_key", "partition_date"} & set(identify(of=of).as_variable())


def test_claim_of_an_older_version_is_read():
    stored = Claim(identify(), 7).to_dict()
    del stored["pipeline_uuid"]

    assert Claim.from_dict(stored).pipeline_uuid == ""
