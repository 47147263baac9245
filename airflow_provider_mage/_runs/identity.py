"""
Whose run it is: the one place that writes, and reads, which attempt of which task a Mage run belongs to.

Names are reused: a DAG run may be deleted and made again under its old id, and another Airflow may have a DAG
of the same name. So the run key is made of the names and of two things that only this very DAG run has, or
only the attempts between two clears: when the DAG run was started, to the microsecond, and the raw
``max_tries``, which Airflow leaves alone from retry to retry and changes when a person clears the task
(observed on 2.11.2, 3.1.8, 3.2.2 and 3.3.2).
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._runs.variables import AIRFLOW

if TYPE_CHECKING:
    from airflow_provider_mage.api.models import PipelineRun

log = logging.getLogger(__name__)

# Where Airflow 3.3's task state store, if there is one, keeps the key of the first attempt.
PINNED_KEY = "mage_run_key"

PROCESS_NONCE = secrets.token_hex(8)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class RunIdentity:
    """
    One attempt of one task, as the runs that it has asked for know it.

    :param run_key: What all attempts of the task between two clears share, and nobody else has.
    :param nonce: What only this attempt has.
    :param try_number: The attempt's number.
    :param is_durable: Whether the attempts share a Mage run.
    :param started_at: When the DAG run was started, in microseconds since the epoch; None if unknown. No run
        of this task is older.
    :param former_key: The run key that version 0.1.0 would have given the task; not unique.
    :param task: The names of the task and of its DAG run, for the people who look at a run in Mage.
    """

    run_key: str
    nonce: str
    try_number: int
    is_durable: bool = True
    started_at: int | None = None
    former_key: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_context(cls, context: Mapping[str, Any], *, retries: int, is_durable: bool) -> RunIdentity:
        """Identify the attempt that is being executed. Version 0.1.0 made its keys with ``retries``."""
        ti, dag_run = context["ti"], context.get("dag_run")
        map_index = -1 if ti.map_index is None else ti.map_index
        # Not `max_tries - retries`, which counts the clears only as long as nobody changes `retries`.
        names = [ti.dag_id, ti.run_id, ti.task_id, map_index]
        max_tries, started_at = ti.max_tries or 0, _started_at(dag_run)
        # With `dag.test()` a DAG run's start is its logical date, the same each time. All of its attempts are
        # made by one process.
        is_test = started_at is None or started_at in (
            _microseconds(getattr(dag_run, name, None)) for name in ("logical_date", "run_after")
        )
        parts: list[Any] = [*names, max_tries, started_at, PROCESS_NONCE if is_test else None]
        former_parts: list[Any] = [*names, max(0, max_tries - retries)]
        key = digest(parts if is_durable else [*parts, ti.try_number])
        if is_durable and not is_test:
            key, started_at = _pin(context, max_tries, key, started_at)
        logical_date = context.get("logical_date")
        return cls(
            run_key=key,
            nonce=secrets.token_hex(8),
            try_number=ti.try_number,
            is_durable=is_durable,
            started_at=started_at,
            former_key=digest(former_parts if is_durable else [*former_parts, ti.try_number]),
            task={
                "dag_id": ti.dag_id,
                "run_id": ti.run_id,
                "task_id": ti.task_id,
                "map_index": map_index,
                "logical_date": logical_date.isoformat() if logical_date else None,
                **_partition(dag_run),
            },
        )

    @property
    def is_retry(self) -> bool:
        """
        Whether an earlier attempt may have left a run with this key.

        On Airflow 3.2 and later, the first attempt that is executed may be the second (observed).
        """
        return self.is_durable and self.try_number > 1

    def as_variable(self) -> dict[str, Any]:
        """Return what every run carries as its variable ``airflow``."""
        return {
            **self.task,
            "try_number": self.try_number,
            "run_key": self.run_key,
            "nonce": self.nonce,
        }

    def asked_for(self, run: PipelineRun) -> bool:
        """Tell whether this very attempt has asked for a run, which must have its variables."""
        return _origin(run).get("nonce") == self.nonce

    def attempt_of(self, run: PipelineRun) -> int | None:
        """Say which attempt of this task has asked for a run; None if it was another task."""
        origin = _origin(run)
        key, try_number = origin.get("run_key"), origin.get("try_number")
        # A key of 0.1.0's may be another DAG run's of the same name: it needs proof of its own.
        is_own = key == self.run_key or (
            key == self.former_key and "nonce" not in origin and self._is_of_this_dag_run(run)
        )
        return (try_number if isinstance(try_number, int) else 0) if is_own else None

    def covers(self, run: PipelineRun) -> bool:
        """
        Tell whether this attempt, or one before it, has asked for a run.

        A later attempt's run is that attempt's business: this one is then a process that Airflow has given
        up on.
        """
        number = self.attempt_of(run)
        return number is not None and number <= self.try_number

    def is_older(self, run: PipelineRun, than: timedelta = timedelta(0)) -> bool:
        """Tell whether a run is certainly older than the DAG run, and by so much."""
        if self.started_at is None:
            return False
        return was_created_before(run, EPOCH + timedelta(microseconds=self.started_at) - than)

    def _is_of_this_dag_run(self, run: PipelineRun) -> bool:
        """Whether a run without a nonce was started in this very DAG run, and not in one of the same name."""
        # With PostgreSQL the creation may be dated too early (observed), the start is not.
        moment = _microseconds(run.started_at or run.created_at)
        return None not in (moment, self.started_at) and moment >= self.started_at  # type: ignore[operator]


@dataclass(frozen=True)
class Claim:
    """
    Which runs a task attempt may call its own: all that a later look for duplicates needs.

    A proxy may deliver a request twice, and a request that was given up on may arrive late. Where that can
    have happened, a task looks for duplicates of its run while it waits.

    :param identity: Who asks.
    :param pipeline_schedule_id: The pipeline schedule that the run was asked for under.
    :param since_id: The id that no duplicate which is still to be found is below.
    :param checks_at: The times (as in ``time.time()``) at which to look; none if there can be no duplicate.
    :param pipeline_uuid: The schedule's pipeline, the role in which a user needs to look; empty for the
        project's.
    :param old_errors: The block runs whose errors are of before a repair.
    """

    identity: RunIdentity
    pipeline_schedule_id: int = 0
    since_id: int = 0
    checks_at: tuple[float, ...] = ()
    old_errors: tuple[int, ...] = ()
    pipeline_uuid: str = ""

    def owns(self, run: PipelineRun) -> bool:
        """
        Tell whether a run is this task's.

        Mage gives the id of a deleted run away again (observed on SQLite), so this is asked before a run is
        believed or cancelled. Of an orphan it shows no variables, so that one is believed.
        """
        return (run.is_orphan and not run.variables) or self.identity.attempt_of(run) is not None

    def next_check(self, checked_at: float) -> float | None:
        """Say when to look for duplicates next, after a look at some time; None for never."""
        return next((moment for moment in self.checks_at if moment > checked_at), None)

    def to_dict(self) -> dict[str, Any]:
        """Return what a deferred task stores of it: names, numbers and no secret."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Claim | None:
        """Read what a deferred task has stored."""
        if stored is None:
            return None
        fields = {
            "identity": RunIdentity(**stored["identity"]),
            "checks_at": tuple(stored["checks_at"]),
            "old_errors": tuple(stored.get("old_errors", ())),
        }
        return cls(**{**stored, **fields})


