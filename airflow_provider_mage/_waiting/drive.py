"""The two ways to go through a wait: a worker sleeps, a triggerer awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_mage._waiting.watch import Over, Wait, Watch
from airflow_provider_mage.api.errors import MageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_mage._waiting.watch import Seen
    from airflow_provider_mage.api.retries import Clock


def look_once(
    watch: Watch[Seen], look: Callable[[], Seen], act: Callable[[Any], Any], clock: Clock
) -> Over[Seen] | Wait:
    """
    Look, and do what is to be done at once; raises what :meth:`Watch.step` raises.

    :param watch: The rules.
    :param look: Looks at what is waited for.
    :param act: Does what is to be done, and may return what it has seen.
    :param clock: The time.
    :return: Whether the wait is over, or when to look again.
    """
    try:
        sighting: Any = look()
    except MageError as error:
        sighting = error
    while not isinstance(step := watch.step(sighting, clock.time()), (Over, Wait)):
        sighting = act(step)
    return step


def wait(
    watch: Watch[Seen],
    look: Callable[[], Seen],
    act: Callable[[Any], Any],
    clock: Clock,
    *,
    first: Seen | None = None,
) -> Seen:
    """Wait in a worker, as :func:`look_once` looks; what was seen ``first``, just now, saves a look."""
    step = look_once(watch, look if first is None else lambda: first, act, clock)
    while isinstance(step, Wait):
        clock.sleep(step.look_in)
        step = look_once(watch, look, act, clock)
    return step.seen


async def wait_async(
    watch: Watch[Seen],
    look: Callable[[Wait], Awaitable[Any]],
    act: Callable[[Any], Awaitable[Any]],
    clock: Callable[[], float],
) -> Seen:
    """
    Wait in a triggerer; raises what :meth:`Watch.step` raises.

    :param watch: The rules.
    :param look: Waits for as long as it is told, and returns what it has seen; None if nothing.
    :param act: Does what is to be done, and may return what it has seen.
    :param clock: Returns the time, as in ``time.time()``.
    :return: What ended the wait.
    """
    sighting = None
    while True:
        step = watch.step(sighting, clock())
        if isinstance(step, Over):
            return step.seen  # type: ignore[no-any-return]
        sighting = await (look(step) if isinstance(step, Wait) else act(step))
