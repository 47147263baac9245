"""Which attempts share a run: all between two clears, of one task only."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from airflow_provider_mage._runs.identity import TaskAttempt

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def attempt(try_number=1, max_tries=2, *, is_durable=True, dag_run=None, interval_end=None, **ti):
    """An attempt of a task with two retries."""
    ti = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, **ti}
    context = {
        "ti": SimpleNamespace(try_number=try_number, max_tries=max_tries, **ti),
        "dag_run": dag_run,
        "data_interval_end": interval_end,
    }
    return TaskAttempt.from_context(context, retries=2, is_durable=is_durable)


def test_retries_share_a_key_and_a_clear_makes_another():
    first, retry = attempt(1), attempt(2)
    cleared, retry_of_cleared = attempt(3, max_tries=4), attempt(4, max_tries=4)  # max_tries: 2 + 2 retries

    assert first.run_key == retry.run_key != cleared.run_key == retry_of_cleared.run_key
    assert [one.is_retry for one in (first, retry, cleared, retry_of_cleared)] == [False, True, False, True]


@pytest.mark.parametrize(
    "other", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}], ids=str
)
def test_no_two_tasks_share_a_key(other):
    assert attempt().run_key != attempt(**other).run_key


def test_each_attempt_has_its_own_key_if_it_is_not_durable():
    first, retry = attempt(1, is_durable=False), attempt(2, is_durable=False)

    assert first.run_key != retry.run_key
    assert not retry.is_retry


@pytest.mark.parametrize(
    ("dag_run", "interval_end", "not_before"),
    [
        (None, None, None),
        (SimpleNamespace(run_after=NOON, start_date=NOON + DAY), NOON - DAY, NOON),
        (SimpleNamespace(start_date=NOON), NOON - DAY, NOON - DAY),
        (SimpleNamespace(start_date=NOON), NOON + DAY, NOON),  # dated in the future, and run at once
        (SimpleNamespace(start_date=None), NOON, NOON),
    ],
)
def test_no_run_of_the_task_can_be_older_than_this(dag_run, interval_end, not_before):
    assert attempt(dag_run=dag_run, interval_end=interval_end).not_before == not_before
