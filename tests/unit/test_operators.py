"""Operators and the sensor as an author calls them, with the least that Airflow hands over."""

import re
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from airflow_provider_mage.api.errors import (
    MageAuthError,
    MageError,
    MageNotFoundError,
    MagePipelineRunFailed,
    MageTransportError,
)
from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.operators.pipeline import (
    MageCancelPipelineRunOperator,
    MageTriggerPipelineOperator,
)
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes import faults
from fakes.mage import FakeMage

START = ("POST", "/pipeline_runs$")


def trigger(conn_id, pipeline_uuid="daily_orders", **arguments):
    """Make an operator that looks often, as runs of the fake end quickly."""
    arguments = {"poll_interval": 0.01, **arguments}
    return MageTriggerPipelineOperator(
        task_id="run", pipeline_uuid=pipeline_uuid, mage_conn_id=conn_id, **arguments
    )


def cancel(conn_id, pipeline_run_id):
    return MageCancelPipelineRunOperator(
        task_id="cancel", pipeline_run_id=pipeline_run_id, mage_conn_id=conn_id
    )


def sensor(conn_id, pipeline_run_id, **arguments):
    return MagePipelineRunSensor(
        task_id="wait", pipeline_run_id=pipeline_run_id, mage_conn_id=conn_id, **arguments
    )


def logged(caplog, capfd):
    """Return what an operator has logged, which Airflow 3 prints itself."""
    return "".join([caplog.text, *capfd.readouterr()])


@pytest.fixture
def quick_mage():
    """A Mage whose runs are over when they are looked at."""
    with FakeMage(polls_to_finish=1) as server:
        server.example_pipelines()
        yield server


@pytest.fixture
def quick_conn(quick_mage, connect):
    return connect(host=quick_mage.url, password=quick_mage.password)


@pytest.fixture
def run_id(mage):
    """A run that is going on."""
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    mage.advance(run.id, 3)
    return run.id


# MageTriggerPipelineOperator


def test_run_that_completes_is_a_success(quick_mage, quick_conn, context):
    returned = trigger(quick_conn, variables={"n": 1}).execute(context)

    [run] = quick_mage.pipeline_runs.values()
    assert (returned, run.status, run.variables["n"]) == (run.id, "completed", 1)
    assert context["ti"].xcoms == {
        "pipeline_run_id": run.id,
        "pipeline_run_url": f"{quick_mage.url}/pipelines/daily_orders/runs/{run.id}",
        "mage_pipeline_url": f"{quick_mage.url}/pipelines/daily_orders/triggers",
    }


def test_run_that_fails_says_why_and_leaves_its_link(quick_mage, quick_conn, context):
    with pytest.raises(MagePipelineRunFailed) as caught:
        trigger(quick_conn, "broken_orders").execute(context)

    assert re.sub(r" after [\d.]+ s\.", "", str(caught.value)).splitlines() == [
        "Run 1 of pipeline broken_orders failed",
        "Block check_orders failed: ValueError: 4 of 40 orders have a negative amount",
        "  at line 10 of its code, in check_orders: raise ValueError(reason)",
        f"See {context['ti'].xcoms['pipeline_run_url']}",
    ]


def test_hundred_runs_in_one_process_cost_one_log_in(quick_mage, quick_conn, context):
    for _ in range(100):
        trigger(quick_conn).execute(context)

    assert quick_mage.log_ins == 1
    assert quick_mage.count("POST", "/sessions$") == 1
    assert len(quick_mage.pipeline_runs) == 100
    assert len(quick_mage.pipeline_schedules) == 1


@pytest.mark.parametrize(
    ("arguments", "error_class", "says"),
    [
        (
            {"pipeline_uuid": "no_such"},
            MageNotFoundError,
            "Mage has no pipeline 'no_such': there is 'broken_orders', 'daily_orders'",
        ),
        ({"pipeline_uuid": "dayly_orders"}, MageNotFoundError, r"did you mean 'daily_orders'\?"),
        ({"pipeline_schedule_id": 4711}, MageNotFoundError, "no such record: check the name or the id"),
        ({"pipeline_schedule_id": "None"}, ValueError, "`pipeline_schedule_id` must be a number, not 'None'"),
        ({"variables": {"ds": 1}}, ValueError, "'ds' is reserved, .* set the operator's `execution_date`"),
        ({"variables": {"a": float("nan")}}, ValueError, "Variable a is nan, which JSON cannot hold"),
        ({"execution_date": "soon"}, ValueError, "`execution_date` must be a date in ISO form"),
        ({"timeout": "1 h"}, ValueError, "`timeout` must be a positive number of seconds or a timedelta"),
        ({"poll_interval": 0}, ValueError, "`poll_interval` must be a positive number of seconds"),
    ],
    ids=str,
)
def test_bad_input_is_told_in_a_sentence_and_starts_nothing(
    mage, connect, context, arguments, error_class, says
):
    with pytest.raises(error_class, match=says) as caught:
        trigger(connect(), **arguments).execute(context)

    assert "\n" not in str(caught.value)
    assert mage.pipeline_runs == {}
    assert context["ti"].xcoms == {}


