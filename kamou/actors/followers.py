"""Followers of the journal: position books, and the exchange port's trading state.

An actor catches up with the journal before it decides. ``fold_hash`` is the digest of the code that
folds events.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import trio

from kamou import clock
from kamou.actors.journal import Journal
from kamou.core import codes, day, kinds, model, plain, sides
from kamou.core.book import (
    account_state,
    attribution,
    balance_changes,
    book_orders,
    book_state,
    book_trades,
    book_transfers,
    events,
    fold,
    gate_events,
    gate_states,
    instrument_events,
    late_events,
    midnights,
    open_day,
    orders,
    permits,
    position_book,
    recent_activity,
    reconciliation_state,
    retention,
    shadow_events,
    shadow_trades,
    snapshot,
    strategy_events,
    trades,
    trading_status,
)
from kamou.core.book.events import StateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.market import instruments
from kamou.core.model import TradingState
from kamou.exchange.base import IsHalted
from kamou.store import queries
from kamou.store.journal import Committed
from kamou.store.snapshots import code_hash

EVENTS_AT_ONCE = 400  # about 10 ms of CPU time, most of it decoding

FOLDED_BY = (
    clock,
    codes,
    day,
    kinds,
    instruments,
    model,
    plain,
    sides,
    account_state,
    attribution,
    balance_changes,
    book_orders,
    book_state,
    book_trades,
    book_transfers,
    events,
    fold,
    gate_events,
    gate_states,
    instrument_events,
    late_events,
    midnights,
    open_day,
    orders,
    permits,
    position_book,
    recent_activity,
    reconciliation_state,
    retention,
    shadow_events,
    shadow_trades,
    snapshot,
    strategy_events,
    trades,
    trading_status,
)
"""The modules that make the fold. A snapshot that other code made is not used."""


@cache
def fold_hash() -> str:
    """Return the digest of the modules that fold events into a position book.

    The files are read once, because an upgrade may replace them later.
    """
    return code_hash(FOLDED_BY)


class BookFollower:
    """One actor's reading of the journal.

    A recovery folds a book of its own. From then on the followers of a journal share the book that
    recovered last, so each event is folded once: two followers at the same sequence number would
    have equal books. The shared book goes on while its readers wait. A reader that needs the book
    of one instant across a wait takes what it needs before, or a fork.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._own: PositionBook | None = PositionBook()  # until it is recovered

    @property
    def book(self) -> PositionBook:
        """The book as far as it is folded.

        Raises:
            AssertionError: another follower could not fold an event; recover again.
        """
        book = self._own if self._own is not None else self._journal.shared_book
        assert book is not None, "an event could not be folded: each follower must recover"
        return book

    async def recover(self) -> PositionBook:
        """Fold from the newest snapshot that verifies, else from the first event.

        At most ``EVENTS_AT_ONCE`` events are folded between two checkpoints. Then the book replaces
        the shared one.
        """
        newest = self._journal.load_book_snapshot()
        await trio.lowlevel.checkpoint()
        load = self._journal.runner
        self._own = (
            await load(PositionBook.load, newest.state) if newest is not None else PositionBook()
        )
        book = self._journal.shared_book = await self.follow()
        self._own = None
        return book

    async def follow(self) -> PositionBook:
        """Apply all events up to the journal's head, with checkpoints in between.

        Use this for a book that is far behind, such as at a start. It also saves a snapshot that is
        due.
        """
        await trio.lowlevel.checkpoint()
        while self._journal.head_seq > self.book.seq:
            book = self.book
            self._fold(book, self._journal.tail(book.seq, EVENTS_AT_ONCE))
            # A snapshot saves the next actor this work, and this one if its start times out.
            if self._journal.snapshot_due(book.seq):
                self._journal.save_snapshot(
                    book.seq, book.fork().dump, at_ms=book.account.marked_ms
                )
            await trio.lowlevel.checkpoint()
        return self.book

    def catch_up(self) -> PositionBook:
        """Apply all events up to the journal's head, without a checkpoint of Trio."""
        book = self.book
        while self._journal.head_seq > book.seq:
            self._fold(book, self._journal.tail(book.seq))
        return book

    def _fold(self, book: PositionBook, events: Sequence[Committed]) -> None:
        """Apply events; if one cannot be applied, no follower reads the shared book again."""
        try:
            for seq, _, event in events:
                book.apply(seq, event)
        except BaseException:
            if self._own is None:
                self._journal.shared_book = None
            raise


class StateFollower:
    """The halt latch and the journal's trading state, for the exchange port.

    The exchange port checks latch and state before it sends an entry, because the governor may have
    granted the permit before a halt.
    """

    def __init__(self, journal: Journal, latched: IsHalted) -> None:
        self._journal = journal
        self._latched = latched
        span = queries.query_latest(journal.reader).state
        self._state = TradingState(span.state) if span else TradingState.ACTIVE
        journal.on_publish(self._on_publish)

    def _on_publish(self, done: Sequence[Committed]) -> None:
        for committed in done:
            if isinstance(committed.event, StateChanged):
                self._state = committed.event.after

    def halted(self) -> bool:
        """Return True if no entry may be sent, as of the journal's committed head."""
        return self._latched() or not self._state.entries_allowed
