"""
Mage's nouns as frozen values.

Each ``from_api`` takes one object of an answer, as documented by the Mage API and as observed on 0.9.70
to 0.9.80. Secrets that Mage puts into its answers (a pipeline schedule's ``token``) are left out on purpose.

Fields that are not here, and statuses that are new, are welcome in an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from airflow_provider_mage.api.records import (
    Id,
    Moment,
    Name,
    OptionalName,
    Record,
    Word,
    inside,
    or_else,
    whole_number,
)
from airflow_provider_mage.api.tracebacks import CodeLine, find_code_line, find_reason


class PipelineRunStatus(str, Enum):
    """Where a pipeline run stands."""

    INITIAL = "initial"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """A status that this version does not know: not an end."""

    @classmethod
    def _missing_(cls, value: object) -> PipelineRunStatus | None:
        return cls.UNKNOWN if isinstance(value, str) else None

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over (a failed or cancelled one can still be repaired)."""
        return self in (self.COMPLETED, self.FAILED, self.CANCELLED)


class BlockRunStatus(str, Enum):
    """Where one block of a pipeline run stands."""

    INITIAL = "initial"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    CONDITION_FAILED = "condition_failed"
    UNKNOWN = "unknown"
    """A status that this version does not know."""

    @classmethod
    def _missing_(cls, value: object) -> BlockRunStatus | None:
        return cls.UNKNOWN if isinstance(value, str) else None


@dataclass(frozen=True)
class BlockRun(Record):
    """
    One block of one pipeline run.

    ``error`` is the block's own exception, such as ``ValueError: no rows``, and ``code_line`` where in its
    author's code that was raised; the rest of the traceback runs through Mage's own code and is dropped. Mage
    writes both once for each block run: of a block that fails again after a repair, they are still those of
    its first failure (observed). ``has_error`` says whether there are any, whatever the status.
    """

    id: Id
    block_uuid: Name
    status: BlockRunStatus
    error: str | None = None
    code_line: CodeLine | None = None
    started_at: Moment = None
    completed_at: Moment = None
    updated_at: Moment = None
    has_metrics: bool = False
    has_error: bool = False
    spawns_children: bool = False
    """Whether it only makes the block runs of a dynamic block's children, in its own name."""

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        metrics = inside(data, "metrics")
        flags = inside(metrics, "metadata").get("flags")
        error = metrics.get("error")
        text, traceback = (
            (error.get("error"), error.get("message")) if isinstance(error, Mapping) else (error, None)
        )
        # A block that was repaired keeps the error of its earlier failure (observed).
        has_failed = bool(error) and data.get("status") == BlockRunStatus.FAILED.value
        return {
            **data,
            "error": find_reason(text, traceback) if has_failed else None,
            "code_line": find_code_line(traceback) if has_failed else None,
            "has_metrics": bool(metrics),
            "has_error": bool(error),
            "spawns_children": isinstance(flags, list) and "original" in flags and "dynamic_child" in flags,
        }


def _shape_block_runs(rows: Any) -> Any:
    return [BlockRun._fields(row) for row in rows] if isinstance(rows, (list, tuple)) else (rows or ())


def _in_order(block_runs: tuple[BlockRun, ...]) -> tuple[BlockRun, ...]:
    return tuple(sorted(block_runs, key=lambda block: block.id))


@dataclass(frozen=True)
class PipelineRun(Record):
    """
    One run of a pipeline.

    The short format of the API (``_format=with_basic_details``) fills ``id``, ``status`` and
    ``execution_date`` only. ``block_runs`` is empty until Mage's scheduler has picked the run up. An orphan's
    pipeline schedule was deleted: the blocks that it has begun end, but the run never does (observed).
    """

    id: Id
    status: PipelineRunStatus
    execution_date: Moment = None
    pipeline_uuid: OptionalName = ""
    pipeline_schedule_id: Id | None = None
    variables: Annotated[Mapping[str, Any], or_else({})] = field(default_factory=dict, repr=False)
    block_runs: Annotated[
        tuple[BlockRun, ...], BeforeValidator(_shape_block_runs), AfterValidator(_in_order)
    ] = ()
    created_at: Moment = None
    started_at: Moment = None
    completed_at: Moment = None
    updated_at: Moment = None
    is_orphan: bool = False

    @property
    def name(self) -> str:
        """What people are told of it, as the beginning of a sentence."""
        return f"Run {self.id} of pipeline {self.pipeline_uuid}" if self.pipeline_uuid else f"Run {self.id}"

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {**data, "is_orphan": data.get("pipeline_schedule_id", 0) is None}


