"""A fake Mage with one pipeline, and a DAG run of a task group for it, in this process."""

from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_mage.api.client import MageClient
from airflow_provider_mage.task_groups.pipeline import MagePipelineTaskGroup
from fakes.dag_run import Clock, DagRun
from fakes.mage import FakeMage

START = datetime(2026, 1, 1)  # noqa: DTZ001


class Nothing(BaseOperator):
    """Does nothing."""

    def execute(self, context):
        return None


def blocks_of(upstream):
    """Return what a group takes, of the blocks right before each."""
    return [{"uuid": name, "upstream_blocks": list(before)} for name, before in upstream.items()]


@contextmanager
def open_stage(
    monkeypatch, upstream, *, settings=None, retries=0, seed=0, clears_setups=True, last=None, **pipeline
):
    """
    Yield the server, its pipeline, and the DAG run, which its tasks take for Airflow.

    Mage's scheduler takes a step with every second that somebody sleeps.

    :param upstream: The blocks right before each.
    :param settings: The pipeline schedule's.
    :param retries: The tasks'.
    :param seed: As for `DagRun`, and so is clears_setups.
    :param last: The trigger rule of a task after the group, if there is to be one.
    :param pipeline: Other fields of the pipeline.
    """
    clock = Clock(lambda: [mage.advance(run_id) for run_id in mage.pipeline_runs])
    with FakeMage(polls_to_finish=None, clock=clock.utc) as mage:
        made = mage.pipeline("orders", list(upstream), upstream=upstream, **pipeline)
        mage.pipeline_schedule("orders").settings = settings or {}
        with DAG("groups", schedule=None, start_date=START) as dag:
            group = MagePipelineTaskGroup(
                "group",
                pipeline_uuid="orders",
                blocks=blocks_of(upstream),
                deferrable=False,
                poll_interval=2,
                default_args={"retries": retries},
            )
            if last:
                group >> Nothing(task_id="last", trigger_rule=last)
        client = MageClient.connect(mage.url, mage.email, mage.password, clock=clock)
        dag_run = DagRun(dag, client, clears_setups=clears_setups, seed=seed)
        with dag_run.airflow(monkeypatch):
            yield SimpleNamespace(mage=mage, pipeline=made, dag_run=dag_run, tasks=dag_run.tasks)