@pytest.mark.parametrize(
    ("fields", "error_class", "says"),
    [
        ({"password": "wrong"}, MageAuthError, "refused the log-in of 'admin@admin.com': check"),
        ({"extra": {"api_key": "wrong"}}, MageAuthError, "refused the API key: set API key .`api_key`."),
        ({"host": "ftp://mage"}, ValueError, "the host must be a name or an http"),
        ({"host": None}, ValueError, "the host is missing: set it to the address of Mage"),
    ],
    ids=str,
)
def test_bad_connection_is_told_in_a_sentence(mage, connect, context, fields, error_class, says):
    with pytest.raises(error_class, match=says) as caught:
        trigger(connect(**fields)).execute(context)

    assert "\n" not in str(caught.value)


def test_task_that_does_not_wait_ends_with_the_start(mage, connect, context):
    returned = trigger(connect(), wait_for_completion=False).execute(context)

    assert mage.pipeline_runs[returned].status == "initial"
    assert context["ti"].xcoms["pipeline_run_id"] == returned


def test_ids_and_dates_may_come_from_templates_as_text(quick_mage, quick_conn, context):
    schedule = quick_mage.pipeline_schedule("daily_orders", "mine")

    trigger(
        quick_conn, pipeline_schedule_id=str(schedule.id), execution_date="2026-01-31T06:00:00+09:00"
    ).execute(context)

    [run] = quick_mage.pipeline_runs.values()
    assert run.pipeline_schedule_id == schedule.id
    assert str(run.execution_date) == "2026-01-30 21:00:00"


@pytest.mark.parametrize(
    "operator", [MageTriggerPipelineOperator, MageCancelPipelineRunOperator, MagePipelineRunSensor]
)
def test_what_is_templated_says_so_in_the_docs(operator):
    docs = " ".join(" ".join(one.__doc__ or "" for one in operator.__mro__).split())
    documented = {text.partition(":")[0] for text in docs.split(":param ")[1:] if "(templated)" in text}

    assert documented - {"kwargs"} == set(operator.template_fields)


def test_killed_task_cancels_its_run_without_reading_the_connection_again(
    mage, connect, context, monkeypatch, caplog, capfd
):
    """On Airflow 3 it could not: the code that the signal interrupts may hold the line to the supervisor."""
    operator = trigger(connect(), wait_for_completion=False)
    run_id = operator.execute(context)

    monkeypatch.delenv(f"AIRFLOW_CONN_{operator.mage_conn_id.upper()}")
    caplog.set_level("INFO")
    operator.on_kill()

    assert mage.pipeline_runs[run_id].status == "cancelled"
    # Airflow 3 logs with structlog, which prints here.
    assert f"This task was killed; run {run_id} was cancelled." in caplog.text + capfd.readouterr().out


def test_killed_task_tells_mage_before_it_asks_anything(mage, connect, context):
    """Airflow 3 gives it 5 s, in which a busy Mage may answer one request, or none."""
    operator = trigger(connect(), wait_for_completion=False)
    run_id = operator.execute(context)

    del mage.requests[:]
    operator.on_kill()

    assert (mage.requests[0].method, mage.requests[0].path) == ("PUT", f"/api/pipeline_runs/{run_id}")


def test_run_that_its_own_task_has_cancelled_is_said_to_be(mage, connect, context, edited):
    """Airflow 3 tells the task to end, and lets it go on with what it does."""
    operator = trigger(connect())
    mage.inject(edited(lambda _: operator.on_kill()), match=("GET", r"/pipeline_runs/\d+$"), skip=0)

    with pytest.raises(MagePipelineRunFailed) as caught:
        operator.execute(context)
    assert "This task was killed, so its run was cancelled." in str(caught.value)
    assert "by a person" not in str(caught.value)


def test_deferral_that_takes_too_long_says_what_has_become_of_the_run(mage, connect, context, run_id):
    context["ti"].xcom_pull = lambda **_: run_id
    operator = trigger(connect(), durable=False, execution_timeout=timedelta(seconds=10))
    operator._pipeline_run_id = run_id

    with pytest.raises(AirflowException) as caught:
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert str(caught.value) == f"The execution_timeout of 10 s is over; run {run_id} was cancelled."
    assert mage.pipeline_runs[run_id].status == "cancelled"


# MageCancelPipelineRunOperator


@pytest.mark.parametrize("as_text", [False, True])
def test_cancelled_run_is_over(mage, connect, context, run_id, as_text):
    returned = cancel(connect(), str(run_id) if as_text else run_id).execute(context)

    assert returned == run_id
    assert mage.pipeline_runs[run_id].status == "cancelled"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_run_that_is_over_stays_as_it_is(mage, connect, context, run_id, status):
    mage.finish(run_id, status)

    assert cancel(connect(), run_id).execute(context) == run_id
    assert mage.pipeline_runs[run_id].status == status


def test_unknown_run_is_not_as_good_as_cancelled(connect, context):
    with pytest.raises(MageNotFoundError):
        cancel(connect(), 4711).execute(context)


