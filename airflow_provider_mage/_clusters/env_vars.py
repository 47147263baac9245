"""The environment variables of a cluster: what becomes of the list when some are set and some removed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_mage._arguments import check_defined, read_mapping, read_names, shown
from airflow_provider_mage._clusters.change import ConfigChange, change_cluster
from airflow_provider_mage.api.cluster_config import with_env_vars

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_mage._clusters.handle import ClusterHandle

log = logging.getLogger(__name__)


def update_env_vars(
    handle: ClusterHandle,
    env_vars: Mapping[str, str],
    *,
    remove: Collection[str] = (),
    replace: bool = False,
) -> bool:
    """
    Set and remove environment variables of a cluster, with ``replace`` every other plain one, too.

    Returns whether anything had to be changed; raises a MageError if others keep changing the cluster.
    """

    def apply(config: Mapping[str, Any]) -> dict[str, Any]:
        return with_env_vars(config, env_vars, remove=remove, replace=replace)

    change = ConfigChange(apply, None, lambda cluster: apply(cluster.config) == cluster.config)
    has_changed = change_cluster(handle, change)[1]
    log.info(
        "Environment of cluster %s: set %s, removed %s%s.",
        handle.cluster_id,
        ", ".join(sorted(env_vars)) or "nothing",
        "every other plain variable" if replace else ", ".join(sorted(remove)) or "nothing",
        "" if has_changed else ", which was so already",
    )
    return has_changed


def check_env_vars(env_vars: Any, remove: Any) -> tuple[dict[str, str], list[str]]:
    """
    Read what an author has given, and say what is wrong with it without showing a value.

    :param env_vars: Texts or numbers, by name; None for none.
    :param remove: Names; None for none.
    :return: Texts by name, and names.
    :raises ValueError: If it is nothing that an environment can hold, a name cannot be one, or is given
        twice.
    """
    given = {} if env_vars is None else read_mapping(env_vars, "env_vars")
    names = read_names(remove, "remove")
    for name, value in given.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"`env_vars`: {shown(name)} cannot be the name of an environment variable.")
        check_defined(value, f"`env_vars`: the value of {name!r}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(
                f"`env_vars`: the value of {name!r} must be a text or a number, not {type(value).__name__}."
            )
        if name in names:
            raise ValueError(f"`env_vars` sets {name!r}, and `remove` removes it: name it once.")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"`env_vars`: the value of {name!r} holds a NUL character: remove it.")
    return {name: str(value) for name, value in given.items()}, names
