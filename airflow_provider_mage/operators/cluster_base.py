"""
What the operators about one Mage Pro cluster share.

A task that turns a cluster on or off is a list of the steps in ``cluster_steps``. Between two of them it may
have to wait, in the worker or in the triggerer; after the latter, another process goes on with the next step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    BaseOperator,
    conf,
)

from airflow_provider_mage._arguments import (
    read_count,
    read_name,
    read_optional_name,
    read_seconds,
    read_switch,
)
from airflow_provider_mage._clusters.goal import IDLE, ClusterGoal
from airflow_provider_mage._compat import is_deferral_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage._clusters.handle import ClusterHandle
    from airflow_provider_mage.api.models import Cluster
    from airflow_provider_mage.api.retries import RetryPolicy
    from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

# From a task and its context to what happens next: see ``cluster_steps``.
Step = Callable[[Any, Any], "ClusterGoal | str | None"]

# The XCom that says whether a task is why its cluster starts.
HAS_ASKED = "has_asked_for_start"


class ClusterOperator(BaseOperator):
    """
    A task about one cluster.

    :param cluster_id: The cluster. (templated)
    :param team_id: The team it belongs to; by default the connection's ``team_id``. (templated)
    :param mage_cloud_conn_id: The Airflow connection to Mage Cloud. (templated)
    :param kwargs: Those of every operator.
    """

    template_fields: Sequence[str] = ("cluster_id", "team_id", "mage_cloud_conn_id")
    ui_color = "#d9f2e6"

    def __init__(
        self,
        *,
        cluster_id: str,
        team_id: str | None = None,
        mage_cloud_conn_id: str = "mage_cloud_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_id = cluster_id
        self.team_id = team_id
        self.mage_cloud_conn_id = mage_cloud_conn_id

    @property
    def hook(self) -> MageCloudHook:
        """
        A hook for the connection as it is now: it may be corrected while the task waits.

        Without one, the cluster cannot have been touched, and no other attempt would help.
        """
        from airflow_provider_mage.hooks.mage_cloud import MageCloudHook

        hook = MageCloudHook(read_name(self.mage_cloud_conn_id, "mage_cloud_conn_id"))
        try:
            hook.connection  # noqa: B018  it is read here
        except AirflowNotFoundException as error:
            failure = AirflowFailException(str(error))
        else:
            return hook
        raise failure

    def handle(self, retries: RetryPolicy | None = None) -> ClusterHandle:
        """Return the cluster by the connection as it is now; a ValueError says that the task names none."""
        from airflow_provider_mage._clusters.handle import ClusterHandle

        hook = self.hook
        return ClusterHandle(
            hook.client.with_retries(retries) if retries else hook.client,
            read_name(self.team_id, "team_id", instead=hook.team_id),
            read_name(self.cluster_id, "cluster_id"),
        )


class SteppedClusterOperator(ClusterOperator):
    """
    A task that turns a cluster on or off and waits for it.

    :param mage_conn_id: The Airflow connection to the cluster's own API. With it, a start waits until that
        answers, too, and a stop can see what runs there. (templated)
    :param wait_for_completion: Whether the task lasts until the cluster is as it should be.
    :param deferrable: Whether the triggerer waits, so that the wait takes up no worker; by default as
        Airflow's configuration says (``[operators] default_deferrable``).
    :param poll_interval: The longest pause between two looks at the cluster, in seconds or as a timedelta,
        like all times here.
    :param timeout: How long to wait before the task fails; None for no limit.
    :param max_unreachable: How long Mage Cloud may be out of reach before the task fails.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id``, and those of every operator.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "mage_conn_id")

    steps: ClassVar[tuple[Step, ...]]
    """What the task consists of; the last one returns its result."""

    # What only some of the operators let authors choose.
    replica_count: int | str | None = None
    undo_on_kill: bool = False
    if_busy: str = "stop"

    def __init__(
        self,
        *,
        mage_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 15.0,
        timeout: float | timedelta | None = 1800.0,
        max_unreachable: float | timedelta = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mage_conn_id = mage_conn_id
        self.wait_for_completion = read_switch(wait_for_completion, "wait_for_completion")
        self.deferrable = read_switch(deferrable, "deferrable")
        self.poll_interval = read_seconds(poll_interval, "poll_interval")
        self.timeout = None if timeout is None else read_seconds(timeout, "timeout")
        self.max_unreachable = read_seconds(max_unreachable, "max_unreachable", least=0.0)
        self.deadline: float | None = None
        self.replicas_before: int | None = None
        # Whether this task is why the cluster starts; None in an instance that has not looked.
        self.has_asked: bool | None = None
        # The cluster as this instance has seen it last.
        self.seen: Cluster | None = None

    def execute(self, context: Context) -> str:
        """Go through the steps."""
        from airflow_provider_mage._clusters.activity import check_if_busy

        self._read_arguments()
        check_if_busy(self.if_busy, self.mage_conn_id)
        self.deadline = None if self.timeout is None else time.time() + self.timeout
        with self._cleaning_up():
            return self._go_on(context, 0)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        deadline: float | None = None,
        step: str | None = None,
        replicas_before: int | None = None,
    ) -> str:
        """
        Go on after the trigger has waited, with what the deferral has stored; return the status.

        Version 0.1.0 stored no step: then it is the last one.
        """
        from airflow_provider_mage.triggers.event import read_event

        self._read_arguments()
        self.deadline, self.replicas_before = deadline, replicas_before
        with self._cleaning_up():
            _, failure = read_event(event, "cluster_id")
            if failure:
                raise failure
            names = [one.__name__ for one in self.steps]
            return self._go_on(context, names.index(step) if step else len(names) - 1)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Clean up if the deferral took too long, of which Airflow tells the operator in no other way."""
        if is_deferral_timeout(next_method, next_kwargs):
            self.on_kill()
        return super().resume_execution(next_method, next_kwargs, context)

    def goal(self, status: str, *, old_status: str | None = None) -> ClusterGoal:
        """
        Return what a step has to wait for: a status, or :data:`~airflow_provider_mage._clusters.goal.IDLE`.

        A failure-like status that the cluster had before says nothing yet.
        """
        return ClusterGoal(
            cluster_id=read_name(self.cluster_id, "cluster_id"),
            status=status,
            old_status=old_status,
            is_order=status != IDLE,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            max_unreachable=self.max_unreachable,
        )

    def _read_arguments(self) -> None:
        """Read all that is templated, before anything is sent."""
        self.handle()
        replica_count = read_count(self.replica_count, "replica_count")
        self.mage_conn_id = read_optional_name(self.mage_conn_id, "mage_conn_id")
        self.replica_count = replica_count

    def _go_on(self, context: Context, number: int) -> str:
        while True:
            outcome = self.steps[number](self, context)
            if isinstance(outcome, str):
                return outcome
            number += 1
            if outcome is not None:
                # Once this task goes on, an idle cluster may be busy again, or be needed by others.
                number = 0 if outcome.wants_idle else number
                self._wait(context, outcome, then=self.steps[number].__name__)

    @contextmanager
    def _cleaning_up(self) -> Iterator[None]:
        """Leave behind what a killed task does, also where this one fails."""
        try:
            yield
        except Exception:
            self.on_kill()
            raise

    def _wait(self, context: Context, goal: ClusterGoal, *, then: str) -> None:
        from airflow_provider_mage._clusters.watch import ClusterWatch
        from airflow_provider_mage._waiting.drive import wait
        from airflow_provider_mage.hooks.mage_cloud import view_cluster

        handle = self.handle()
        if self.deferrable:
            self._defer(context, goal, handle.team_id, then)
        view = view_cluster(
            goal,
            mage_cloud_conn_id=read_name(self.mage_cloud_conn_id, "mage_cloud_conn_id"),
            team_id=handle.team_id,
            mage_conn_id=self.mage_conn_id,
        )
        self.seen = wait(ClusterWatch(goal), view.look, view.ask, handle.client.clock)
        self.log.info("Cluster %s is %r.", goal.cluster_id, self.seen.status)

    def _defer(self, context: Context, goal: ClusterGoal, team_id: str, then: str) -> None:
        from airflow_provider_mage.triggers.cluster import MageClusterTrigger

        if self.undo_on_kill:
            context["ti"].xcom_push(key=HAS_ASKED, value=bool(self.has_asked))
        self.defer(
            trigger=MageClusterTrigger(
                read_name(self.mage_cloud_conn_id, "mage_cloud_conn_id"),
                team_id,
                mage_conn_id=self.mage_conn_id,
                stop_on_kill=self.undo_on_kill and bool(self.has_asked),
                **asdict(goal),
            ),
            method_name="execute_complete",
            kwargs={"deadline": goal.deadline, "step": then, "replicas_before": self.replicas_before},
            # Airflow 3.3 enforces a deferred task's execution_timeout only if it is told so here (observed).
            timeout=self.execution_timeout,
        )
