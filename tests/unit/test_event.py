"""What a trigger sends is what the worker raises."""

import json

import pytest

from airflow_provider_mage.api.errors import MageError, MageNotFoundError, MageTransportError, StalledError
from airflow_provider_mage.triggers.event import make_event, read_event


@pytest.mark.parametrize(
    "failure",
    [TimeoutError("t"), StalledError("s"), MageNotFoundError("n"), MageTransportError("x")],
    ids=repr,
)
def test_failure_is_the_same_after_its_journey(failure):
    event = json.loads(json.dumps(make_event(failure, pipeline_run_id=7)))

    pipeline_run_id, read = read_event(event, "pipeline_run_id")

    assert (pipeline_run_id, type(read), str(read)) == (7, type(failure), str(failure))


def test_end_of_a_wait_is_no_failure():
    assert read_event(make_event(cluster_id="c1"), "cluster_id") == ("c1", None)


def test_failure_of_another_version_is_an_error_of_this_package():
    _, read = read_event({"cluster_id": "c1", "error": "NewError", "message": "m"}, "cluster_id")

    assert (type(read), str(read)) == (MageError, "m")


@pytest.mark.parametrize(
    "event", [None, "done", {}, {"status": "success"}, make_event(cluster_id="c1")], ids=str
)
def test_anything_else_is_refused(event):
    with pytest.raises(ValueError, match="not an event of this package"):
        read_event(event, "pipeline_run_id")