@dataclass(frozen=True)
class PipelineSchedule(Record):
    """
    What starts the runs of a pipeline (Mage's UI calls it a trigger), without its ``token``.

    ``timeout`` is in seconds from a run's first start; a run that has reached it gets ``timeout_status``.
    ``run_limit`` is how many of its runs go on at once; the pipeline may have another limit.
    ``allow_blocks_to_fail``: a run goes on with other blocks when one has failed.
    """

    id: Id
    name: OptionalName = ""
    pipeline_uuid: OptionalName = ""
    schedule_type: OptionalName = ""
    status: OptionalName = ""
    timeout: float | None = None
    timeout_status: PipelineRunStatus = PipelineRunStatus.FAILED
    run_limit: int | None = None
    allow_blocks_to_fail: bool = False

    @property
    def is_active(self) -> bool:
        """Whether Mage's scheduler starts its runs; those of an inactive one stay ``initial`` for ever."""
        return self.status == "active"

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        settings = inside(data, "settings")
        status = settings.get("timeout_status")
        return {
            **data,
            "timeout": whole_number(settings.get("timeout")),
            "timeout_status": status if status and isinstance(status, str) else PipelineRunStatus.FAILED,
            "run_limit": whole_number(settings.get("pipeline_run_limit")),
            "allow_blocks_to_fail": bool(settings.get("allow_blocks_to_fail")),
        }


@dataclass(frozen=True)
class Cluster(Record):
    """
    A Mage Pro cluster, as Mage Cloud shows it.

    ``config`` is Mage Cloud's own, whole and in its order, as it has to be sent back; it holds the values of
    the cluster's environment variables.
    """

    id: Name
    status: OptionalName = ""
    config: Annotated[Mapping[str, Any], or_else({})] = field(default_factory=dict, repr=False)
    name: OptionalName = ""

    @property
    def is_active(self) -> bool:
        """Whether Mage Cloud says that it runs (Mage Pro API overview: ``Active``)."""
        return self.status.casefold() == "active"

    @property
    def is_stopped(self) -> bool:
        """Whether Mage Cloud says that it does not (Mage Pro API overview: ``Stopped``)."""
        return self.status.casefold() == "stopped"

    @property
    def has_failed(self) -> bool:
        """Whether its status, none of those documented, can only mean that something went wrong."""
        return any(word in self.status.casefold() for word in ("fail", "error", "crash"))

    @property
    def replica_count(self) -> int | None:
        """How many replicas it is to have; None if its config does not say."""
        count = self.config.get("replicaCount")
        return count if isinstance(count, int) else None

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        found_id = next((data[key] for key in ("id", "uuid") if data.get(key) is not None), "")
        return {**data, "id": str(found_id) if isinstance(found_id, int) else found_id}


@dataclass(frozen=True)
class ServerStatus(Record):
    """
    What ``GET /status`` tells without a log-in.

    ``cluster_type`` is where Mage has found itself to be, such as ``k8s``; None for a server of its own.
    """

    scheduler_status: Annotated[Name, or_else("unknown")] = "unknown"
    require_user_authentication: Annotated[bool, or_else(False)] = False
    project_type: OptionalName = ""
    project_uuid: OptionalName = ""
    cluster_type: Name | None = None

    @classmethod
    def _fields(cls, data: Any) -> Any:
        return (
            {**data, "cluster_type": data.get("instance_type") or None} if isinstance(data, Mapping) else data
        )


@dataclass(frozen=True)
class Uuid(Record):
    """What a pipeline or a block is called."""

    uuid: Name


@dataclass(frozen=True)
class Version(Record):
    """What ``GET /projects`` says of the server's release."""

    version: OptionalName = ""


ROLES = {1: "Owner", 2: "Admin", 4: "Editor", 8: "Viewer"}
"""What ``project_access`` stands for (observed); of a user without a role in the project it is 0."""

_SHOWN_NAME = 100


@dataclass(frozen=True)
class User(Record):
    """Whom a log-in is for; ``role`` is empty for a user without one in the project."""

    username: OptionalName = ""
    role: str = ""

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        access, username = data.get("project_access"), data.get("username")
        # A log-in is as good whatever it says of its user.
        return {
            "username": username[:_SHOWN_NAME] if isinstance(username, str) else "",
            "role": ROLES.get(access, "") if isinstance(access, int) else "",
        }


@dataclass(frozen=True)
class LogIn(Record):
    """What ``POST /sessions`` answers: a token fit for a header, and its user."""

    token: Word = field(repr=False)
    user: User = User()

    @classmethod
    def _fields(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        user = data.get("user")
        return {**data, "user": User.from_api(user) if isinstance(user, Mapping) else User()}


@dataclass(frozen=True)
class ScheduleToken(Record):
    """The secret of a pipeline schedule."""

    token: Word = field(repr=False)
