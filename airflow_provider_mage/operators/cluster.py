"""Operators that start, stop and restart Mage Pro clusters, and change their environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import get_current_context

from airflow_provider_mage._arguments import HiddenValues, read_count
from airflow_provider_mage._clusters.goal import IDLE
from airflow_provider_mage._compat import is_deferral_timeout, mask_secret
from airflow_provider_mage._runs.cancel import KILL_PATIENCE
from airflow_provider_mage.api.cloud import STOPPED
from airflow_provider_mage.api.errors import MageError
from airflow_provider_mage.operators.cluster_base import ClusterOperator, WaitingClusterOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

HAS_ASKED = "has_asked_for_start"
"""The XCom that says whether a task is why its cluster starts."""

SHORTEST_MASKED = 5
"""Airflow 3 masks no shorter secrets (observed)."""


class MageStartClusterOperator(WaitingClusterOperator):
    """
    Starts a Mage Pro cluster, and is green once it can be used. Nothing is sent if it runs already.

    Everything else in the cluster's config is sent back as it came. Returns the cluster's status.

    :param replica_count: How many replicas it is to have; by default 1, or as many as it has if it runs.
        (templated)
    :param undo_on_kill: Whether a start that this task has asked for is taken back if the task is killed,
        cleared, marked, runs out of time or fails. By default the cluster is left alone.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id``, ``mage_conn_id`` (all templated),
        ``wait_for_completion``, ``deferrable``, ``poll_interval``, ``timeout``, ``max_unreachable``, and
        those of every operator.
    """

    template_fields: Sequence[str] = (*WaitingClusterOperator.template_fields, "replica_count")

    def __init__(
        self, *, replica_count: int | str | None = None, undo_on_kill: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.replica_count = replica_count
        self.undo_on_kill = undo_on_kill

    def execute(self, context: Context) -> str:  # noqa: ARG002  # Airflow's signature
        """Ask for the cluster to run, and wait until it does."""
        try:
            replica_count = read_count(self.replica_count, "replica_count")
            return self._start_and_wait(replica_count, self._new_deadline())
        except Exception:
            self.on_kill()
            raise

    def execute_complete(self, context: Context, event: Any = None, deadline: float | None = None) -> str:
        """
        Go on after the trigger has waited.

        :param context: The task's context.
        :param event: The trigger's event.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :return: The cluster's status.
        """
        try:
            return super().execute_complete(context, event, deadline)
        except Exception:
            self.on_kill()
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Undo the start if the deferral took too long: Airflow tells the operator in no other way."""
        if is_deferral_timeout(next_method, next_kwargs):
            self.on_kill()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Take the start back, if the author wants that."""
        from airflow_provider_mage._clusters.start_stop import stop_cluster

        try:
            if self._stops_on_kill:
                stop_cluster(self._handle(self.hook.retrying_for(KILL_PATIENCE)))
        except Exception as error:  # noqa: BLE001  whatever it is, it must not hide why the task was killed
            self.log.warning("Cluster %s could not be stopped, so it may run. %s", self.cluster_id, error)

    def _defer(self, *goal: Any, **options: Any) -> None:
        if self.undo_on_kill:
            get_current_context()["ti"].xcom_push(key=HAS_ASKED, value=self._has_asked)
        super()._defer(*goal, **options)

    @property
    def _stops_on_kill(self) -> bool:
        if self.undo_on_kill and self._has_asked is None:
            # The task was resumed, perhaps only to be killed: this instance did not defer it.
            ti = get_current_context()["ti"]
            self._has_asked = ti.xcom_pull(task_ids=ti.task_id, key=HAS_ASKED, map_indexes=ti.map_index)
        return self.undo_on_kill and bool(self._has_asked)


class MageStopClusterOperator(WaitingClusterOperator):
    """
    Stops a Mage Pro cluster, and is green once it is down. Nothing is sent if it is down already.

    Everything else in the cluster's config is sent back as it came. Returns the cluster's status. A stop that
    was asked for goes on if the task is killed.

    :param if_busy: What to do if pipelines run on the cluster: ``stop`` it all the same, without looking;
        ``fail``; ``wait`` until they are done; ``cancel_runs`` and then stop. All but ``stop`` need
        ``mage_conn_id``.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id``, ``mage_conn_id`` (all templated),
        ``wait_for_completion``, ``deferrable``, ``poll_interval``, ``timeout``, ``max_unreachable``, and
        those of every operator.
    """

    def __init__(self, *, if_busy: str = "stop", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_busy = if_busy

    def execute(self, context: Context) -> str:
        """Ask for the cluster to stop, and wait until it has."""
        from airflow_provider_mage._clusters.activity import check_if_busy

        check_if_busy(self.if_busy, self.mage_conn_id)
        return self.stop_when_idle(context, deadline=self._new_deadline())

    def stop_when_idle(self, context: Context, event: Any = None, deadline: float | None = None) -> str:
        """
        Stop the cluster, or wait until that is possible and come back here.

        :param context: The task's context.
        :param event: The trigger's event, if it has waited for the cluster's runs.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :return: The cluster's status.
        """
        if event is not None:
            self._check_event(event)
        return self._stop_and_wait(context, deadline)

    def _stop_and_wait(self, context: Context, deadline: float | None) -> str:  # noqa: ARG002
        status, has_asked = self._ask_to_stop(deadline)
        if self.wait_for_completion and has_asked:
            self._wait(STOPPED, deadline, then="execute_complete")
            return self._finish()
        return status

    def _ask_to_stop(self, deadline: float | None) -> tuple[str, bool]:
        from airflow_provider_mage._clusters.activity import cancel_active_runs, require_idle
        from airflow_provider_mage._clusters.start_stop import stop_cluster

        handle = self._handle()
        if self.if_busy != "stop" and handle.read().is_active:
            if self.if_busy == "fail":
                require_idle(self._mage())
            elif self.if_busy == "cancel_runs":
                cancel_active_runs(self._mage())
            elif self._is_busy():
                self._wait(IDLE, deadline, then="stop_when_idle")
        cluster, has_asked = stop_cluster(handle)
        return cluster.status, has_asked

    def _is_busy(self) -> bool:
        from airflow_provider_mage._clusters.activity import active_runs

        return bool(active_runs(self._mage()))


class MageRestartClusterOperator(MageStopClusterOperator):
    """
    Stops a Mage Pro cluster, waits until it is down, starts it again and is green once it can be used.

    Returns the cluster's status. A task that is killed in between leaves the cluster as it is; a retry goes
    on from there.

    :param replica_count: How many replicas it is to have then; by default as many as before, or 1 if it is
        down already, as a retry may find it. (templated)
    :param kwargs: Those of :class:`MageStopClusterOperator`.
    """

    template_fields: Sequence[str] = (*WaitingClusterOperator.template_fields, "replica_count")

    def __init__(self, *, replica_count: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replica_count = replica_count

    def _stop_and_wait(self, context: Context, deadline: float | None) -> str:
        wanted = read_count(self.replica_count, "replica_count")
        replica_count = wanted or self._handle().read().replica_count or None
        _, has_asked = self._ask_to_stop(deadline)
        if has_asked:
            self._wait(STOPPED, deadline, then="start_again", replica_count=replica_count)
        return self.start_again(context, deadline=deadline, replica_count=replica_count)

    def start_again(
        self,
        context: Context,  # noqa: ARG002  # Airflow's signature
        event: Any = None,
        deadline: float | None = None,
        replica_count: int | None = None,
    ) -> str:
        """
        Start the cluster, which is down.

        :param context: The task's context.
        :param event: The trigger's event, if it has waited for the stop.
        :param deadline: The time (as in ``time.time()``) at which waiting ends; None for never.
        :param replica_count: How many replicas it is to have.
        :return: The cluster's status.
        """
        if event is not None:
            self._check_event(event)
        return self._start_and_wait(replica_count, deadline)


class MageUpdateClusterEnvVarsOperator(ClusterOperator):
    """
    Sets and removes environment variables of a Mage Pro cluster; the others stay as they are.

    Returns the names that were given, never a value. Of the rendered ``env_vars``, Airflow keeps the names
    only. Write secrets as templates all the same, such as ``{{ conn.orders_api.password }}``: Airflow also
    keeps what a DAG file itself holds.

    :param env_vars: Texts or numbers, by name. (templated)
    :param remove: Names of variables to remove. (templated)
    :param replace: Whether every other variable that has a plain value is removed, too. Those that Kubernetes
        takes from elsewhere (``valueFrom``) stay.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id`` (all templated), and those of every
        operator.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "env_vars", "remove")

    def __init__(
        self,
        env_vars: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        *,
        replace: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_vars = env_vars
        self.remove = remove
        self.replace = replace

    def render_template(self, content: Any, *args: Any, **options: Any) -> Any:
        """Render a template as ever, and hide the values of ``env_vars``."""
        rendered = super().render_template(content, *args, **options)
        is_env_vars = content is self.env_vars and isinstance(rendered, Mapping)
        return HiddenValues(rendered) if is_env_vars else rendered

    def execute(self, context: Context) -> dict[str, list[str]]:  # noqa: ARG002  # Airflow's signature
        """Change the variables, and see that they are changed."""
        from airflow_provider_mage._clusters.env_vars import check_env_vars, update_env_vars

        env_vars, remove = check_env_vars(self.env_vars or {}, self.remove or ())
        for value in env_vars.values():
            if len(value) >= SHORTEST_MASKED:
                mask_secret(value)
        if not (env_vars or remove or self.replace):
            raise MageError("Neither `env_vars` nor `remove` names a variable, so there is nothing to do.")
        update_env_vars(self._handle(), env_vars, remove=remove, replace=self.replace)
        return {"set": sorted(env_vars), "removed": sorted(remove)}
