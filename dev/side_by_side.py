"""Begin many things at once; whoever asks for one gets that one, or what went wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class SideBySide(Mapping[str, T]):
    """
    Results by name, each made in a thread of its own.

    The threads are daemons: when tests stop early nobody waits for what nobody asks for any more.

    :param begin: what makes each
    """

    def __init__(self, begin: Mapping[str, Callable[[], T]]) -> None:
        self._futures: dict[str, Future[T]] = {name: Future() for name in begin}
        for name, make in begin.items():
            Thread(target=_make, args=(make, self._futures[name]), name=name, daemon=True).start()

    def __getitem__(self, name: str) -> T:
        """
        Wait for one.

        :param name: its name
        :return: what its maker returned; what its maker raised is raised
        """
        return self._futures[name].result()

    def __iter__(self) -> Iterator[str]:
        return iter(self._futures)

    def __len__(self) -> int:
        return len(self._futures)

    def wait(self) -> None:
        """Wait until each is made or has failed."""
        wait(self._futures.values())


def _make(make: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(make())
    except BaseException as error:  # noqa: BLE001  # it belongs to whoever asks for the result
        future.set_exception(error)
