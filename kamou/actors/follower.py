"""A ``PositionBook`` that follows the journal: what an actor catches up to before it decides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import trio

from kamou.actors.journal import Journal
from kamou.core import model
from kamou.core.book import (
    account_state,
    attribution,
    book_state,
    events,
    late_events,
    orders,
    position_book,
    recent_activity,
    snapshot,
    strategy_events,
    trades,
)
from kamou.core.book.events import StateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.model import TradingState
from kamou.exchange.base import IsHalted
from kamou.store import queries
from kamou.store.journal import Committed
from kamou.store.snapshots import code_hash

EVENTS_AT_ONCE = 400  # about 10 ms of CPU time, most of it decoding

FOLDED_BY = (
    events,
    late_events,
    strategy_events,
    model,
    orders,
    trades,
    attribution,
    account_state,
    recent_activity,
    book_state,
    snapshot,
    position_book,
)
"""Whose code makes the fold: a snapshot by other code is not trusted."""


@cache
def fold_hash() -> str:
    """Of the code that this process runs: read once, for the files may be upgraded under it."""
    return code_hash(FOLDED_BY)


class BookFollower:
    """One actor's own fold of the journal. Two followers at the same seq hold equal books."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.book = PositionBook()

    async def recover(self) -> PositionBook:
        """Fold from the newest trustworthy snapshot, else from the first event.

        ``EVENTS_AT_ONCE`` are folded between two checkpoints.
        """
        newest = self._journal.book_snapshot()
        await trio.lowlevel.checkpoint()
        load = self._journal.runner
        self.book = (
            await load(PositionBook.load, newest.state) if newest is not None else PositionBook()
        )
        return await self.follow()

    async def follow(self) -> PositionBook:
        """As ``catch_up``, in parts, for whoever may be far behind."""
        book = self.book
        await trio.lowlevel.checkpoint()
        while self._journal.head_seq > book.seq:
            for committed in self._journal.tail(book.seq, EVENTS_AT_ONCE):
                book.apply(committed.seq, committed.event)
            # The next actor need not fold it all again, nor this one if it is out of time.
            if self._journal.snapshot_due(book.seq):
                self._journal.save_snapshot(book.seq, book.fork().dump, at_ms=book.marked_ms)
            await trio.lowlevel.checkpoint()
        return book

    def catch_up(self) -> PositionBook:
        """Apply everything committed since; afterwards the book is the journal's committed head."""
        book = self.book
        while self._journal.head_seq > book.seq:
            for committed in self._journal.tail(book.seq):
                book.apply(committed.seq, committed.event)
        return book


class StateFollower:
    """The halt latch, and the governor's state by the journal: the last look before an entry.

    A permit may have been granted, and used, before the halt that was committed since.
    """

    def __init__(self, journal: Journal, latched: IsHalted) -> None:
        self._journal = journal
        self._latched = latched
        span = queries.latest(journal.reader).state
        self._state = TradingState(span.state) if span else TradingState.ACTIVE
        journal.on_publish(self._hear)

    def _hear(self, done: Sequence[Committed]) -> None:
        for committed in done:
            if isinstance(committed.event, StateChanged):
                self._state = committed.event.after

    def halted(self) -> bool:
        """Whether no new risk may leave, as of the journal's committed head."""
        return self._latched() or not self._state.entries_allowed
