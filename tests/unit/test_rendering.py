"""Templates, rendered by Airflow itself, as text and natively: what arrives, or what is told before that."""

from collections.abc import Sequence
from datetime import datetime, timezone

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes.mage import FakeMage

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class LazyXComs(Sequence):
    """The output of mapped tasks, which Airflow reads item by item."""

    def __getitem__(self, index):
        return [2, 4, 6][index]

    def __len__(self):
        return 3


@pytest.fixture
def quick_mage():
    with FakeMage(polls_to_finish=1) as server:
        server.example_pipelines()
        server.pipeline("2024")
        yield server


@pytest.fixture
def run(quick_mage, connect, context):
    """Render the arguments of a trigger operator as Airflow does, and run it."""
    conn_id = connect(host=quick_mage.url, password=quick_mage.password)

    def run(*, is_native, template_context=None, **arguments):
        arguments = {"pipeline_uuid": "daily_orders", **arguments}
        task = MageTriggerPipelineOperator(
            task_id="run", mage_conn_id=conn_id, poll_interval=0.01, **arguments
        )
        task.dag = DAG("d", schedule=None, render_template_as_native_obj=is_native)
        task.render_template_fields(template_context or {})
        return quick_mage.pipeline_runs[task.execute(context)]

    return run


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize("pipeline_uuid", ["2024", "{{ year }}"])
def test_name_of_digits_is_a_name(run, pipeline_uuid, is_native):
    assert (
        run(pipeline_uuid=pipeline_uuid, template_context={"year": 2024}, is_native=is_native).pipeline_uuid
        == "2024"
    )


@pytest.mark.parametrize("is_native", [True, False])
def test_schedule_of_digits_is_found(quick_mage, run, is_native):
    schedule = quick_mage.pipeline_schedule("daily_orders", "2025")

    made = run(pipeline_schedule_name="2025", is_native=is_native)

    assert made.pipeline_schedule_id == schedule.id


def test_date_without_dashes_is_a_date(run):
    made = run(execution_date="{{ ds_nodash }}", template_context={"ds_nodash": "20260301"}, is_native=True)

    assert str(made.execution_date) == "2026-03-01 00:00:00"


def test_output_of_mapped_tasks_arrives_as_a_list(run):
    made = run(
        variables={"ids": "{{ xcoms }}", "at": "{{ noon }}"},
        template_context={"xcoms": LazyXComs(), "noon": NOON},
        is_native=True,
    )

    assert made.variables["ids"] == [2, 4, 6]
    assert made.variables["at"] == "2026-03-01T12:00:00+00:00"


def test_dictionary_that_is_rendered_natively_arrives(run):
    made = run(variables="{{ params }}", template_context={"params": {"n": 7}}, is_native=True)

    assert made.variables["n"] == 7


@pytest.mark.parametrize(
    ("arguments", "is_native", "says"),
    [
        ({"variables": "{{ params }}"}, False, "`variables` .*`render_template_as_native_obj=True`"),
        ({"variables": "{{ nothing }}"}, False, "`variables` must be a dictionary .*, not a text"),
        ({"variables": {"at": "{{ data_interval_start }}"}}, True, "Variable at is a template .* undefined"),
        ({"variables": "{{ no_such }}"}, True, "`variables` is a template .*, as there is no 'no_such'"),
        ({"pipeline_uuid": "{{ nothing }}"}, False, "`pipeline_uuid` is missing: .* It is 'None'"),
        ({"pipeline_uuid": "{{ nothing }}"}, True, "`pipeline_uuid` is missing: .* It is None"),
        ({"pipeline_uuid": "{{ no_such }}"}, True, "`pipeline_uuid` is a template .* 'no_such': check it"),
        ({"pipeline_uuid": "{{ date }}"}, True, r"`pipeline_uuid` must be a text, not float \(20240101.0\)"),
        ({"pipeline_schedule_name": "{{ '' }}"}, False, "`pipeline_schedule_name` is missing: .* It is ''"),
        (
            {"pipeline_schedule_id": "{{ nothing }}"},
            False,
            "`pipeline_schedule_id` must be a number, not 'No",
        ),
        ({"pipeline_schedule_id": "{{ no_such }}"}, True, "`pipeline_schedule_id` is a template"),
        ({"execution_date": "{{ nothing }}"}, False, "`execution_date` must be a date .*, not 'None'"),
        ({"mage_conn_id": "{{ nothing }}"}, True, "`mage_conn_id` is missing"),
    ],
    ids=str,
)
def test_template_that_came_to_nothing_is_told_before_anything_is_sent(
    quick_mage, context, connect, arguments, is_native, says
):
    arguments = {"pipeline_uuid": "daily_orders", "mage_conn_id": connect(host=quick_mage.url), **arguments}
    task = MageTriggerPipelineOperator(task_id="run", **arguments)
    task.dag = DAG("d", schedule=None, render_template_as_native_obj=is_native)
    task.render_template_fields({"nothing": None, "params": {"n": 7}, "date": 20240101.0})

    with pytest.raises(ValueError, match=says):
        task.execute(context)
    assert quick_mage.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"on_stall": "restart"},
        {"deferrable": "false"},
        {"poll_interval": "10"},
        {"max_unreachable": None},
        {"durable": 1},
    ],
    ids=str,
)
def test_what_is_no_template_is_refused_when_the_file_is_read(arguments):
    [name] = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be "):
        MageTriggerPipelineOperator(task_id="run", pipeline_uuid="daily_orders", **arguments)


def test_sensor_is_refused_when_the_file_is_read():
    with pytest.raises(ValueError, match="`deferrable` must be True or False, not 'yes'"):
        MagePipelineRunSensor(task_id="wait", pipeline_run_id=1, deferrable="yes")


@pytest.fixture
def editor_of_one(connect):
    """A Mage whose user is Editor of one pipeline and has no role in the project, and the connection."""
    with FakeMage(role="nobody", pipeline_roles={"daily_orders": "editor"}, polls_to_finish=1) as server:
        server.example_pipelines()
        yield server, connect(host=server.url, password=server.password)


@pytest.mark.parametrize("by_id", [True, False])
def test_editor_of_one_pipeline_runs_it_also_in_a_retry(editor_of_one, context, by_id):
    server, conn_id = editor_of_one
    schedule = server.pipeline_schedule("daily_orders", "nightly")
    which = {"pipeline_schedule_id": schedule.id} if by_id else {"pipeline_schedule_name": "nightly"}

    for context["ti"].try_number in (1, 2):
        task = MageTriggerPipelineOperator(
            task_id="run", pipeline_uuid="daily_orders", mage_conn_id=conn_id, poll_interval=0.01, **which
        )
        run_id = task.execute(context)
        assert server.pipeline_runs[run_id].status == "completed"

    # The retry has taken the run of the first attempt for its own, out of a list.
    assert len(server.pipeline_runs) == 1
    sensor = MagePipelineRunSensor(task_id="wait", pipeline_run_id=run_id, mage_conn_id=conn_id)
    assert sensor.poke(context) is True
