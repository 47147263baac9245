"""What blocks have returned, for clients and as the result of a task."""

from __future__ import annotations

import json

import pytest

from airflow_provider_mage.api.errors import MageAnswerError, MageError, MageNotFoundError
from airflow_provider_mage.operators.pipeline import MageTriggerPipelineOperator
from fakes.faults import Fault
from fakes.messages import Answer
from fakes.outputs import Table
from fakes.scheduler import TaskInstance

MODES = [{"deferrable": False}, {"deferrable": True}]
TWO_ROWS = Table(("country", "amount"), (("DE", 1.5), ("FR", None)))


@pytest.fixture
def returning(mage):
    """Make a run whose block `export` returns something."""

    def make(value, **options):
        mage.pipeline("p", ["load", "export"], returns={"export": value}, **options)
        run = mage.pipeline_run(mage.pipeline_schedule("p"))
        mage.finish(run.id)
        return run.id

    return make


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        ({"a": 1, "b": [1, {"c": None}]}, {"a": 1, "b": [1, {"c": None}]}),
        ({}, {}),
        ([1, 2], [1, 2]),
        ((1, "x"), [1, "x"]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (7, 7),
        (-1.5, -1.5),
        (True, True),
        ("hello", "hello"),
        ("007", "007"),
        ("1e5", "1e5"),
        ("-", "-"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ('{"a": 1}', {"a": 1}),
        ("{not json", "{not json"),
        ("[" * 100_000, "[" * 100_000),
        (TWO_ROWS, [{"country": "DE", "amount": 1.5}, {"country": "FR", "amount": None}]),
        (Table(("country",)), []),
        ([TWO_ROWS, 1], [[{"country": "DE", "amount": 1.5}, {"country": "FR", "amount": None}], 1]),
        (None, None),
        ([], None),
    ],
)
def test_output_comes_back_as_what_it_was(client, returning, returned, value):
    assert client.get_block_output(returning(returned), "export") == value


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        # Mage answers alike for both of each pair.
        (Table(("country", "amount"), (("DE", 1),)), {"country": "DE", "amount": 1}),
        ([7], 7),
        ("2024", 2024),
        ("True", True),
    ],
)
def test_output_that_mage_shows_like_another_one(client, returning, returned, value):
    assert client.get_block_output(returning(returned), "export") == value


def test_output_of_a_large_table_is_never_a_part_of_it(client, returning):
    run_id = returning(Table(("n",), tuple((number,) for number in range(1001))))

    with pytest.raises(MageError, match=r"returned a table of 1001 rows, of which Mage sends 1000"):
        client.get_block_output(run_id, "export")


def test_object_of_pythons_is_no_output(client, returning):
    with pytest.raises(MageError, match="an object of a kind that Mage does not show"):
        client.get_block_output(returning(object()), "export")


def test_output_of_a_dynamic_blocks_child_is_found_among_empty_ones(mage, client):
    of_child = [Table(("output",), ((3,),)), Table(("output",), (({},),))]
    mage.pipeline("p", ["kid:monday"], returns={"kid:monday": of_child})
    run = mage.pipeline_run(mage.pipeline_schedule("p"))
    mage.finish(run.id)

    assert client.get_block_output(run.id, "kid:monday") == 3


def test_block_that_the_run_does_not_have_is_not_found(client, returning):
    with pytest.raises(MageNotFoundError, match=r"Run 1 has no block 'exprot'"):
        client.get_block_output(returning(1), "exprot")


def test_row_that_makes_no_sense_is_an_error_and_not_left_out(mage, client, returning):
    run_id = returning([1, 2])
    body = Answer.of({"outputs": [{"text_data": "1"}, {"sample_data": {"columns": 5, "rows": 7}}]})
    mage.inject(Fault("odd", is_processed=True, change=lambda *_: body), match=("GET", "/outputs$"))

    with pytest.raises(MageAnswerError, match="makes no sense"):
        client.get_block_output(run_id, "export")


# As the result of a task


@pytest.fixture(params=MODES, ids=str)
def run_task(request, mage, connect):
    def run(returns, **arguments):
        mage.polls_to_finish = 2
        mage.pipeline("p", ["load", "export"], returns={"export": returns}, **arguments.pop("pipeline", {}))
        conn_id = connect()
        given = {"pipeline_uuid": "p", "poll_interval": 0.05, "output_block": "export", **arguments}
        task = TaskInstance(
            lambda: MageTriggerPipelineOperator(task_id="t", mage_conn_id=conn_id, **request.param, **given)
        )
        return task.run()

    return run


def test_output_is_the_tasks_result(run_task):
    assert run_task({"DE": 7}) == {"DE": 7}


def test_without_a_block_the_runs_id_is(run_task):
    assert run_task({"DE": 7}, output_block=None) == 1


@pytest.mark.parametrize(
    ("returned", "arguments", "says"),
    [
        ("x" * 60_000, {}, r"The output of block export has 60002 bytes as JSON, more than the 49152 that "),
        (
            "x" * 60,
            {"max_output_bytes": 50},
            r"has 62 bytes as JSON, more than the 50 that `max_output_bytes`",
        ),
        (None, {}, r"Block export has no output"),
        (1, {"output_block": "exprot"}, r"has no block 'exprot': did you mean 'export'\?"),
        (1, {"output_block": "summary"}, r"has no block 'summary': there is 'load', 'export'\."),
    ],
)
def test_output_that_cannot_be_had_is_a_clear_error(run_task, returned, arguments, says):
    with pytest.raises(
        MageError, match=rf"^Run 1 of pipeline p completed, but its output cannot be had\. .*{says}"
    ):
        run_task(returned, **arguments)


def test_block_that_did_not_run_has_no_output(mage, connect, returning):
    run_id = returning(1)
    mage.pipeline_runs[run_id].block_runs[1].status = "condition_failed"
    operator = MageTriggerPipelineOperator(
        task_id="t", pipeline_uuid="p", mage_conn_id=connect(), output_block="export"
    )

    with pytest.raises(MageError, match=r"Block export did not run to its end: it is condition_failed\."):
        operator._result(run_id)


def test_dynamic_block_names_its_children(mage, connect):
    mage.pipeline("p", ["kid", "kid:a", "kid:b"])
    run = mage.pipeline_run(mage.pipeline_schedule("p"))
    mage.finish(run.id)
    operator = MageTriggerPipelineOperator(
        task_id="t", pipeline_uuid="p", mage_conn_id=connect(), output_block="kid"
    )

    with pytest.raises(
        MageError, match=r"ran once for each item of a dynamic block: name one of kid:a, kid:b\."
    ):
        operator._result(run.id)


def test_output_needs_the_end_of_the_run(mage, connect, context):
    operator = MageTriggerPipelineOperator(
        task_id="t",
        pipeline_uuid="daily_orders",
        mage_conn_id=connect(),
        output_block="export_totals",
        wait_for_completion=False,
    )
    with pytest.raises(ValueError, match="`output_block` needs `wait_for_completion`"):
        operator.execute(context)

    assert mage.count("POST", "/pipeline_runs$") == 0


def test_event_of_a_trigger_carries_no_output(mage, connect):
    import asyncio

    from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger
    from fakes.scheduler import first_event

    mage.pipeline("p", ["export"], returns={"export": {"much": "data"}})
    run = mage.pipeline_run(mage.pipeline_schedule("p"))
    mage.finish(run.id)

    assert "data" not in json.dumps(asyncio.run(first_event(MagePipelineRunTrigger(connect(), run.id))))
