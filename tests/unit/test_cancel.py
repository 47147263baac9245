"""Leaving nothing behind."""

from airflow_provider_mage._runs.cancel import cancel_run
from airflow_provider_mage.api.models import PipelineRunStatus
from fakes.faults import Fault
from fakes.messages import Answer


def test_cancel_that_mages_scheduler_writes_over_is_said_again(mage, client):
    run = mage.pipeline_run(mage.pipeline_schedule("daily_orders"))
    still_running = Answer.of({"pipeline_run": {"id": run.id, "status": "running"}})
    mage.inject(Fault("written over", is_processed=False, change=lambda *_: still_running), match=("PUT", ""))

    assert cancel_run(client, run.id) is PipelineRunStatus.CANCELLED
    assert mage.pipeline_runs[run.id].status == "cancelled"
    assert mage.count("PUT") == 2
