"""What the triggers share: one event, whole errors, and nothing undone that somebody else waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_mage._compat import calls_on_kill, is_still_deferred

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_mage.triggers.threads import Call


class MageTrigger(BaseTrigger):
    """
    A trigger that waits for something in Mage, and may undo it when a person acts on the waiting task.

    :param conn_id: The Airflow connection whose threads it uses.
    :param subject: The id of what it waits for, by name, as the event and the task's XCom have it.
    :param undoes_on_kill: Whether it does.
    """

    def __init__(self, conn_id: str, subject: Mapping[str, Any], *, undoes_on_kill: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own has no annotations
        self._conn_id = conn_id
        self._subject = subject
        self._undoes_on_kill = undoes_on_kill
        self.is_undone = False
        """Whether what the task has done was undone, or is about to be, as somebody acted on the task."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how the waiting ended."""
        from airflow_provider_mage.api.errors import MageError
        from airflow_provider_mage.api.foreign_text import excerpt
        from airflow_provider_mage.triggers.event import make_event
        from airflow_provider_mage.triggers.threads import threads_of

        try:
            with threads_of(self._conn_id) as call:
                payload = make_event(**await self._wait(call), **self._subject)
        except asyncio.CancelledError:
            if not calls_on_kill():
                await self.on_kill()
            raise
        except (MageError, TimeoutError) as error:
            payload = make_event(error, **self._subject)
        except Exception as error:
            # A connection that was deleted, say. Of a trigger that raises, the task would hear nothing.
            self.log.exception("The wait has failed.")
            text = "The wait has failed; what was waited for may still be going on."
            failure = MageError(f"{text} {type(error).__name__}: {excerpt(str(error))}")
            payload = make_event(failure, **self._subject)
        # Not inside the `try`: some runners end a trigger at its `yield` with CancelledError, success or not.
        yield TriggerEvent(payload)

    async def on_kill(self) -> None:
        """Undo what the task has done, if it waits no more; called by Airflow 3.3 and later."""
        from airflow_provider_mage.triggers.threads import threads_of

        if not self._undoes_on_kill:
            return
        # Airflow is asked in other threads: those of a server that hangs may all be taken.
        with threads_of("airflow") as ask_airflow, threads_of(self._conn_id) as call:
            if not await is_still_deferred(self, ask_airflow, **self._subject):
                self.is_undone = True
                await call(self._undo)

    async def _wait(self, call: Call) -> dict[str, Any]:
        """Wait, making requests by way of ``call``, and return what else the event is to say."""
        raise NotImplementedError

    def _undo(self) -> None:
        """Undo what the task has done, in a thread."""
        raise NotImplementedError
