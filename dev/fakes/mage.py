"""A Mage server for tests: real HTTP on loopback, a real session, real runs, and no waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fakes.api import Api
from fakes.databases import DATABASES
from fakes.project import Pipeline, PipelineRun, PipelineSchedule, Project, utc_now
from fakes.server import FakeServer
from fakes.tokens import PUBLIC_API_KEY, Account

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime


DEFAULT: Any = object()


class FakeMage(FakeServer):
    """
    Mage 0.9.80 as far as the client uses it, for as long as its ``with`` block.

    Its runs move when they are looked at, or when told to with :meth:`advance` and :meth:`finish`.

    :param authentication: ``REQUIRE_USER_AUTHENTICATION``.
    :param base_path: ``MAGE_BASE_PATH``, such as ``a/b``.
    :param role: What the user is in the project: ``owner``, ``editor``, ``viewer`` or ``nobody``.
    :param pipeline_roles: What the user is in single pipelines, by their ``uuid``, if it is something else.
    :param token_lifetime: How long a log-in lasts, by ``clock``.
    :param polls_to_finish: With which GET of it, or of a list, a run is over; None: runs move only with
        :meth:`advance` and :meth:`finish`. New pipelines take this over.
    :param utc_offset: The server's time zone, in which Mage reads ``start_timestamp``.
    :param database: ``sqlite`` or ``postgresql``.
    :param clock: The time, in UTC and without a zone.
    """

    def __init__(
        self,
        *,
        authentication: bool = True,
        base_path: str = "",
        email: str = "admin@admin.com",
        username: str = "admin",
        password: str = "admin",  # noqa: S107  what every open-source Mage starts with
        api_key: str = PUBLIC_API_KEY,
        role: str = "owner",
        pipeline_roles: Mapping[str, str] | None = None,
        token_lifetime: timedelta = timedelta(days=30),
        polls_to_finish: int | None = 2,
        utc_offset: timedelta = timedelta(0),
        version: str = "0.9.80",
        database: str = "sqlite",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.email, self.username, self.password, self.api_key = email, username, password, api_key
        self.authentication = authentication
        self.base_path = base_path
        self.polls_to_finish = polls_to_finish
        self.project = Project(DATABASES[database], clock)
        self._account = Account(
            email,
            username,
            password,
            api_key,
            role,
            token_lifetime,
            clock,
            self.project.database,
            pipeline_roles or {},
        )
        super().__init__(
            Api(
                self.project,
                self._account,
                authentication=authentication,
                base_path=base_path,
                utc_offset=utc_offset,
                version=version,
            )
        )

    # The server

    @property
    def url(self) -> str:
        """Where it is, with its base path and without ``/api``."""
        return self.root + (f"/{self.base_path}" if self.base_path else "")

    # What there is

    def pipeline(
        self,
        uuid: str,
        blocks: Sequence[str] = ("load", "clean", "export"),
        *,
        fails_at: str | None = None,
        error: BaseException | None = None,
        fails_times: int | None = None,
        stalls_at: str | None = None,
        polls_to_finish: int | None = DEFAULT,
        **more: Any,
    ) -> Pipeline:
        """
        Add a pipeline whose blocks run one after the other, or replace it: its runs go on with the new one.

        :param fails_at: The block that raises ``error``.
        :param fails_times: How often it does so in one run until it succeeds; None: always.
        :param stalls_at: The block that stays ``queued`` for ever.
        :param more: Other fields of :class:`~fakes.project.Pipeline`.
        """
        pipeline = Pipeline(
            uuid,
            tuple(blocks),
            self.project.clock(),
            fails_at=fails_at,
            error=error or ValueError(f"no rows in {fails_at}"),
            fails_times=fails_times,
            stalls_at=stalls_at,
            polls_to_finish=self.polls_to_finish if polls_to_finish is DEFAULT else polls_to_finish,
            **more,
        )
        with self._lock:
            self.project.pipelines[uuid] = pipeline
        return pipeline

    def example_pipelines(self) -> None:
        """Add the two pipelines of example_dags/mage_project."""
        self.pipeline("daily_orders", ["load_orders", "clean_orders", "export_totals"])
        self.pipeline(
            "broken_orders",
            ["load_orders", "check_orders", "export_totals"],
            fails_at="check_orders",
            error=ValueError("4 of 40 orders have a negative amount"),
        )

    def pipeline_schedule(
        self, pipeline_uuid: str, name: str = "airflow", *, status: str = "active", schedule_type: str = "api"
    ) -> PipelineSchedule:
        """Add a pipeline schedule."""
        with self._lock:
            return self.project.add_pipeline_schedule(
                pipeline_uuid, name, status=status, schedule_type=schedule_type
            )

    def pipeline_run(self, schedule: PipelineSchedule, **variables: Any) -> PipelineRun:
        """Add a pipeline run."""
        with self._lock:
            return self.project.add_pipeline_run(schedule, variables)

    @property
    def pipeline_runs(self) -> dict[int, PipelineRun]:
        """The runs there are, by id."""
        return self.project.pipeline_runs

    @property
    def pipeline_schedules(self) -> dict[int, PipelineSchedule]:
        """The pipeline schedules there are, by id."""
        return self.project.pipeline_schedules

    # What happens

    def advance(self, run_id: int, steps: int = 1) -> str:
        """
        Let Mage's scheduler and workers take some steps with a run.

        It is picked up, then each block is queued, running, over.

        :return: The run's status.
        """
        with self._lock:
            run = self.project.pipeline_runs[run_id]
            for _ in range(steps):
                self.project.tick(run)
            return run.status

    def finish(self, run_id: int, status: str = "completed", error: BaseException | None = None) -> None:
        """End a run now: completed, cancelled, or failed (its first unfinished block raises ``error``)."""
        with self._lock:
            self.project.finish(self.project.pipeline_runs[run_id], status, error)

    def executions(self, run_id: int) -> dict[str, int]:
        """Return how often each block of a run was begun."""
        with self._lock:
            return self.project.executions(self.project.pipeline_runs[run_id])

    def lose_jobs(self) -> None:
        """Let the worker pool leave now: what is queued stays so until another job is queued."""
        with self._lock:
            self.project.lose_jobs()

    def stop_scheduler(self) -> None:
        """Let no run move any more; ``/status`` says so."""
        self.project.is_scheduler_running = False

    def start_scheduler(self) -> None:
        """Let runs move again."""
        self.project.is_scheduler_running = True

    def revoke_all_tokens(self) -> None:
        """Forget every session, as when its row is deleted: its token is then invalid, not expired."""
        with self._lock:
            self._account.expiry_of.clear()

    def expire_all_tokens(self) -> None:
        """Let every session be over."""
        with self._lock:
            for token in self._account.expiry_of:
                self._account.expiry_of[token] = self.project.clock()

    # What was asked

    def session_tokens(self) -> list[str]:
        """Return every token that was ever given out, one for each log-in."""
        return list(self._account.log_ins)

    @property
    def log_ins(self) -> int:
        """How many log-ins succeeded."""
        return len(self._account.log_ins)
