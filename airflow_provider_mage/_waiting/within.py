"""Waiting for something for a limited time, in an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

Answer = TypeVar("Answer")


async def within(seconds: float | None, awaitable: Awaitable[Answer]) -> Answer:
    """
    Wait for something, but not for ever.

    Before Python 3.12, ``asyncio.wait_for`` swallows a cancellation that comes as what it waits for is done
    (observed): a trigger whose task was killed would wait on.

    :param seconds: How long; None for as long as it takes.
    :param awaitable: What is waited for; it is cancelled when the time is over.
    :return: What it returns; raises what it raises.
    :raises asyncio.TimeoutError: If the time is over.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    finally:
        task.cancel()  # which does nothing to what is done
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
