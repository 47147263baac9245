"""A cluster's config as it is to be: one thing changed, everything else as it came and in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mage.api.errors import MageAnswerError

if TYPE_CHECKING:
    from collections.abc import Collection

Entry = dict[str, Any]

# Where a config keeps these (Mage Pro API overview).
REPLICA_COUNT, ENV_VARS = "replicaCount", "extraEnvs"


def with_replicas(config: Mapping[str, Any], replica_count: int) -> dict[str, Any]:
    """Return a new config that asks for so many replicas; 0 for a cluster that is to stop."""
    return {**config, REPLICA_COUNT: replica_count}


def with_env_vars(
    config: Mapping[str, Any],
    env_vars: Mapping[str, str],
    *,
    remove: Collection[str] = (),
    replace: bool = False,
) -> dict[str, Any]:
    """
    Return a new config in which some environment variables are set and some are gone.

    With ``replace``, every other one that has a plain value is gone, too. A config whose variables are in no
    form that is known is left as it is, by a MageAnswerError: what is sent back replaces it.
    """
    given = config.get(ENV_VARS) or []
    if not isinstance(given, list):
        raise MageAnswerError(
            f"The environment of this cluster (`{ENV_VARS}` in its config) is no list, so nothing is "
            "changed; see the cluster's page in Mage Cloud."
        )
    entries = merge_env_vars(given, env_vars, remove=remove, replace=replace)
    return {**config, ENV_VARS: entries} if entries or config.get(ENV_VARS) else dict(config)


def merge_env_vars(
    entries: list[Entry],
    env_vars: Mapping[str, str],
    *,
    remove: Collection[str] = (),
    replace: bool = False,
) -> list[Entry]:
    """
    Return the entries of ``extraEnvs`` as they are to be.

    Entries that are not meant stay as they are, in their order, in whatever form; those that are set are
    changed in their place, and new ones come last.

    :param entries: The entries there are.
    :param env_vars: The variables to set. One that had a ``valueFrom`` has a plain value then.
    :param remove: The names of those to remove.
    :param replace: Remove every other entry that has a plain value.
    :return: New entries; the old ones are not changed.
    """
    merged: list[Entry] = []
    for entry in entries:
        name = _name_of(entry)
        if name is not None and name in env_vars:
            kept = {key: value for key, value in entry.items() if key != "valueFrom"}
            merged.append({**kept, "value": env_vars[name]})
        elif name not in remove and not (replace and _is_plain(entry)):
            merged.append(entry)
    known = set(map(_name_of, entries))
    merged.extend({"name": name, "value": value} for name, value in env_vars.items() if name not in known)
    return merged


def _name_of(entry: Any) -> str | None:
    """Return the name of an environment variable; None for an entry that is not of the documented form."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return name if isinstance(name, str) else None


def _is_plain(entry: Any) -> bool:
    return not (isinstance(entry, Mapping) and "valueFrom" in entry)
