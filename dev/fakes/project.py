"""What a Mage server remembers, and what its scheduler does with it.

All of it was observed on mage-ai 0.9.80, and tests/contract compares it with a real server.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from fakes import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from fakes.databases import SQLite

ACTIVE = ("initial", "running")
REPO_PATH = "/srv/project"
ERROR_LINE = 10
UNFINISHED_BLOCK = ("initial", "queued", "running")


def utc_now() -> datetime:
    """Now, in UTC and without a zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


@dataclass
class Pipeline:
    """
    A pipeline whose blocks run one after the other, unless it says otherwise.

    :param upstream: The blocks right before each, where they do not run one after the other.
    :param fails_at: The block that raises ``error``: always, or the first ``fails_times`` times in each run.
    :param also_fail: Other blocks that raise ``error`` always.
    :param left_out: The blocks that have a condition which is not met.
    :param children: The names of the children of each block that has some: dynamic ones, of which
        ``fails_at`` may name one.
    :param stalls_at: The block that stays ``queued`` for ever.
    :param loses_job_of: The block whose job is lost, as on an idle server that of one in some dozens: it
        stays ``queued`` until any other job is queued.
    :param fails_silently: Whether a block that fails has its error in its log alone, as have the children of
        dynamic blocks, and the blocks of runs in one process.
    :param returns: What the blocks return.
    :param prints: What the blocks print, each before it ends.
    :param dies_at: The block that ends its own process each time, and is queued again.
    :param leaves_out_late: Whether the scheduler, when blocks of a run that goes on are set back, has just
        seen which blocks have failed, and writes only then which others it leaves out for that.
    :param type: ``python``, or ``streaming``: then its runs have no block runs, and do not end.
    :param concurrency_config: How many runs go on at once.
    :param polls_to_finish: With which look at it a run is over; None leaves that to explicit steps.
    """

    uuid: str
    blocks: tuple[str, ...]
    created_at: datetime
    fails_at: str | None = None
    error: BaseException = field(default_factory=lambda: ValueError("the block failed"))
    fails_times: int | None = None
    fails_silently: bool = False
    upstream: Mapping[str, Sequence[str]] | None = None
    also_fail: Collection[str] = ()
    left_out: Collection[str] = ()
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)
    returns: Mapping[str, Any] = field(default_factory=dict)
    prints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stalls_at: str | None = None
    loses_job_of: str | None = None
    dies_at: str | None = None
    leaves_out_late: bool = False
    type: str = "python"
    concurrency_config: dict[str, Any] = field(default_factory=dict)
    polls_to_finish: int | None = None

    def block_of(self, block_run: BlockRun) -> str:
        """Return the name of the block that a block run is of, or of a child of."""
        uuid = block_run.block_uuid
        return uuid if uuid in self.blocks else uuid.partition(":")[0]

    def before(self, block_uuid: str) -> Sequence[str]:
        """Return the names of the blocks right before one."""
        if self.upstream is not None:
            return self.upstream.get(block_uuid, ())
        number = self.blocks.index(block_uuid)
        return self.blocks[max(0, number - 1) : number]

    def after(self, block_uuid: str) -> set[str]:
        """Return the names of all blocks after one."""
        found = {block_uuid}
        for _ in self.blocks:
            found |= {name for name in self.blocks if found & set(self.before(name))}
        return found - {block_uuid}

    def code_of(self, block_uuid: str) -> str:
        """Return the code of a block: what raises its error stands where the traceback says."""
        return "\n" * (ERROR_LINE - 1) + (
            f"    raise {type(self.error).__name__}(reason)\n" if block_uuid == self.fails_at else ""
        )


@dataclass
class PipelineSchedule:
    """What starts the runs of one pipeline."""

    id: int
    name: str
    pipeline_uuid: str
    created_at: datetime
    updated_at: datetime
    status: str = "inactive"
    schedule_type: str | None = None
    schedule_interval: str | None = None
    description: str | None = None
    settings: Any = None
    sla: int | None = None
    start_time: str | None = None
    variables: Any = None
    last_enabled_at: datetime | None = None
    global_data_product_uuid: str | None = None
    repo_path: str = REPO_PATH
    token: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class BlockRun:
    """One block of one run; ``executions`` counts how often it was really begun."""

    id: int
    pipeline_run_id: int
    block_uuid: str
    created_at: datetime
    updated_at: datetime
    status: str = "initial"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metrics: dict[str, Any] | None = None
    executions: int = 0
    is_lost: bool = False
    log: str = ""


