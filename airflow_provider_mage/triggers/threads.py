"""
Threads for whatever blocks in a triggerer.

They are this package's own, and a few for each connection: a server that accepts and never answers holds up
those who wait for it, and no other connection, provider or look-up of a name.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_mage._compat import call_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")

# The poller of a connection needs one; the others are for runs that stall, are cancelled or looked after.
THREADS = 4


class Call(Protocol):
    """Calls a function in a thread."""

    async def __call__(self, function: Callable[..., Answer], *args: Any, **options: Any) -> Answer:
        """Return what the function returns, called with these arguments."""


class _Threads:
    def __init__(self, conn_id: str) -> None:
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix=f"mage {conn_id}")
        self.users = 0

    async def call(self, function: Callable[..., Answer], *args: Any, **options: Any) -> Answer:
        return await call_in_thread(self.executor, function, *args, **options)


_in_use: dict[str, _Threads] = {}


@contextmanager
def threads_of(conn_id: str) -> Iterator[Call]:
    """Yield what calls functions in the threads of a connection, shared with whoever else needs them."""
    threads = _in_use.get(conn_id) or _in_use.setdefault(conn_id, _Threads(conn_id))
    threads.users += 1
    try:
        yield threads.call
    finally:
        # Whoever hangs keeps its thread until its request ends; nobody waits for that.
        threads.users -= 1
        if not threads.users:
            del _in_use[conn_id]
            threads.executor.shutdown(wait=False)
