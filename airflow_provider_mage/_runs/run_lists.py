"""The two lists of Mage's that the poller reads: the runs that ended last, and those that are active."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_mage.api.models import PipelineRunStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from airflow_provider_mage._runs.poller import Ask
    from airflow_provider_mage.api.client import MageClient
    from airflow_provider_mage.api.models import PipelineRun

ACTIVE = (PipelineRunStatus.INITIAL, PipelineRunStatus.RUNNING)
TERMINAL = (PipelineRunStatus.COMPLETED, PipelineRunStatus.FAILED, PipelineRunStatus.CANCELLED)

FEED_LENGTH = 20
# Runs in one look at the feed; the deep one is for newcomers, and for when there is a gap to the look before.
# Each run costs Mage a third of a millisecond (observed), and a server on which more than two end each second
# is rare.
DEEP_FEED_LENGTH = 1000

DEEP_LOOK_EVERY = 30.0

PAGE_EVERY = 30.0
PAGE_TAKES = 0.05
FIRST_PAGE_LENGTH = 20
# The list of active runs is read in pages, one every 30 s, each of as many runs as keep Mage's one thread
# busy for a twentieth of a second. At about 1 ms a run (observed) that is some 40, so that 100 are through
# after two minutes, and a thousand after a quarter of an hour.
LONGEST_PAGE = 100


class Feed:
    """The runs that ended last, whoever waits for them."""

    def __init__(self) -> None:
        self._has_newcomers = False
        self._deep_look_at = -math.inf
        self._last: frozenset[tuple[int, PipelineRunStatus]] = frozenset()
        self._created_after: datetime | None = None

    def welcome(self) -> None:
        """Take note of a newcomer: its run may have ended a while ago, if somebody else waited before."""
        self._has_newcomers = True

    async def read(self, ask: Ask, created_after: datetime | None) -> set[int]:
        """
        Return the runs that have ended since the look before, and others that are over.

        :param ask: Asks Mage.
        :param created_after: Only runs created after this need be in it; None for all.
        :return: Their ids.
        """
        now = asyncio.get_running_loop().time()
        is_deep = self._has_newcomers and now - self._deep_look_at > DEEP_LOOK_EVERY
        runs = await self._read(ask, created_after, DEEP_FEED_LENGTH if is_deep else FEED_LENGTH)
        if not is_deep and len(runs) == FEED_LENGTH and runs.isdisjoint(self._last):
            # More runs have ended since than one look holds.
            runs = await self._read(ask, created_after, DEEP_FEED_LENGTH)
        if is_deep:
            self._has_newcomers, self._deep_look_at = False, now
        self._last, self._created_after = runs, created_after
        return {run_id for run_id, _ in runs}

    async def in_full(self, ask: Ask, count: int) -> AsyncIterator[PipelineRun]:
        """
        Read the runs that the last look has found, with all that Mage shows of them, page by page.

        As many as are wanted, and more if others have ended as well.
        """
        length = min(len(self._last), 2 * count + FEED_LENGTH)
        for offset in range(0, length, LONGEST_PAGE):
            runs = await ask(partial(_ended_runs, created_after=self._created_after, offset=offset))
            for run in runs:
                yield run

    @staticmethod
    async def _read(
        ask: Ask, created_after: datetime | None, length: int
    ) -> frozenset[tuple[int, PipelineRunStatus]]:
        runs = await ask(partial(_ended_runs, created_after=created_after, length=length, short=True))
        return frozenset((run.id, run.status) for run in runs)


def _ended_runs(
    client: MageClient,
    *,
    created_after: datetime | None,
    length: int = LONGEST_PAGE,
    offset: int = 0,
    short: bool = False,
) -> list[PipelineRun]:
    return client.list_pipeline_runs(
        statuses=TERMINAL,
        order_by="updated_at desc,id desc",
        created_after=created_after,
        limit=length,
        offset=offset,
        page_size=length,
        short=short,
    )


class ActivePages:
    """The runs that are not over, block by block and page by page, the newest first."""

    def __init__(self) -> None:
        self.length = FIRST_PAGE_LENGTH
        self._offset = 0
        self._down_to = math.inf
        self._next_at = -math.inf

    def is_due(self) -> bool:
        """Whether it is time for the next page."""
        return asyncio.get_running_loop().time() >= self._next_at

    async def read(self, ask: Ask, oldest: int) -> tuple[list[PipelineRun], float, float]:
        """
        Read the next page.

        :param ask: Asks Mage.
        :param oldest: Older runs than this one need not be read.
        :return: The page, and from which id up to which (without it) it holds all runs that are active.
        """
        began = asyncio.get_running_loop().time()
        length, offset = self.length, self._offset
        runs = await ask(
            lambda client: client.list_pipeline_runs(
                statuses=ACTIVE, limit=length, offset=offset, page_size=length
            )
        )
        took = asyncio.get_running_loop().time() - began
        # Runs that end meanwhile move the rest up, past the offset. One that is skipped so is taken for
        # missing, and looked at itself: that costs a request, and nothing else.
        down_to = min((run.id for run in runs), default=-math.inf)
        is_last = len(runs) < self.length or down_to <= oldest
        first, end = -math.inf if is_last else down_to, self._down_to
        self._offset, self._down_to = (0, math.inf) if is_last else (self._offset + self.length, first)
        affordable = int(max(1, len(runs)) * PAGE_TAKES / max(took, 0.001))
        self._put_off(min(affordable, 2 * self.length, LONGEST_PAGE))
        return [run for run in runs if not run.status.is_terminal], first, end

    def skip(self) -> None:
        """Go on although a page could not be read: with fewer runs, and in the end past what is too much."""
        self._offset += self.length == 1
        self._put_off(self.length // 2)

    def forget(self, pipeline_run_id: int) -> None:
        """Make up for a run that is no longer active: those behind it have moved up."""
        if pipeline_run_id >= self._down_to:
            self._offset = max(0, self._offset - 1)

    def _put_off(self, length: int) -> None:
        self.length = max(1, length)
        self._next_at = asyncio.get_running_loop().time() + PAGE_EVERY
