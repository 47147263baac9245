"""Links to Mage's pages, and what is told of a run that has failed."""

import logging
import traceback

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_mage import _compat
from airflow_provider_mage.api.errors import MageError, MagePipelineRunFailed, from_dict, to_dict
from airflow_provider_mage.links import RUN_LINKS
from airflow_provider_mage.operators.block import MageRunBlockOperator
from airflow_provider_mage.operators.pipeline import (
    MageCancelPipelineRunOperator,
    MageTriggerPipelineOperator,
)
from airflow_provider_mage.operators.schedule import MagePipelineScheduleOperator
from airflow_provider_mage.provider_info import get_provider_info
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from fakes import faults
from fakes.scheduler import TaskInstance

MODES = [{"deferrable": False}, {"deferrable": True}]


@pytest.fixture
def quick(mage):
    """Let the runs be over soon."""
    mage.polls_to_finish = 2
    mage.example_pipelines()
    return mage


@pytest.fixture
def counted(monkeypatch):
    """What Airflow's metrics are told."""
    told = []
    monkeypatch.setattr(_compat, "_tell_metrics", lambda kind, what, *_: told.append((kind, what)))
    return told


def task(make, connect, **arguments):
    arguments = {"task_id": "a_task", "mage_conn_id": connect(), **arguments}
    return TaskInstance(lambda: make(**arguments))


def broken(connect, **mode):
    arguments = {"pipeline_uuid": "broken_orders", "poll_interval": 0.05, **mode}
    return task(MageTriggerPipelineOperator, connect, **arguments)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_failed_run_leaves_all_its_links(quick, connect, mode):
    failed = task(
        MageTriggerPipelineOperator, connect, pipeline_uuid="broken_orders", poll_interval=0.05, **mode
    )
    with pytest.raises(MagePipelineRunFailed):
        failed.run()

    block = quick.pipeline_runs[1].block_runs[1]
    page = f"{quick.url}/pipelines/broken_orders"
    assert failed.xcoms == {
        "pipeline_run_id": 1,
        "pipeline_run_url": f"{page}/runs/1",
        "mage_pipeline_url": f"{page}/triggers",
        "mage_block_log_url": f"{page}/logs?block_run_id%5B%5D={block.id}",
    }


@pytest.mark.parametrize("mode", [*MODES, {"deferrable": False, "mode": "reschedule"}], ids=str)
def test_sensor_leaves_them_too(quick, connect, mode, monkeypatch):
    run = quick.pipeline_run(quick.pipeline_schedule("broken_orders"))
    quick.advance(run.id, 30)
    failed = task(MagePipelineRunSensor, connect, pipeline_run_id=run.id, poke_interval=0.05, **mode)
    monkeypatch.setattr(
        f"{MagePipelineRunSensor.__mro__[2].__module__}._orig_start_date", lambda **_: None, raising=False
    )
    with pytest.raises(MagePipelineRunFailed):
        failed.run()

    assert failed.xcoms.keys() == {"pipeline_run_url", "mage_pipeline_url", "mage_block_log_url"}


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_addresses_are_told_in_lines_of_their_own_before_the_task_fails(quick, connect, mode, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(MagePipelineRunFailed) as caught:
        task(
            MageTriggerPipelineOperator, connect, pipeline_uuid="broken_orders", poll_interval=0.05, **mode
        ).run()

    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        f"Run 1 failed: {caught.value.url}",
        f"Log of block check_orders: {caught.value.log_url}",
    ]


def test_run_that_was_cancelled_has_no_log_that_says_why(quick, connect, caplog):
    run = quick.pipeline_run(quick.pipeline_schedule("daily_orders"))
    quick.finish(run.id, "cancelled")
    cancelled = task(MagePipelineRunSensor, connect, pipeline_run_id=run.id)
    with pytest.raises(MagePipelineRunFailed):
        cancelled.run()

    assert "mage_block_log_url" not in cancelled.xcoms
    assert f"Run {run.id} was cancelled: {quick.url}/pipelines/daily_orders/runs/{run.id}" in caplog.messages


