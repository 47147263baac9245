"""For how long, and how, a task waits for its run."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mage._waiting.watch import WaitRules

ON_STALL = ("repair", "warn", "fail")


@dataclass(frozen=True)
class RunRules(WaitRules):
    """
    The options of a wait, as a trigger stores them.

    :param stall_timeout: Seconds for which a run may stand still, with no block running, before it counts as
        stalled.
    :param on_stall: What is done then, one of :data:`ON_STALL`.
    """

    stall_timeout: float = 300.0
    on_stall: str = "repair"

    def __post_init__(self) -> None:
        if self.on_stall not in ON_STALL:
            raise ValueError(f"`on_stall` must be one of {', '.join(ON_STALL)}, not {self.on_stall!r}.")