@pytest.mark.parametrize("value", [None, "", "None", "x"])
def test_run_to_cancel_that_is_none_is_told_before_anything_is_sent(mage, connect, context, value):
    with pytest.raises(ValueError, match="`pipeline_run_id`"):
        cancel(connect(), value).execute(context)

    assert mage.requests == []


def test_run_that_cannot_be_cancelled_is_a_failure(mage, connect, context, run_id):
    refusal = faults.Answer.of({"error": {"code": 500, "exception": "no"}})
    mage.inject(
        faults.Fault("refused", is_processed=False, change=lambda *_: refusal), times=None, match=("PUT", "")
    )

    with pytest.raises(MageError, match=f"Cannot cancel run {run_id}; it may still be running"):
        cancel(connect(), run_id).execute(context)


# MagePipelineRunSensor


def test_sensor_waits_while_the_run_goes_on(mage, connect, context, run_id):
    assert sensor(connect(), run_id).poke(context) is False


@pytest.mark.parametrize("as_text", [False, True])
def test_sensor_succeeds_once_mage_says_completed(mage, connect, context, run_id, as_text):
    mage.finish(run_id)

    assert sensor(connect(), str(run_id) if as_text else run_id).poke(context) is True
    assert context["ti"].xcoms["pipeline_run_url"] == f"{mage.url}/pipelines/daily_orders/runs/{run_id}"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_sensor_fails_with_the_run(mage, connect, context, run_id, status):
    mage.finish(run_id, status)

    with pytest.raises(MagePipelineRunFailed, match=f"Run {run_id} of pipeline daily_orders (was )?{status}"):
        sensor(connect(), run_id).poke(context)


@pytest.mark.parametrize(
    "fault", [faults.http_error(503), faults.RESET_BEFORE, faults.EMPTY_BODY, faults.database_locked()]
)
def test_mage_that_is_out_of_reach_says_nothing_about_the_run(
    mage, connect, context, run_id, fault, caplog, capfd
):
    conn_id = connect()
    MageHook(conn_id).get_conn()
    mage.inject(fault, match=("GET", "/pipeline_runs/"))

    assert sensor(conn_id, run_id).poke(context) is False
    assert f"Cannot reach Mage; the state of run {run_id} is unknown. Retrying." in logged(caplog, capfd)
    assert mage.count("GET", "/pipeline_runs/") == 1


def test_mage_that_is_down_says_nothing_about_the_run(mage, connect, context, run_id):
    conn_id = connect()
    one = sensor(conn_id, run_id)
    with mage.down():
        assert one.poke(context) is False

    assert one.poke(context) is False
    mage.finish(run_id)
    assert one.poke(context) is True


def test_mage_that_is_down_at_the_start_of_a_deferred_sensor_is_waited_for(mage, connect, context, run_id):
    conn_id = connect()
    with mage.down(), pytest.raises(TaskDeferred) as deferral:
        sensor(conn_id, run_id, deferrable=True, timeout=300).execute(context)

    assert deferral.value.trigger.rules.max_unreachable == 300
    assert deferral.value.trigger.rules.on_stall == "warn"


def test_sensor_does_not_take_the_first_error_for_that_of_this_failure(mage, connect, context, run_id):
    """Nobody knows whether the run was repaired before, and only Mage's log has more than the first error."""
    mage.finish(run_id, "failed", ValueError("no rows"))
    mage.inject(faults.http_error(500), match=("GET", "/logs$"))

    with pytest.raises(
        MagePipelineRunFailed, match=r"failed; its first error in this run: ValueError: no rows"
    ):
        sensor(connect(), run_id).poke(context)


def test_web_page_instead_of_mage_is_no_outage(mage, connect, context, run_id):
    mage.inject(faults.WEB_PAGE, times=None)

    with pytest.raises(MageTransportError, match="a web page instead of JSON"):
        sensor(connect(), run_id).poke(context)


def test_unknown_run_is_not_waited_for(connect, context):
    with pytest.raises(MageNotFoundError):
        sensor(connect(), 4711).poke(context)


@pytest.mark.parametrize("value", [None, "", "None", "x"])
def test_run_to_wait_for_that_is_none_is_told_before_anything_is_sent(mage, connect, context, value):
    with pytest.raises(ValueError, match="`pipeline_run_id`"):
        sensor(connect(), value).poke(context)

    assert mage.requests == []


def test_deferred_sensor_bounds_the_search_for_its_run(connect, context, run_id):
    conn_id = connect()
    with pytest.raises(TaskDeferred) as deferral:
        sensor(conn_id, run_id, deferrable=True).execute(context)

    created_at = MageHook(conn_id).client.get_pipeline_run(run_id).created_at
    assert deferral.value.trigger.created_after == created_at.timestamp()


def test_pokes_share_one_log_in(mage, connect, context, run_id):
    one = sensor(connect(), run_id)
    for _ in range(10):
        one.poke(context)

    assert mage.log_ins == 1
    assert mage.count("GET", "/pipeline_runs/") == 10
