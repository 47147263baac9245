"""Operators that start, stop and restart Mage Pro clusters, and change their environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import get_current_context

from airflow_provider_mage._arguments import read_choice, read_switch
from airflow_provider_mage._clusters.activity import IF_BUSY
from airflow_provider_mage._compat import mask_secret
from airflow_provider_mage.operators import cluster_steps
from airflow_provider_mage.operators.cluster_base import HAS_ASKED, ClusterOperator, SteppedClusterOperator
from airflow_provider_mage.operators.hidden import HidesRenderedField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mage.operators.cluster_base import Step

# Airflow 3 masks no shorter secrets (observed).
SHORTEST_MASKED = 5


class MageStartClusterOperator(SteppedClusterOperator):
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

    template_fields: Sequence[str] = (*SteppedClusterOperator.template_fields, "replica_count")
    steps: ClassVar[tuple[Step, ...]] = (cluster_steps.start, cluster_steps.finish)

    def __init__(
        self, *, replica_count: int | str | None = None, undo_on_kill: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.replica_count = replica_count
        self.undo_on_kill = read_switch(undo_on_kill, "undo_on_kill")

    def on_kill(self) -> None:
        """Take the start back, if the author wants that and it was this task that asked for it."""
        from airflow_provider_mage._clusters.start_stop import stop_cluster
        from airflow_provider_mage.api.retries import KILLED

        if not self.undo_on_kill:
            return
        try:
            if self.has_asked is None:
                # The task was resumed, perhaps only to be killed: this instance did not defer it.
                ti = get_current_context()["ti"]
                self.has_asked = ti.xcom_pull(task_ids=ti.task_id, key=HAS_ASKED, map_indexes=ti.map_index)
            if self.has_asked:
                stop_cluster(self.handle(KILLED))
        except Exception as error:  # noqa: BLE001  whatever it is, it must not hide why the task was killed
            self.log.warning("Cannot stop cluster %s: it may be running. %s", self.cluster_id, error)


class MageStopClusterOperator(SteppedClusterOperator):
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

    steps: ClassVar[tuple[Step, ...]] = (
        cluster_steps.clear_the_way,
        cluster_steps.stop,
        cluster_steps.finish,
    )

    def __init__(self, *, if_busy: str = "stop", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_busy = read_choice(if_busy, "if_busy", IF_BUSY)


class MageRestartClusterOperator(SteppedClusterOperator):
    """
    Stops a Mage Pro cluster, waits until it is down, starts it again and is green once it can be used.

    Returns the cluster's status. A task that is killed in between leaves the cluster as it is; a retry goes
    on from there.

    :param replica_count: How many replicas it is to have then; by default as many as before, or 1 if it is
        down already, as a retry may find it. (templated)
    :param if_busy: As for :class:`MageStopClusterOperator`.
    :param kwargs: ``cluster_id``, ``team_id``, ``mage_cloud_conn_id``, ``mage_conn_id`` (all templated),
        ``wait_for_completion``, ``deferrable``, ``poll_interval``, ``timeout``, ``max_unreachable``, and
        those of every operator.
    """

    template_fields: Sequence[str] = (*SteppedClusterOperator.template_fields, "replica_count")
    steps: ClassVar[tuple[Step, ...]] = (
        cluster_steps.note_replicas,
        cluster_steps.clear_the_way,
        cluster_steps.stop,
        cluster_steps.start,
        cluster_steps.finish,
    )

    def __init__(
        self, *, replica_count: int | str | None = None, if_busy: str = "stop", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.replica_count = replica_count
        self.if_busy = read_choice(if_busy, "if_busy", IF_BUSY)


class MageUpdateClusterEnvVarsOperator(HidesRenderedField, ClusterOperator):
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
    hidden_field = "env_vars"

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
        self.replace = read_switch(replace, "replace")

    def execute(self, context: Context) -> dict[str, list[str]]:  # noqa: ARG002  # Airflow's signature
        """Change the variables, and see that they are changed."""
        from airflow_provider_mage._clusters.env_vars import check_env_vars, update_env_vars

        env_vars, remove = check_env_vars(self.reveal(), self.remove)
        for value in env_vars.values():
            if len(value) >= SHORTEST_MASKED:
                mask_secret(value)
        if not (env_vars or remove or self.replace):
            raise ValueError("Neither `env_vars` nor `remove` names a variable, so there is nothing to do.")
        update_env_vars(self.handle(), env_vars, remove=remove, replace=self.replace)
        return {"set": sorted(env_vars), "removed": sorted(remove)}