def test_other_tasks_link_to_what_they_are_about(quick, connect):
    schedule = quick.pipeline_schedule("daily_orders")
    run = quick.pipeline_run(schedule)
    tasks = [
        task(MageCancelPipelineRunOperator, connect, pipeline_run_id=run.id),
        task(MagePipelineScheduleOperator, connect, status="active", pipeline_schedule_id=schedule.id),
    ]
    for one in tasks:
        one.run()

    page = f"{quick.url}/pipelines/daily_orders"
    assert tasks[0].xcoms == {
        "pipeline_run_url": f"{page}/runs/{run.id}",
        "mage_pipeline_url": f"{page}/triggers",
    }
    assert tasks[1].xcoms == {"mage_pipeline_url": f"{page}/triggers"}


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (MageTriggerPipelineOperator, ["Mage run", "Mage block log", "Mage pipeline"]),
        (MagePipelineRunSensor, ["Mage run", "Mage block log", "Mage pipeline"]),
        (MageCancelPipelineRunOperator, ["Mage run", "Mage pipeline"]),
        (MagePipelineScheduleOperator, ["Mage pipeline"]),
        (MageRunBlockOperator, ["Mage pipeline"]),
    ],
)
def test_every_link_of_a_task_is_registered(owner, names):
    links = owner.operator_extra_links
    registered = get_provider_info()["extra-links"]

    assert [link.name for link in links] == names
    assert {f"{type(link).__module__}.{type(link).__name__}" for link in links} <= set(registered)


def test_link_is_what_the_worker_has_left(monkeypatch):
    left = {"pipeline_run_url": "http://mage/runs/1"}
    monkeypatch.setattr(XCom, "get_value", staticmethod(lambda *, key, ti_key: left.get(key)))

    assert [link.get_link(None, ti_key=None) for link in RUN_LINKS] == ["http://mage/runs/1", "", ""]


def test_addresses_survive_the_way_to_another_process():
    failure = MagePipelineRunFailed(
        "x", pipeline_run_id=1, url="http://mage/runs/1", log_url="http://mage/logs"
    )

    assert vars(from_dict(to_dict(failure))) == vars(failure)


# Tracebacks


def frames_of(error):
    """Return the files of a formatted traceback, causes included."""
    text = "".join(traceback.format_exception(error))
    return [line.strip() for line in text.splitlines() if line.startswith("  File ")]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_traceback_of_a_failed_run_is_short(quick, connect, mode):
    with pytest.raises(MagePipelineRunFailed) as caught:
        task(
            MageTriggerPipelineOperator, connect, pipeline_uuid="broken_orders", poll_interval=0.05, **mode
        ).run()

    own = [frame for frame in frames_of(caught.value) if "airflow_provider_mage" in frame]
    assert len(own) <= 5
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "fault", [faults.http_error(503), faults.RESET_BEFORE, faults.WEB_PAGE], ids=lambda f: f.name
)
def test_traceback_of_an_unreachable_mage_has_no_frame_of_a_library(mage, connect, fault):
    mage.inject(fault, times=None)
    with pytest.raises(MageError) as caught:
        task(MageTriggerPipelineOperator, connect, pipeline_uuid="p", max_unreachable=0).run()

    foreign = [
        frame
        for frame in frames_of(caught.value)
        if any(name in frame for name in ("tenacity", "requests/", "urllib3", "http/client"))
    ]
    assert foreign == []
    assert len(frames_of(caught.value)) < 30


# Metrics


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_airflows_metrics_count_runs(quick, connect, mode, counted):
    arguments = {"poll_interval": 0.05, **mode}
    task(MageTriggerPipelineOperator, connect, pipeline_uuid="daily_orders", **arguments).run()
    with pytest.raises(MagePipelineRunFailed):
        task(MageTriggerPipelineOperator, connect, pipeline_uuid="broken_orders", **arguments).run()

    runs = [what for kind, what in counted if kind == "incr"]
    assert runs == ["run.started", "run.completed", "run.started", "run.failed"]
    assert ("timing", "run.wait") in counted
    assert (("timing", "poller.round") in counted) == mode["deferrable"]


def test_metrics_that_are_not_taken_cost_nothing(monkeypatch, caplog):
    from airflow.providers.common.compat.sdk import Stats

    def refuse(*_, **__):
        raise OSError("no such host")

    monkeypatch.setattr(Stats, "incr", refuse, raising=False)
    _compat.count("run.started")
    _compat.measure("run.wait", 1.5)
