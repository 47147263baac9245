"""What authors write against: names, first arguments, and which arguments are templates."""

import inspect
from importlib import import_module

import pytest

from airflow_provider_mage.hooks.mage import MageHook
from airflow_provider_mage.hooks.mage_cloud import MageCloudHook
from airflow_provider_mage.operators.cluster import MageUpdateClusterEnvVarsOperator
from airflow_provider_mage.operators.pipeline import MageCancelPipelineRunOperator
from airflow_provider_mage.provider_info import get_provider_info
from airflow_provider_mage.sensors.pipeline import MagePipelineRunSensor
from airflow_provider_mage.triggers.cluster import MageClusterTrigger
from airflow_provider_mage.triggers.pipeline import MagePipelineRunTrigger

NO_TEMPLATES = {
    *("wait_for_completion", "deferrable", "poll_interval", "timeout", "max_unreachable"),
    *(
        "durable",
        "retry_from_failure",
        "cancel_on_kill",
        "stall_timeout",
        "on_stall",
        "stream_logs",
        "max_log_lines",
        "max_output_bytes",
    ),
    *("undo_on_kill", "if_busy", "replace"),
    *("run_upstream_blocks", "incomplete_only", "update_workspace_settings"),
    "setup_task_id",
}
"""How a task behaves, rather than what it is about."""


def tasks():
    info = get_provider_info()
    modules = [
        name for kind in ("operators", "sensors") for one in info[kind] for name in one["python-modules"]
    ]
    for module in map(import_module, modules):
        for name, value in vars(module).items():
            if name.startswith("Mage") and inspect.isclass(value) and value.__module__ == module.__name__:
                yield pytest.param(value, id=name)


def own_arguments(task):
    ours = [one for one in task.__mro__ if one.__module__.startswith("airflow_provider_mage.")]
    classes = [one for one in ours if "__init__" in vars(one)]
    names = {name for one in classes for name in inspect.signature(one.__init__).parameters}
    return names - {"self", "kwargs"}


@pytest.mark.parametrize("task", list(tasks()))
def test_whatever_a_task_is_about_can_be_a_template(task):
    assert own_arguments(task) - NO_TEMPLATES == set(task.template_fields)


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (MageHook, ["mage_conn_id"]),
        (MageCloudHook, ["mage_cloud_conn_id"]),
        (MagePipelineRunSensor, ["pipeline_run_id"]),
        (MagePipelineRunTrigger, ["mage_conn_id", "pipeline_run_id", "poll_interval"]),
        (
            MageClusterTrigger,
            ["mage_cloud_conn_id", "team_id", "cluster_id", "status", "poll_interval"],
        ),
        (MageCancelPipelineRunOperator, ["pipeline_run_id"]),
        (MageUpdateClusterEnvVarsOperator, ["env_vars", "remove"]),
    ],
)
def test_first_arguments_are_what_they_were(owner, names):
    assert list(inspect.signature(owner.__init__).parameters)[1 : len(names) + 1] == names
