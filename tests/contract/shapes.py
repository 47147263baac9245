"""The shapes of Mage's answers, written down once, and held against the fake and a real server alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from contract.tested import DATABASE

if TYPE_CHECKING:
    from fakes.versions import Version

_DAY, _TIME = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d(\.\d{6})?"
_ZONE = r"\+00:00"
_STORED_ZONE = {"sqlite": "", "postgresql": _ZONE}[DATABASE.name]
DATE = re.compile(f"{_DAY} {_TIME}{_STORED_ZONE}")
ISO_DATE = re.compile(f"{_DAY}T{_TIME}{_STORED_ZONE}")
ZONED_DATE = re.compile(f"{_DAY} {_TIME}{_ZONE}")
ZONED_ISO_DATE = re.compile(f"{_DAY}T{_TIME}{_ZONE}")
TEXT = re.compile(r".+", re.DOTALL)
ANYTHING = object()


class Or:
    """One of several shapes."""

    def __init__(self, *shapes: Any) -> None:
        self.shapes = shapes

    def __repr__(self) -> str:
        return " or ".join(map(repr, self.shapes))


def differences(value: Any, shape: Any, where: str = "answer") -> list[str]:
    """
    Say in which ways a value does not have a shape.

    A shape is a dict of shapes (these keys, no others), a list of one shape (any number of these), a type, a
    pattern, an ``Or``, or the value itself.
    """
    if shape is ANYTHING:
        return []
    if isinstance(shape, Or):
        found = [differences(value, each, where) for each in shape.shapes]
        return [] if [] in found else [f"{where}: {value!r:.80} is not {shape}"]
    if isinstance(shape, dict) and isinstance(value, dict):
        missing = [f"{where}: no {key!r}" for key in shape.keys() - value.keys()]
        surplus = [f"{where}: unexpected {key!r}: {value[key]!r:.80}" for key in value.keys() - shape.keys()]
        below = [differences(value[key], shape[key], f"{where}.{key}") for key in shape.keys() & value.keys()]
        return missing + surplus + [each for found in below for each in found]
    if isinstance(shape, list) and isinstance(value, list):
        return [each for n, item in enumerate(value) for each in differences(item, shape[0], f"{where}[{n}]")]
    if isinstance(shape, type):
        fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    elif isinstance(shape, re.Pattern):
        fits = isinstance(value, str) and shape.fullmatch(value) is not None
    else:
        fits = value == shape and type(value) is type(shape)
    return [] if fits else [f"{where}: {value!r:.80} is not {shape!r:.80}"]


LIST_METADATA = {"count": int, "next": bool}

SESSION = {
    "session": {
        "expires": DATE,
        "token": re.compile(r"[\w-]+\.[\w-]+\.[\w-]+"),
        "user": {
            "avatar": None,
            "first_name": None,
            "id": int,
            "last_name": None,
            "owner": bool,
            "project_access": int,
            "roles": None,
            "roles_display": Or(str, None),
            "roles_new": [
                {
                    "name": str,
                    "user_id": None,
                    "id": int,
                    "created_at": Or(DATE, None),
                    "updated_at": Or(DATE, None),
                }
            ],
            "username": str,
        },
    },
    "metadata": None,
}

_STATUS = {
    "is_instance_manager": bool,
    "max_print_output_lines": int,
    "repo_path": str,
    "repo_path_relative": str,
    "repo_path_relative_root": str,
    "repo_path_root": str,
    "server_process_id": int,
    "scheduler_process_id": int,
    "scheduler_status": "running",
    "instance_type": None,
    "disable_pipeline_edit_access": bool,
    "require_user_authentication": bool,
    "require_user_permissions": bool,
    "project_type": "standalone",
    "project_uuid": str,
}

BLOCK = {
    "all_upstream_blocks_executed": bool,
    "color": None,
    "configuration": {},
    "downstream_blocks": [str],
    "executor_config": None,
    "executor_type": str,
    "has_callback": None,
    "name": str,
    "language": "python",
    "retry_config": None,
    "status": Or(str, None),
    "timeout": None,
    "type": str,
    "upstream_blocks": [str],
    "uuid": str,
}
BLOCK_IN_DETAIL = {
    **BLOCK,
    "callback_blocks": [],
    "conditional_blocks": [],
    "content": str,
    "outputs": [ANYTHING],
    "metadata": {},
    "tags": [ANYTHING],
}

PIPELINE = {
    "cache_block_output_in_memory": bool,
    "concurrency_config": {},
    "created_at": None,
    "data_integration": None,
    "description": None,
    "executor_config": {},
    "executor_count": 1,
    "executor_type": None,
    "name": str,
    "notification_config": {},
    "remote_variables_dir": None,
    "retry_config": {},
    "run_pipeline_in_one_process": bool,
    "settings": {"triggers": None},
    "tags": [],
    "type": "python",
    "uuid": str,
    "variables_dir": str,
    "spark_config": {},
    "blocks": [BLOCK],
    "callbacks": [],
    "conditionals": [],
    "widgets": [],
    "updated_at": Or(ZONED_ISO_DATE, None),
}

SCHEDULE = {
    "created_at": DATE,
    "description": None,
    "global_data_product_uuid": None,
    "id": int,
    "last_enabled_at": Or(DATE, None),
    "name": str,
    "pipeline_uuid": str,
    "repo_path": str,
    "schedule_interval": None,
    "schedule_type": "api",
    "settings": Or(dict, None),
    "sla": None,
    "start_time": None,
    "status": Or("active", "inactive"),
    "token": re.compile(r"[0-9a-f]{32}"),
    "updated_at": DATE,
    "variables": Or(dict, None),
}
SCHEDULE_IN_DETAIL = {**SCHEDULE, "event_matchers": [], "next_pipeline_run_date": None, "tags": []}
SCHEDULE_IN_LIST = {
    **SCHEDULE_IN_DETAIL,
    "last_pipeline_run_status": Or(str, None),
    "pipeline_in_progress_runs_count": Or(int, None),
    "pipeline_runs_count": Or(int, None),
}

RUN = {
    "backfill_id": None,
    "completed_at": Or(DATE, None),
    "created_at": DATE,
    "event_variables": None,
    "execution_date": DATE,
    "executor_type": "local_python",
    "id": int,
    "metrics": None,
    "passed_sla": False,
    "pipeline_schedule_id": Or(int, None),
    "pipeline_uuid": str,
    "started_at": Or(DATE, None),
    "status": str,
    "updated_at": DATE,
    "variables": dict,
}
SHORT_RUN = {"execution_date": DATE, "id": int, "status": str}

BLOCK_RUN = {
    "pipeline_run_id": int,
    "block_uuid": str,
    "status": str,
    "started_at": Or(DATE, None),
    "completed_at": Or(DATE, None),
    "metrics": Or(None, {}, {"error": {"error": str, "errors": [str], "message": str}}),
    "id": int,
    "created_at": DATE,
    "updated_at": DATE,
}
BLOCK_RUN_IN_DETAIL = {**BLOCK_RUN, "pipeline_schedule_id": int, "pipeline_schedule_name": str}
BLOCK_RUN_IN_LIST = {
    "block_uuid": str,
    "completed_at": Or(ISO_DATE, None),
    "created_at": ISO_DATE,
    "id": int,
    "pipeline_run_id": int,
    "started_at": Or(ISO_DATE, None),
    "status": str,
    "updated_at": ISO_DATE,
    "pipeline_schedule_id": Or(int, None),
    "pipeline_schedule_name": Or(str, None),
}

RUN_IN_DETAIL = {**RUN, "block_runs": [BLOCK_RUN_IN_DETAIL]}
_RUN_IN_LIST = {
    **RUN,
    "block_runs": [BLOCK_RUN],
    "block_runs_count": int,
    "completed_block_runs_count": int,
    "pipeline_schedule_name": str,
    "pipeline_schedule_token": re.compile(r"[0-9a-f]{32}"),
    "pipeline_schedule_type": str,
    "pipeline_tags": None,
    "pipeline_type": None,
    "repo_path": str,
}


def status_of(version: Version) -> dict[str, Any]:
    """Return the shape of ``/status``."""
    ids = ("server_process_id", "scheduler_process_id")
    return {name: shape for name, shape in _STATUS.items() if version.tells_process_ids or name not in ids}


def run_in_list_of(version: Version) -> dict[str, Any]:
    """Return the shape of a run in a list."""
    return {
        name: shape for name, shape in _RUN_IN_LIST.items() if version.tells_repo_path or name != "repo_path"
    }
