"""The pipeline schedule that a run is started under: found, or created once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_mage._runs.schedule import schedule_for
from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.api.errors import MageAuthError, MageNotFoundError, MageTransportError
from fakes import faults
from fakes.mage import FakeMage

CREATE = ("POST", "/pipeline_schedules$")
LIST = ("GET", "/pipeline_schedules$")
DELETE = ("DELETE", "/pipeline_schedules/")


def find(client, name="airflow", *, pipeline_uuid="daily_orders", by_id=None):
    return schedule_for(client, pipeline_uuid, pipeline_schedule_id=by_id, name=name)


def test_schedule_that_does_not_exist_is_created_active(mage, client):
    found = find(client)

    assert (found.name, found.pipeline_uuid, found.schedule_type) == ("airflow", "daily_orders", "api")
    assert found.is_active
    assert [schedule.id for schedule in mage.pipeline_schedules.values()] == [found.id]


def test_schedule_is_created_once(mage, client):
    assert {find(client).id for _ in range(3)} == {1}
    assert mage.count(*CREATE) == 1


def test_schedule_of_another_pipeline_is_not_taken(mage, client):
    other = mage.pipeline_schedule("broken_orders")

    assert find(client).id != other.id


@pytest.mark.parametrize("schedule_type", ["api", "time"])
def test_schedule_that_exists_is_taken(mage, client, schedule_type):
    existing = mage.pipeline_schedule("daily_orders", "mine", schedule_type=schedule_type)

    assert find(client, "mine").id == existing.id
    assert mage.count(*CREATE) == 0


def test_oldest_of_several_is_taken(mage, client):
    """Among more than Mage lists unless it is asked for more."""
    oldest = mage.pipeline_schedule("daily_orders", "airflow")
    for number in range(60):
        mage.pipeline_schedule("daily_orders", "airflow" if number % 2 else "other")

    assert find(client).id == oldest.id
    assert mage.count(*CREATE) == 0


def some_schedules(mage):
    for name in ("nightly", "hourly", "Backfill"):
        mage.pipeline_schedule("daily_orders", name)
    mage.pipeline_schedule("broken_orders", "nigthly")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nigthly", r"no schedule named 'nigthly': did you mean 'nightly'\? Only 'airflow' is created"),
        ("NIGHTLY", r"did you mean 'nightly'\?"),
        ("backfil", r"did you mean 'Backfill'\?"),
        ("xyz", "there is 'Backfill', 'hourly', 'nightly'. Only 'airflow'"),
    ],
)
def test_name_that_the_pipeline_does_not_have_is_told_with_those_that_it_has(mage, client, name, says):
    some_schedules(mage)

    with pytest.raises(ValueError, match=says):
        find(client, name)

    assert mage.count(*CREATE) == 0


def test_many_names_are_not_all_told(mage, client):
    for number in range(12):
        mage.pipeline_schedule("daily_orders", f"every {number}")

    with pytest.raises(ValueError, match=r"'every 0', .*, 'every 7', and 2 more\. Only") as caught:
        find(client, "xyz")
    assert "every 9" not in str(caught.value)


def test_name_of_a_pipeline_without_schedules_is_told(client):
    with pytest.raises(
        ValueError, match=r"no schedule named 'nightly': there is none at all\. Only 'airflow' is"
    ):
        find(client, "nightly")


def test_task_that_was_slower_takes_the_older_one_and_removes_its_own(mage, client):
    def be_quicker(request, answer):
        mage.pipeline_schedule("daily_orders")
        return answer

    mage.inject(faults.Fault("quicker", is_processed=True, change=be_quicker), match=LIST)

    assert find(client).id == 1
    assert mage.count(*CREATE) == 1
    assert list(mage.pipeline_schedules) == [1]


def test_tasks_that_start_together_agree(mage, session):
    barrier = threading.Barrier(6)
    clients = [MageClient(session(mage)) for _ in range(6)]
    for one in clients:
        one.session.log_in()

    def find_together(client):
        barrier.wait()
        return find(client).id

    with ThreadPoolExecutor(6) as threads:
        found = set(threads.map(find_together, clients))

    assert len(found) == 1
    assert list(mage.pipeline_schedules) == list(found)


def test_own_one_that_cannot_be_removed_is_only_a_warning(mage, client, caplog):
    def be_quicker(request, answer):
        mage.pipeline_schedule("daily_orders")
        return answer

    mage.inject(faults.Fault("quicker", is_processed=True, change=be_quicker), match=LIST)
    mage.inject(faults.http_error(503), match=DELETE)

    assert find(client).id == 1
    assert "Pipeline schedule 2 is not needed, but could not be deleted." in caplog.text


@pytest.mark.parametrize(
    "fault", [faults.CLOSE_AFTER, faults.RESET_AFTER, faults.EMPTY_BODY, faults.TRUNCATED_JSON]
)
def test_lost_answer_of_the_creation_makes_no_second_one(mage, client, fault):
    client.session.log_in()
    mage.inject(fault, match=CREATE)

    assert find(client).id == 1
    assert list(mage.pipeline_schedules) == [1]
    assert mage.count(*CREATE) == 1


@pytest.mark.parametrize("fault", [faults.CLOSE_BEFORE, faults.RESET_BEFORE, faults.http_error(502)])
def test_creation_that_was_lost_is_made_again(mage, client, fault):
    client.session.log_in()
    mage.inject(fault, match=CREATE)

    assert find(client).id == 1
    assert list(mage.pipeline_schedules) == [1]


def test_creation_that_certainly_did_not_arrive_is_an_outage(mage, client):
    client.session.log_in()
    mage.inject(faults.too_many_requests(), match=CREATE)

    with pytest.raises(MageTransportError):
        find(client)

    assert mage.pipeline_schedules == {}


@pytest.mark.parametrize("by_id", [False, True])
def test_inactive_schedule_is_told_at_once(mage, client, by_id):
    """A run under it would stay `initial` for ever."""
    off = mage.pipeline_schedule("daily_orders", "off", status="inactive")

    with pytest.raises(
        ValueError, match=r"schedule 1 \('off'\) of pipeline 'daily_orders' is inactive, so Mage would"
    ):
        find(client, "off", by_id=off.id if by_id else None)

    assert mage.pipeline_runs == {}


def test_schedule_is_found_by_its_id(mage, client):
    mage.pipeline_schedule("daily_orders", "first")
    second = mage.pipeline_schedule("daily_orders", "second")

    assert find(client, "whatever", by_id=second.id).name == "second"


def test_schedule_of_another_pipeline_is_refused_by_its_id(mage, client):
    other = mage.pipeline_schedule("broken_orders", "theirs")

    with pytest.raises(
        ValueError, match=r"schedule 1 \('theirs'\) belongs to pipeline 'broken_orders', not to"
    ):
        find(client, by_id=other.id)


def test_unknown_schedule_id_is_told(mage, client):
    with pytest.raises(MageNotFoundError, match=r"no such record: check.*/pipeline_schedules/4711"):
        find(client, by_id=4711)

    assert mage.count(*CREATE) == 0


def test_unknown_pipeline_is_told_and_no_schedule_made_for_it(mage, client):
    with pytest.raises(MageNotFoundError, match="Mage has no pipeline 'no_such': there is 'broken_orders', "):
        find(client, pipeline_uuid="no_such")

    assert mage.pipeline_schedules == {}


def test_viewer_who_would_have_to_create_one_is_told(session):
    with FakeMage(role="viewer") as server:
        server.example_pipelines()

        with pytest.raises(MageAuthError, match="the role of the connection's user does not") as caught:
            find(MageClient(session(server)))

        assert "no schedule named 'airflow', and the connection's user may not create one" in str(
            caught.value
        )
        assert caught.value.what == "Permission"


@pytest.fixture
def editor_of_one():
    """A Mage whose user may work with one pipeline, and is nobody else."""
    with FakeMage(role="nobody", pipeline_roles={"daily_orders": "editor"}) as server:
        server.example_pipelines()
        yield server


def test_editor_of_one_pipeline_finds_its_schedules_by_id_and_by_name(editor_of_one, session):
    client = MageClient(session(editor_of_one))
    existing = editor_of_one.pipeline_schedule("daily_orders", "nightly")
    editor_of_one.pipeline_schedule("broken_orders", "nightly")

    assert find(client, by_id=existing.id).name == "nightly"
    assert find(client, "nightly").id == existing.id
    with pytest.raises(ValueError, match=r"no schedule named 'nigthly': did you mean 'nightly'\?"):
        find(client, "nigthly")


def test_editor_of_one_pipeline_is_told_that_the_default_schedule_is_missing(editor_of_one, session):
    with pytest.raises(MageAuthError, match=r"Create it in Mage .*, of type API, or give the user the role"):
        find(MageClient(session(editor_of_one)))


def test_editor_of_another_pipeline_is_refused(editor_of_one, session):
    with pytest.raises(MageAuthError, match="role"):
        find(MageClient(session(editor_of_one)), pipeline_uuid="broken_orders")
