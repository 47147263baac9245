"""For how long, and how, a task waits for its run."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mage._runs.log_lines import LAST_LINES
from airflow_provider_mage._waiting.watch import WaitRules

ON_STALL = ("repair", "warn", "fail")
ON_FAILURE = "on_failure"
USUAL_LINES = 1000


@dataclass(frozen=True)
class RunRules(WaitRules):
    """
    The options of a wait, as a trigger stores them.

    :param stall_timeout: Seconds for which a run may stand still, with no block running, before it counts as
        stalled.
    :param on_stall: What is done then, one of :data:`ON_STALL`.
    :param stream_logs: Whether what the blocks write is told while they run; :data:`ON_FAILURE` for the last
        lines of one that fails.
    :param max_log_lines: The most lines of that.
    """

    stall_timeout: float = 300.0
    on_stall: str = "repair"
    stream_logs: bool | str = ON_FAILURE
    max_log_lines: int = USUAL_LINES

    def __post_init__(self) -> None:
        if self.on_stall not in ON_STALL:
            raise ValueError(f"`on_stall` must be one of {', '.join(ON_STALL)}, not {self.on_stall!r}.")

    @property
    def last_log_lines(self) -> int:
        """How many of the last lines of a block that has failed are told."""
        return min(LAST_LINES, self.max_log_lines) if self.stream_logs == ON_FAILURE else 0