def was_created_before(run: PipelineRun, moment: datetime) -> bool:
    """
    Tell whether a run was certainly created before a moment.

    With PostgreSQL ``created_at`` may be too early, by as long as Mage's web server has not written anything
    before (observed). ``execution_date`` is the true time, unless whoever started the run has chosen it. So
    both have to be earlier.
    """
    dates = [date for date in (run.created_at, run.execution_date) if date is not None]
    return bool(dates) and max(dates) < moment


def _origin(run: PipelineRun) -> Mapping[str, Any]:
    origin = run.variables.get(AIRFLOW)
    return origin if isinstance(origin, Mapping) else {}


def digest(parts: list[Any]) -> str:
    """Return a short text that stands for a list of plain JSON."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _started_at(dag_run: Any) -> int | None:
    return _microseconds(getattr(dag_run, "start_date", None))


def _partition(dag_run: Any) -> dict[str, str]:
    """Return which part of the data a partitioned DAG run is about, which has no data interval."""
    key, day = getattr(dag_run, "partition_key", None), getattr(dag_run, "partition_date", None)
    texts = {"partition_key": key, "partition_date": day.isoformat() if day else None}
    return {name: text for name, text in texts.items() if text is not None}


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


def _pin(context: Any, max_tries: int, key: str, started_at: int | None) -> tuple[str, int | None]:
    """
    Return the key of the first attempt since the last clear, and when its DAG run was started.

    A running DAG run that is set back to ``queued`` gets another start, although its tasks go on. Only
    Airflow 3.3 and later have a store that outlasts an attempt, and it may be out of reach (observed: a
    locked database): then the key is the one that was made, as on the lines before.
    """
    store = context.get("task_state_store")
    if store is None:
        return key, started_at
    try:
        # It may be slow to answer, so the very first attempt does not ask.
        pinned = store.get(PINNED_KEY) if context["ti"].try_number > 1 else None
        if isinstance(pinned, Mapping) and pinned.get("max_tries") == max_tries:
            return str(pinned["run_key"]), pinned["started_at"]
        store.set(PINNED_KEY, {"max_tries": max_tries, "run_key": key, "started_at": started_at})
    except Exception as error:  # noqa: BLE001  whatever it is, the key is as good as on the lines before
        log.debug("The run key could not be stored: %r", error)
    return key, started_at
