"""
Mage's nouns as frozen values.

Each ``from_api`` takes one object of an answer, as documented by the Mage API and as observed on 0.9.70
to 0.9.80. Secrets that Mage puts into its answers (a pipeline schedule's ``token``) are left out on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any


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
    def _missing_(cls, value: object) -> PipelineRunStatus:  # noqa: ARG003  # Enum's own signature
        return cls.UNKNOWN

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
    def _missing_(cls, value: object) -> BlockRunStatus:  # noqa: ARG003  # Enum's own signature
        return cls.UNKNOWN


@dataclass(frozen=True)
class BlockRun:
    """
    One block of one pipeline run.

    ``error`` is the block's own exception, such as ``ValueError: no rows``; the traceback that Mage sends
    along with it runs through Mage's own code and is dropped. Mage writes it once for each block run: of a
    block that fails again after a repair, it is still the first one (observed). ``has_error`` says whether
    there is one, whatever the status.
    """

    id: int
    block_uuid: str
    status: BlockRunStatus
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None
    has_metrics: bool = False
    has_error: bool = False
    spawns_children: bool = False
    """Whether it only makes the block runs of a dynamic block's children, in its own name."""

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> BlockRun:
        """Read one element of ``block_runs``."""
        status = BlockRunStatus(data["status"])
        metrics = data.get("metrics") or {}
        flags = (metrics.get("metadata") or {}).get("flags") or ()
        return cls(
            id=int(data["id"]),
            block_uuid=data["block_uuid"],
            status=status,
            # A block that was repaired keeps the error of its earlier failure (observed).
            error=_block_error(metrics.get("error")) if status is BlockRunStatus.FAILED else None,
            started_at=parse_datetime(data.get("started_at")),
            completed_at=parse_datetime(data.get("completed_at")),
            updated_at=parse_datetime(data.get("updated_at")),
            has_metrics=bool(metrics),
            has_error=bool(metrics.get("error")),
            spawns_children="original" in flags and "dynamic_child" in flags,
        )


@dataclass(frozen=True)
class PipelineRun:
    """
    One run of a pipeline.

    The short format of the API (``_format=with_basic_details``) fills ``id``, ``status`` and
    ``execution_date`` only. ``block_runs`` is empty until Mage's scheduler has picked the run up. An orphan's
    pipeline schedule was deleted: the blocks that it has begun end, but the run never does (observed).
    """

    id: int
    status: PipelineRunStatus
    execution_date: datetime | None = None
    pipeline_uuid: str = ""
    pipeline_schedule_id: int | None = None
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    block_runs: tuple[BlockRun, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None
    is_orphan: bool = False

    @property
    def name(self) -> str:
        """What people are told of it, as the beginning of a sentence."""
        return f"Run {self.id} of pipeline {self.pipeline_uuid}" if self.pipeline_uuid else f"Run {self.id}"

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> PipelineRun:
        """Read ``pipeline_run`` or one element of ``pipeline_runs``, in any of its formats."""
        return cls(
            id=int(data["id"]),
            status=PipelineRunStatus(data["status"]),
            execution_date=parse_datetime(data.get("execution_date")),
            pipeline_uuid=data.get("pipeline_uuid") or "",
            pipeline_schedule_id=data.get("pipeline_schedule_id"),
            variables=data.get("variables") or {},
            block_runs=tuple(
                sorted(map(BlockRun.from_api, data.get("block_runs") or ()), key=lambda block: block.id)
            ),
            created_at=parse_datetime(data.get("created_at")),
            started_at=parse_datetime(data.get("started_at")),
            completed_at=parse_datetime(data.get("completed_at")),
            updated_at=parse_datetime(data.get("updated_at")),
            is_orphan=data.get("pipeline_schedule_id", 0) is None,
        )


@dataclass(frozen=True)
class PipelineSchedule:
    """
    What starts the runs of a pipeline (Mage's UI calls it a trigger), without its ``token``.

    ``timeout`` is in seconds from a run's first start; a run that has reached it gets ``timeout_status``.
    ``run_limit`` is how many of its runs go on at once; the pipeline may have another limit.
    """

    id: int
    name: str
    pipeline_uuid: str
    schedule_type: str
    status: str
    timeout: float | None = None
    timeout_status: PipelineRunStatus = PipelineRunStatus.FAILED
    run_limit: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether Mage's scheduler starts its runs; those of an inactive one stay ``initial`` for ever."""
        return self.status == "active"

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> PipelineSchedule:
        """Read ``pipeline_schedule`` or one element of ``pipeline_schedules``."""
        settings = data.get("settings") or {}
        return cls(
            id=int(data["id"]),
            name=data.get("name") or "",
            pipeline_uuid=data.get("pipeline_uuid") or "",
            schedule_type=data.get("schedule_type") or "",
            status=data.get("status") or "",
            timeout=_number(settings.get("timeout")),
            timeout_status=PipelineRunStatus(settings.get("timeout_status") or PipelineRunStatus.FAILED),
            run_limit=_number(settings.get("pipeline_run_limit")),
        )


@dataclass(frozen=True)
class Cluster:
    """
    A Mage Pro cluster, as Mage Cloud shows it.

    ``config`` is Mage Cloud's own, whole and in its order, as it has to be sent back; it holds the values of
    the cluster's environment variables.
    """

    id: str
    status: str
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str = ""

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
    def from_api(cls, data: Mapping[str, Any], cluster_id: str | None = None) -> Cluster:
        """Read ``cluster``, which need not repeat its id, or one element of ``clusters``."""
        found_id = next((data[key] for key in ("id", "uuid") if data.get(key) is not None), "")
        return cls(
            id=cluster_id or str(found_id),
            status=str(data.get("status") or ""),
            config=data.get("config") or {},
            name=str(data.get("name") or ""),
        )


@dataclass(frozen=True)
class ServerStatus:
    """
    What ``GET /status`` tells without a log-in.

    ``cluster_type`` is where Mage has found itself to be, such as ``k8s``; None for a server of its own.
    """

    scheduler_status: str
    require_user_authentication: bool
    project_type: str
    cluster_type: str | None = None

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> ServerStatus:
        """Read one element of ``statuses``."""
        return cls(
            scheduler_status=data.get("scheduler_status") or "unknown",
            require_user_authentication=bool(data.get("require_user_authentication")),
            project_type=data.get("project_type") or "",
            cluster_type=data.get("instance_type") or None,
        )


def parse_datetime(text: str | None) -> datetime | None:
    """
    Read a date of the API as an aware UTC datetime.

    SQLite-backed servers send UTC without a zone, PostgreSQL-backed ones ``+00:00`` (observed).
    """
    if not text:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _number(value: Any) -> int | None:
    """Read a setting that is a number, which Mage's own page stores as text if it was typed."""
    return int(value) if str(value or "").strip().isdigit() else None


def _block_error(error: Any) -> str | None:
    """
    Find the block's own exception in ``metrics.error``.

    ``error`` there is ``str(exception)``, whole but without its type; ``message`` is the traceback, whose end
    repeats it with the type in front.
    """
    if not error:
        return None
    if not isinstance(error, Mapping):
        return str(error).strip()
    text, traceback = str(error.get("error") or "").strip(), str(error.get("message") or "").rstrip()
    if not text:
        return traceback.splitlines()[-1] if traceback else None
    typed = re.findall(rf"^[\w.<>]+: {re.escape(text)}$", traceback, re.MULTILINE)
    return str(typed[-1]) if typed else text
