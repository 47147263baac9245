"""
One poller per connection and triggerer process, however many runs are waited for.

A Mage server is one thread and one request about one run costs it about 17 ms (observed), so asking run by
run takes it down at a few hundred. A round of this poller is two requests instead.

The first reads the feed, that is, the runs that ended last. Correctness does not rest on it: what it says is
checked with the run itself before a watcher hears of it, at one request for each run that ends, or, where
many end together, with the list that shows each of them in full.

What it does not say (a run was deleted, or its pipeline schedule; a clock was set back) the second request
finds. Every so often it reads a page of the list of active runs, block by block: a watched run that should be
on that page and is not is looked at itself, and the watchers of the others learn how these get on. In between
it looks at one watched run itself, in turn, so that in the end nothing rests on any list.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_mage._runs.run_lists import ACTIVE, LONGEST_PAGE, ActivePages, Feed
from airflow_provider_mage._runs.stall import HandleStall, StallMemory
from airflow_provider_mage._runs.watch import act
from airflow_provider_mage._waiting.watch import Reachable, Unreachable
from airflow_provider_mage._waiting.within import within
from airflow_provider_mage.api.errors import MageAnswerError, MageError, MageTransportError
from airflow_provider_mage.api.foreign_text import excerpt
from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from datetime import datetime

    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

    Sighting = PipelineRun | MageError | Unreachable | Reachable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# So many runs or fewer are simply looked at themselves.
FEW = 2

SHORTEST_ROUND = 1.0
# The part of Mage's one thread that polling may take up, unless a watcher's poll interval asks for more.
FEED_SHARE = 0.05

LONGEST_BACK_OFF = 60.0
# Seconds to do without a feed that cannot be read, before it is tried again.
NO_FEED_FOR = 60.0


class Ask(Protocol):
    """Asks Mage, in a thread."""

    async def __call__(self, question: Callable[[MageClient], Answer]) -> Answer:
        """Return what the question returns, which is called with a client that does not repeat requests."""


@dataclass(eq=False)
class Watcher:
    """
    One waiting trigger.

    :param pipeline_run_id: The run it waits for.
    :param poll_interval: Its worst case between the end of the run and its hearing of it, in seconds.
    :param created_after: A time at or before the run's creation, by Mage's clock; None if unknown.
    :param blocks_of: The run's pipeline, if it is looked at block by block as often as that; else empty.
    """

    pipeline_run_id: int
    poll_interval: float
    created_after: datetime | None = None
    blocks_of: str = ""
    sightings: asyncio.Queue[Sighting] = field(default_factory=asyncio.Queue, repr=False)
    pause: float = SHORTEST_ROUND


class RunPoller:
    """
    Looks at a Mage server on behalf of all watchers of one connection.

    :param ask: Asks Mage.
    :param on_idle: Called when the last watcher has left.
    :param on_round: Told how many seconds a round took.
    """

    def __init__(
        self,
        ask: Ask,
        on_idle: Callable[[], object] = lambda: None,
        on_round: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.ask = ask
        self._on_idle = on_idle
        self._on_round = on_round
        self._watchers: dict[int, list[Watcher]] = {}
        # The runs to be looked at themselves, in this order; it outlasts rounds that go wrong.
        self._due: dict[int, None] = {}
        self._feed = Feed()
        self._no_feed_until = self._no_blocks_until = 0.0
        self._pages = ActivePages()
        self._stalls = StallMemory()
        self._stalls_in_turn = asyncio.Lock()
        self._has_answered = False
        self._answered_at = time.time()
        self._patience = 0.0
        self._round_took = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watch(self, watcher: Watcher) -> AsyncIterator[asyncio.Queue[Sighting]]:
        """Look out for one run, and yield a queue of what is seen of it."""
        self._watchers.setdefault(watcher.pipeline_run_id, []).append(watcher)
        self._feed.welcome()
        self._wake.set()
        if self._task is None:
            # In a context of its own, else its log lines would go to the log of whichever task came first.
            create_task = asyncio.get_running_loop().create_task
            self._task = contextvars.Context().run(create_task, self._run())
        try:
            yield watcher.sightings
        finally:
            self._leave(watcher)

    async def act(self, step: Any) -> PipelineRun | MageError | None:
        """Do what the watch of a run says is to be done, and return what was seen of the run, if anything."""
        # Runs that stand still come one after the other, so that what is found out about one helps the next.
        async with self._stalls_in_turn if isinstance(step, HandleStall) else nullcontext():
            return await self.ask(lambda client: act(client, step, self._stalls))

    def _leave(self, watcher: Watcher) -> None:
        others = [other for other in self._watchers[watcher.pipeline_run_id] if other is not watcher]
        if others:
            self._watchers[watcher.pipeline_run_id] = others
        else:
            del self._watchers[watcher.pipeline_run_id]
            self._due.pop(watcher.pipeline_run_id, None)
            self._pages.forget(watcher.pipeline_run_id)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None
            self._on_idle()

    async def _run(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            self._has_answered, self._patience = False, 0.0
            started = asyncio.get_running_loop().time()
            try:
                await self._round()
            except MageError as error:
                self._tell(self._everybody(), self._miss(error))
                failures += 1
                pause = _back_off(error, failures)
            except Exception as error:
                log.exception("The poller of Mage runs has failed.")
                self._tell(
                    self._everybody(),
                    MageError(f"The poller has failed ({error!r}); see the triggerer's log."),
                )
                failures += 1
                pause = LONGEST_BACK_OFF
            else:
                if failures:
                    # Else each would take Mage for lost until its own run is looked at, minutes later.
                    self._tell(self._everybody(), Reachable())
                failures = 0
                self._round_took = asyncio.get_running_loop().time() - started
                self._on_round(self._round_took)
                pause = max(self._next_pause(), self._patience)
            await self._pause(pause, is_interruptible=not (failures or self._patience))

    async def _pause(self, seconds: float, *, is_interruptible: bool) -> None:
        """Sleep, but do not let a newcomer wait longer than the shortest round."""
        await asyncio.sleep(min(seconds, SHORTEST_ROUND))
        rest = seconds - SHORTEST_ROUND
        if rest <= 0:
            return
        if not is_interruptible:
            await asyncio.sleep(rest)
            return
        try:
            await within(rest, self._wake.wait())
        except asyncio.TimeoutError:
            return

    async def _round(self) -> None:
        fresh = await self._runs_to_look_at()
        # What is due already went wrong last time: it comes last.
        self._due = dict.fromkeys([*(run_id for run_id in fresh if run_id not in self._due), *self._due])
        for run_id in list(self._due):
            # A watcher may have left while another run was looked at.
            if run_id in self._due and not await self._look(run_id):
                break

    async def _runs_to_look_at(self) -> list[int]:
        ended = await self._read_feed() if len(self._watchers) > FEW else None
        if ended is None:
            return list(self._watchers)
        if len(ended) > FEW:
            ended = await self._tell_completed(ended)
        has_blocks = any(watcher.blocks_of for watcher in self._everybody())
        if has_blocks:
            ended = list(dict.fromkeys([*ended, *await self._read_blocks()]))
        if self._pages.is_due():
            return [*ended, *await self._read_page()]
        # A round is to have as many requests with blocks as it has without, and one for all blocks.
        return ended if ended and has_blocks else [*ended, *self._next_turn()]

    async def _look(self, run_id: int) -> bool:
        """Look at one run itself, and tell its watchers. Return whether to go on with the next one."""
        del self._due[run_id]
        try:
            run = await self.ask(lambda client: client.get_pipeline_run(run_id))
        except MageAnswerError as error:
            # Mage, or a proxy, talks nonsense of this run: that concerns those who wait for it.
            self._has_answered = True
            self._tell(self._watchers.get(run_id, []), error)
            return True
        except MageError as error:
            if error.may_pass and run_id in self._watchers:
                self._due[run_id] = None  # after the others: it may be this run that is too much for Mage
            if error.may_pass and not self._has_answered:
                raise
            if error.refused:
                raise
            self._patience = error.retry_after or 0.0
            self._tell(self._watchers.get(run_id, []), self._miss(error))
            return not error.may_pass
        except Exception as error:
            # The Airflow connection was deleted, say.
            log.exception("Cannot look at run %s.", run_id)
            failure = MageError(
                f"Cannot look at run {run_id}, which may still be going on. {type(error).__name__}: "
                f"{excerpt(str(error))}"
            )
            self._tell(self._watchers.get(run_id, []), failure)
            return True
        self._note_answer()
        self._tell(self._watchers.get(run_id, []), run)
        return True

    async def _tell_completed(self, ended: list[int]) -> list[int]:
        """
        Tell the watchers of runs that have completed together, and return those that are to be looked at.

        Why a run has failed is said by the run itself only. And of one that was repaired, another web server
        of the same Mage may still list the failure.
        """
        left = dict.fromkeys(ended)
        try:
            async for run in self._feed.in_full(self.ask, len(ended)):
                if run.id in left and run.status is PipelineRunStatus.COMPLETED and run.completed_at:
                    del left[run.id]
                    self._tell(self._watchers.get(run.id, []), run)
        except Exception as error:  # noqa: BLE001  the runs themselves will tell what is wrong, if anything
            log.warning("Cannot list the runs that have ended; looking at each. %s", error)
        return list(left)

    async def _read_blocks(self) -> list[int]:
        """
        Read the active runs of whose blocks tasks wait, all in one request.

        :return: Such a run that should be among them and is not: one in a round, as the feed tells most of
            them. None of the list is missed for long, as then each run is looked at in its turn.
        """
        wanted = {
            watcher.pipeline_run_id: watcher.blocks_of for watcher in self._everybody() if watcher.blocks_of
        }
        pipelines = sorted(set(wanted.values()))
        if asyncio.get_running_loop().time() < self._no_blocks_until:
            return []
        try:
            runs = await self.ask(
                lambda client: client.list_pipeline_runs(
                    pipeline_uuids=pipelines, statuses=ACTIVE, limit=LONGEST_PAGE, page_size=LONGEST_PAGE
                )
            )
        except Exception as error:  # noqa: BLE001  the runs themselves will tell what is wrong, if anything
            log.warning("Cannot list the active runs of %s; looking at each for now. %s", pipelines, error)
            self._no_blocks_until = asyncio.get_running_loop().time() + NO_FEED_FOR
            return []
        active = self._tell_each(runs)
        oldest = min(active, default=0) if len(runs) >= LONGEST_PAGE else 0
        return [run_id for run_id in wanted if run_id >= oldest and run_id not in active][:1]

    def _tell_each(self, runs: Iterable[PipelineRun]) -> set[int]:
        """Tell the watchers of each of these runs, and return their ids."""
        active = {run.id: run for run in runs}
        for run_id, run in active.items():
            self._tell(self._watchers.get(run_id, []), run)
        return set(active)

    async def _read_page(self) -> list[int]:
        """Read some active runs, and return the watched ones that should be among them and are not."""
        pages = self._pages
        try:
            runs, first, end = await pages.read(self.ask, oldest=min(self._watchers, default=0))
        except Exception as error:  # noqa: BLE001  the runs themselves will tell what is wrong, if anything
            # Mage has answered a moment ago, so this may be too much for it: runs carry their variables.
            log.warning("Cannot read %s active runs at once. %s", pages.length, error)
            self._patience = getattr(error, "retry_after", None) or 0.0
            pages.skip()
            return []
        active = self._tell_each(runs)
        return [run_id for run_id in self._watchers if first <= run_id < end and run_id not in active]

    async def _read_feed(self) -> list[int] | None:
        """Return the watched runs that have ended since the round before; None if that cannot be read."""
        if asyncio.get_running_loop().time() < self._no_feed_until:
            return None
        bounds = [watcher.created_after for watcher in self._everybody()]
        known_bounds = [bound for bound in bounds if bound is not None]
        try:
            ended = await self._feed.read(
                self.ask, created_after=min(known_bounds) if len(known_bounds) == len(bounds) else None
            )
        except Exception as error:
            is_odd = isinstance(error, MageAnswerError)
            is_away = isinstance(error, MageTransportError) and not is_odd
            if is_away or (isinstance(error, MageError) and error.refused):
                raise
            # A list may be too large, or no list, and a role may be one that reads runs but no lists.
            log.warning("Cannot list runs; looking at each for now. %s", error)
            self._no_feed_until = asyncio.get_running_loop().time() + NO_FEED_FOR
            return None
        self._note_answer()
        return [run_id for run_id in self._watchers if run_id in ended]

    def _note_answer(self) -> None:
        self._has_answered, self._answered_at = True, time.time()

    def _miss(self, error: MageError) -> Unreachable | MageError:
        """Say since when Mage has not answered: a watcher knows its own run, which is rarely looked at."""
        return Unreachable(error, self._answered_at) if error.may_pass else error

    def _next_turn(self) -> list[int]:
        """Return the watched run whose turn is longest ago, if there is one."""
        run_id = next(iter(self._watchers), None)
        if run_id is None:
            return []
        # A dictionary keeps its order: this run goes to its end.
        self._watchers[run_id] = self._watchers.pop(run_id)
        return [run_id]

    def _next_pause(self) -> float:
        watchers = self._everybody()
        for watcher in watchers:
            watcher.pause = min(watcher.pause * 1.5, watcher.poll_interval)
        wanted = min((watcher.pause for watcher in watchers), default=SHORTEST_ROUND)
        worst_case = min((watcher.poll_interval for watcher in watchers), default=SHORTEST_ROUND)
        affordable = self._round_took / FEED_SHARE
        pause = min(max(wanted, affordable, SHORTEST_ROUND), worst_case)
        return pause * random.uniform(0.9, 1.0)  # noqa: S311  jitter, not a secret

    def _everybody(self) -> list[Watcher]:
        return [watcher for watchers in self._watchers.values() for watcher in watchers]

    @staticmethod
    def _tell(watchers: list[Watcher], sighting: Sighting) -> None:
        for watcher in watchers:
            watcher.sightings.put_nowait(sighting)


def _back_off(error: MageError, failures: int) -> float:
    usual = min(SHORTEST_ROUND * 2.0**failures, LONGEST_BACK_OFF) * random.uniform(0.75, 1.0)  # noqa: S311
    return max(usual, error.retry_after or 0.0)