@dataclass
class PipelineRun:
    """One run; ``pipeline_schedule_id`` becomes None when its schedule is deleted."""

    id: int
    pipeline_schedule_id: int | None
    pipeline_uuid: str
    execution_date: datetime
    variables: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    event_variables: Any = None
    backfill_id: int | None = None
    status: str = "initial"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    block_runs: list[BlockRun] = field(default_factory=list)
    polls: int = 0
    log: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it is not over."""
        return self.status in ACTIVE


class Project:
    """
    A Mage project and its scheduler, which acts only when told to: no thread, no sleeping.

    :param clock: The time, in UTC and without a zone.
    """

    def __init__(self, database: SQLite, clock: Callable[[], datetime] = utc_now) -> None:
        self.database = database
        self.clock = clock
        self.transaction_began = clock()
        """Since when Mage's server has been in the transaction that the next new row will be part of."""
        self._highest_ids: dict[str, int] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self.pipeline_schedules: dict[int, PipelineSchedule] = {}
        self.pipeline_runs: dict[int, PipelineRun] = {}
        self.is_scheduler_running = True

    # Rows

    def commit(self) -> None:
        """End the transaction; Mage reads at once what it has stored, and is in the next one."""
        self.transaction_began = self.clock()

    def _next_id(self, table: str, rows: Iterable[int]) -> int:
        """Return the id after the highest that there is, or that there ever was."""
        highest = max(rows, default=0)
        if not self.database.gives_ids_again:
            highest = max(highest, self._highest_ids.get(table, 0))
        self._highest_ids[table] = highest + 1
        return highest + 1

    def _now(self) -> datetime:
        return self.database.date(self.clock())

    def _created(self) -> datetime:
        return self.database.stamp(self.clock(), self.transaction_began)

    def _updated(self) -> datetime:
        now = self.clock()
        return self.database.stamp(now, now)

    def add_pipeline_schedule(self, pipeline_uuid: str, name: str, **columns: Any) -> PipelineSchedule:
        """Store a new schedule."""
        created = self._created()
        schedule = PipelineSchedule(
            self._next_id("pipeline_schedule", self.pipeline_schedules), name, pipeline_uuid, created, created
        )
        self.pipeline_schedules[schedule.id] = schedule
        self.change_pipeline_schedule(schedule, **columns)
        schedule.updated_at = created
        self.commit()
        return schedule

    def change_pipeline_schedule(self, schedule: PipelineSchedule, **columns: Any) -> None:
        """Change columns of a schedule; what is no column is ignored."""
        if columns.get("status") == "active" and schedule.status != "active":
            schedule.last_enabled_at = self._now()
        for name, value in columns.items():
            if hasattr(schedule, name):
                setattr(schedule, name, value)
        schedule.updated_at = self._updated()

    def delete_pipeline_schedule(self, schedule: PipelineSchedule) -> None:
        """Delete a schedule; its runs lose it, and with it their place in every list."""
        del self.pipeline_schedules[schedule.id]
        for run in self.pipeline_runs.values():
            if run.pipeline_schedule_id == schedule.id:
                run.pipeline_schedule_id = None

    def add_pipeline_run(
        self,
        schedule: PipelineSchedule,
        variables: dict[str, Any],
        *,
        execution_date: datetime | None = None,
        event_variables: Any = None,
        backfill_id: int | None = None,
    ) -> PipelineRun:
        """Store a new run, ``initial`` until the scheduler picks it up."""
        created = self._created()
        date = execution_date or self.clock()
        partition = f"{schedule.id}/{date:%Y%m%dT%H%M%S_%f}"
        run = PipelineRun(
            id=self._next_id("pipeline_run", self.pipeline_runs),
            pipeline_schedule_id=schedule.id,
            pipeline_uuid=schedule.pipeline_uuid,
            execution_date=self.database.date(date),
            variables={**variables, "execution_partition": partition},
            created_at=created,
            updated_at=created,
            event_variables=event_variables,
            backfill_id=backfill_id,
        )
        self.pipeline_runs[run.id] = run
        self.commit()
        return run

    # What the API can do to a run

    def cancel(self, run: PipelineRun) -> None:
        """Cancel a run and its unfinished blocks; nothing happens to one that is over."""
        if not run.is_active:
            return
        self._change(run, status="cancelled")
        self._cancel_unfinished_blocks(run)
        self._queue_job()

    def retry(self, run: PipelineRun, from_block_uuid: str | None = None) -> None:
        """
        Set a run going again (``pipeline_run_action: retry_blocks``).

        Blocks that did not complete are set back to ``initial``, or one block and all after it. Their dates
        and ``metrics`` stay, so that a block which then completes still shows its old error, and the run
        keeps ``completed_at``. A run that has no blocks yet simply completes, although nothing was run.
        """
        pipeline = self.pipelines[run.pipeline_uuid]
        late = self._left_out_of(run, pipeline) if pipeline.leaves_out_late else []
        if from_block_uuid is not None:
            is_known = from_block_uuid in pipeline.blocks
            names = {from_block_uuid, *pipeline.after(from_block_uuid)} if is_known else set()
            blocks = [block for block in run.block_runs if pipeline.block_of(block) in names]
        elif run.status == "completed":
            blocks = []
        else:
            blocks = [block for block in run.block_runs if block.status != "completed"]
        for block in blocks:
            self._change(block, status="initial")
        for block in late:
            self._change(block, status="upstream_failed")
        self._change(run, status="running")
        run.polls = 0

    def _left_out_of(self, run: PipelineRun, pipeline: Pipeline) -> list[BlockRun]:
        """Return the block runs of a run that goes on which its scheduler is about to leave out."""
        if run.status != "running" or not self._may_fail(run):
            return []
        failed = {block.block_uuid for block in run.block_runs if block.status == "failed"}
        due = [block for block in run.block_runs if block.status == "initial"]
        return [block for block in due if failed & set(pipeline.before(block.block_uuid))]

    # The scheduler

    def tick(self, run: PipelineRun) -> bool:
        """
        Let the scheduler and its workers take one step with a run.

        :return: Whether anything changed: not without a scheduler, an active schedule, or a block that moves.
        """
        schedule = self.pipeline_schedules.get(run.pipeline_schedule_id or 0)
        if not self.is_scheduler_running or not run.is_active or schedule is None:
            return False
        pipeline = self.pipelines.get(run.pipeline_uuid)
        if run.status == "initial":
            may_start = pipeline and schedule.status == "active" and not self._is_held_back(run, schedule)
            if may_start:
                self._start(run)
            return bool(may_start)
        if pipeline is None or pipeline.type == "streaming":
            return False
        if self._is_timed_out(run, schedule):
            self._change(run, status=schedule.settings.get("timeout_status") or "failed")
            self._cancel_unfinished_blocks(run)
            return True
        states = {block.status for block in run.block_runs}
        if "failed" in states and not self._may_fail(run):
            self._change(run, status="failed")
            self._cancel_unfinished_blocks(run)
        elif self._is_at_its_end(run):
            status = "failed" if "failed" in states else "completed"
            self._change(run, status=status, completed_at=self._now())
        else:
            was = {name: self._state_of(run, name, pipeline) for name in pipeline.blocks}
            moved = [self._move(block, pipeline, run, was) for block in list(run.block_runs)]
            return any(moved)
        return True

    @staticmethod
    def _state_of(run: PipelineRun, name: str, pipeline: Pipeline) -> str:
        """Return in which state a block is, its children included."""
        states = {block.status for block in run.block_runs if pipeline.block_of(block) == name}
        unfinished = states & {*UNFINISHED_BLOCK, "cancelled"}
        ends = ("failed", "upstream_failed", "condition_failed", "completed")
        return next(iter(unfinished), None) or next((end for end in ends if end in states), "completed")

    def _is_held_back(self, run: PipelineRun, schedule: PipelineSchedule) -> bool:
        running = [
            one
            for one in self.pipeline_runs.values()
            if one.status == "running" and one.pipeline_uuid == run.pipeline_uuid
        ]
        own = [one for one in running if one.pipeline_schedule_id == schedule.id]
        config = self.pipelines[run.pipeline_uuid].concurrency_config
        limit = (schedule.settings or {}).get("pipeline_run_limit") or config.get("pipeline_run_limit")
        limit_of_all = config.get("pipeline_run_limit_all_triggers")
        limits = ((limit, own), (limit_of_all, running))
        return any(limit and len(runs) >= int(limit) for limit, runs in limits)

    def _is_timed_out(self, run: PipelineRun, schedule: PipelineSchedule) -> bool:
        """Whether the schedule's time-out is over, which Mage counts from the first start."""
        timeout = (schedule.settings or {}).get("timeout")
        return bool(timeout and run.started_at and (self._now() - run.started_at).total_seconds() > timeout)

    def lose_jobs(self) -> None:
        """Let the worker pool leave now: what is queued stays so until another job is queued."""
        for block in self._block_runs():
            block.is_lost = block.status == "queued"

    def _queue_job(self) -> None:
        for block in self._block_runs():
            block.is_lost = False

    def _block_runs(self) -> Iterable[BlockRun]:
        return (block for run in self.pipeline_runs.values() for block in run.block_runs)

    def look(self, run: PipelineRun) -> None:
        """Count one look at a run, and let it take the steps that are due by then."""
        pipeline = self.pipelines.get(run.pipeline_uuid)
        due = pipeline.polls_to_finish if pipeline else None
        if due is None or not run.is_active:
            return
        run.polls += 1
        if run.polls >= due:
            while run.is_active and self.tick(run):
                pass
        elif not self._is_at_its_end(run):
            self.tick(run)

    def finish(self, run: PipelineRun, status: str = "completed", error: BaseException | None = None) -> None:
        """
        End a run now, whatever its pipeline and schedule would do.

        :param status: ``completed``, ``cancelled``, or ``failed``: then its first unfinished block raises
            ``error``.
        """
        if status == "cancelled":
            self.cancel(run)
            return
        if not run.block_runs:
            self._start(run)
        for block in run.block_runs:
            if block.status == "completed":
                continue
            if block.status != "running":
                self._begin(block)
            if status == "failed":
                self._fail(block, error or self.pipelines[run.pipeline_uuid].error)
                break
            self._complete(block)
        self._change(run, status=status, completed_at=self._now() if status == "completed" else None)
        self._cancel_unfinished_blocks(run)

    def executions(self, run: PipelineRun) -> dict[str, int]:
        """Return how often each block of a run was begun."""
        return {block.block_uuid: block.executions for block in run.block_runs}

    def _start(self, run: PipelineRun) -> None:
        self._change(run, status="running", started_at=self._now())
        created = self._updated()
        pipeline = self.pipelines[run.pipeline_uuid]
        for block_uuid in pipeline.blocks if pipeline.type != "streaming" else ():
            ids = (block.id for block in self._block_runs())
            block = BlockRun(self._next_id("block_run", ids), run.id, block_uuid, created, created)
            run.block_runs.append(block)

    def _move(  # noqa: C901, PLR0912  all that can happen to a block, in its order
        self, block: BlockRun, pipeline: Pipeline, run: PipelineRun, was: Mapping[str, str]
    ) -> bool:
        name = pipeline.block_of(block)
        if block.status == "initial":
            before = {was[name] for name in pipeline.before(name)}
            is_child = block.block_uuid != name
            for state, of in (
                ("condition_failed", {"condition_failed"}),
                ("upstream_failed", {"failed", "upstream_failed"}),
            ):
                if before & of and not is_child:
                    self._change(block, status=state)
                    return True
            if before - {"completed"}:
                return False
            self._queue_job()
            self._change(block, status="queued")
            block.is_lost = pipeline.loses_job_of == block.block_uuid
        elif block.status == "queued":
            if pipeline.stalls_at == block.block_uuid or block.is_lost:
                return False
            if name in pipeline.left_out:
                self._change(block, status="condition_failed", started_at=self._now())
            else:
                self._begin(block)
        elif block.status == "running" and pipeline.dies_at == block.block_uuid:
            self._change(block, status="queued")
        elif block.status == "running":
            fails = pipeline.fails_at == block.block_uuid
            if block.block_uuid in pipeline.also_fail or (
                fails and (pipeline.fails_times is None or block.executions <= pipeline.fails_times)
            ):
                self._fail(block, pipeline.error)
            else:
                if block.block_uuid in pipeline.children:
                    self._make_children(block, pipeline, run)
                self._complete(block)
        else:
            return False
        return True

    def _make_children(self, block: BlockRun, pipeline: Pipeline, run: PipelineRun) -> None:
        """Make the block runs of a block's children, before it ends itself, unless there are some."""
        there = {one.block_uuid for one in run.block_runs}
        created = self._updated()
        for child in pipeline.children[block.block_uuid]:
            name = f"{block.block_uuid}:{child}"
            if name not in there:
                ids = (one.id for one in self._block_runs())
                metrics = {"dynamic_block_index": 0}
                new_id = self._next_id("block_run", ids)
                run.block_runs.append(BlockRun(new_id, run.id, name, created, created, metrics=metrics))

    def _may_fail(self, run: PipelineRun) -> bool:
        """Whether the other branches go on when a block fails."""
        schedule = self.pipeline_schedules.get(run.pipeline_schedule_id or 0)
        return bool(((schedule.settings if schedule else None) or {}).get("allow_blocks_to_fail"))

    def _is_at_its_end(self, run: PipelineRun) -> bool:
        states = {block.status for block in run.block_runs}
        may_fail = ("failed", "upstream_failed") if self._may_fail(run) else ()
        ends = {"completed", "condition_failed", *may_fail}
        return run.status == "running" and ("failed" in states - ends or states <= ends)

    def _begin(self, block: BlockRun) -> None:
        block.executions += 1
        # It is not told when it was begun again, unless it has failed before.
        started_at = self._now() if block.started_at is None or block.metrics else block.started_at
        self._change(block, status="running", started_at=started_at)
        self._log(block, "INFO", f"Start executing block with {logs.EXECUTOR}.")

    def print(self, block: BlockRun, *lines: str) -> None:
        """Let a block print something."""
        for line in lines:
            self._log(block, "INFO", line)

    def _log(self, block: BlockRun, level: str, message: str) -> None:
        block.log += logs.record(self.clock(), level, message, **self._tags(block))

    def _tags(self, block: BlockRun) -> dict[str, Any]:
        return logs.tags_of(block, self.pipeline_runs[block.pipeline_run_id].pipeline_uuid)

    def _print_all(self, block: BlockRun) -> None:
        pipeline = self.pipelines.get(self.pipeline_runs[block.pipeline_run_id].pipeline_uuid)
        self.print(block, *(pipeline.prints.get(block.block_uuid, ()) if pipeline else ()))

    def _complete(self, block: BlockRun) -> None:
        self._print_all(block)
        self._log(block, "INFO", f"Finish executing block with {logs.EXECUTOR}.")
        # A metrics that an earlier execution left stays.
        self._change(
            block,
            status="completed",
            completed_at=self._now(),
            metrics={} if block.metrics is None else block.metrics,
        )

    def _fail(self, block: BlockRun, error: BaseException) -> None:
        self._print_all(block)
        run = self.pipeline_runs[block.pipeline_run_id]
        told, tags = block_error(error, block.block_uuid), self._tags(block)
        block.log += logs.failure(self.clock(), f"Failed to execute block {block.block_uuid}", told, **tags)
        what = f"BlockRun {block.id} (block_uuid: {block.block_uuid}) failed."
        run.log += logs.failure(self.clock(), what, told, **tags)
        is_silent = self.pipelines[run.pipeline_uuid].fails_silently
        # Mage changes the dictionary that it has read, of which its database takes no note.
        metrics = block.metrics or ({} if is_silent else {"error": told})
        self._change(block, status="failed", metrics=metrics)

    def _cancel_unfinished_blocks(self, run: PipelineRun) -> None:
        for block in run.block_runs:
            if block.status in UNFINISHED_BLOCK:
                self._change(block, status="cancelled")

    def _change(self, row: PipelineRun | BlockRun, **columns: Any) -> None:
        for name, value in columns.items():
            setattr(row, name, value)
        row.updated_at = self._updated()


SERVER_STACK = (
    '  File "/srv/mage/bin/mage", line 10, in <module>\n    sys.exit(app())\n',
    '  File "/srv/mage/mage_ai/cli/main.py", line 147, in start\n    start_server(\n',
    '  File "/srv/mage/mage_ai/server/api/base.py", line 68, in write_error\n    traceback.format_stack()\n',
)
"""What Mage puts into ``errors``: its own stack, the same whatever happened."""


def block_error(error: BaseException, block_uuid: str) -> dict[str, Any]:
    """
    Return ``metrics.error`` of a failed block.

    ``error`` is ``str(exception)`` without its type; ``message`` is the traceback from Mage's executor down
    to the block, whose source Mage compiles from a string; ``errors`` is the worker's own stack.
    """
    return {
        "error": str(error),
        "errors": list(SERVER_STACK),
        "message": (
            "Traceback (most recent call last):\n"
            '  File "/srv/mage/mage_ai/data_preparation/executors/block_executor.py", line 647, in execute\n'
            "    result = __execute_with_retry()\n             ^^^^^^^^^^^^^^^^^^^^^^\n"
            f'  File "<string>", line {ERROR_LINE}, in {block_uuid}\n{type(error).__name__}: {error}\n'
        ),
    }
