"""What all servers of tests, demo and benchmarks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Server(ABC):
    """A server that lives as long as its ``with`` block, and never longer than this process."""

    @abstractmethod
    def start(self) -> None:
        """Start the server and return when it can be used."""

    @abstractmethod
    def close(self) -> None:
        """End the server, also one that has not started, and remove everything."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
