"""The position book folded from a database, for readers outside of the actors."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from kamou.core.day import Day, utc_day
from kamou.core.model import ZERO

if TYPE_CHECKING:
    from kamou.core.book.events import EquityRecorded
    from kamou.core.book.position_book import PositionBook
    from kamou.operator.answers import PlainRow

EVENTS_PER_BATCH = 5_000  # events decoded at once; about 8 MB


@attrs.frozen(kw_only=True)
class RecordedDay:
    """The day that the governor opened last, as of the newest equity snapshot."""

    utc_day: str  # YYYY-MM-DD
    money: Day  # exit costs left out if unknown; before the day's first snapshot: no change
    loss_unknown: str | None = None  # why the loss is unknown; None: it is known


class RecordedBook:
    """A position book that follows the journal over a reading connection.

    The book begins with the newest valid snapshot of this version of Kamou, else with the first
    event.
    """

    def __init__(self) -> None:
        self._book: PositionBook | None = None

    def follow(self, reader: sqlite3.Connection) -> PositionBook:
        """Apply the events that were committed since the last call, and return the book.

        Raises:
            StoreError: this version cannot read an event.
        """
        from kamou.store.journal import read_events
        from kamou.store.queries import head_seq

        head = head_seq(reader)
        book = self._book
        if book is None or book.seq > head:  # another database was restored in its place
            book = _load_newest(reader, head)
        while book.seq < head and (events := read_events(reader, book.seq, EVENTS_PER_BATCH)):
            book.apply_all((committed.seq, committed.event) for committed in events)
        self._book = book
        return book

    def measure_day(self, reader: sqlite3.Connection) -> RecordedDay | None:
        """Return the day as of the newest equity snapshot.

        Return None if no day has opened, if no equity was read, or if the day began without equity.

        Raises:
            StoreError: as ``follow``.
        """
        from kamou.store.latest_events import latest_equity

        book, mark = self.follow(reader), latest_equity(reader)
        if mark is None or not book.day.utc_day or book.day.equity <= 0:
            return None
        marked, unknown = utc_day(mark.at_ms), None
        if marked > book.day.utc_day:
            unknown = f"{marked} has not opened yet; that needs two account reads that agree"
        elif marked < book.day.utc_day or mark.exit_costs is None:
            unknown = "the exit costs of the open positions were not read since 00:00"
        money = Day(equity_start=book.day.equity, equity=book.day.equity)
        if marked >= book.day.utc_day:
            costs = ZERO if unknown or mark.exit_costs is None else mark.exit_costs
            money = book.measure_day(mark.equity, costs, at_ms=mark.at_ms)
        return RecordedDay(utc_day=book.day.utc_day, money=money, loss_unknown=unknown)

    def rows(
        self, reader: sqlite3.Connection, mark: EquityRecorded | None
    ) -> tuple[list[PlainRow], list[PlainRow]]:
        """Return open positions and pending entries as plain data.

        ``mark`` is the equity snapshot whose mark prices value the positions; None: no mark prices.

        Raises:
            StoreError: as ``follow``.
        """
        from kamou.core.book.position_status import (
            MarkRead,
            describe_positions,
            pending_entries,
        )
        from kamou.core.plain import to_plain

        marks = {}
        if mark is not None:
            marks = {m.name: MarkRead(price=Decimal(m.value), at_ms=mark.at_ms) for m in mark.marks}
        book = self.follow(reader)
        positions = [to_plain(row) for row in describe_positions(book, marks)]
        return positions, [to_plain(row) for row in pending_entries(book)]


def _load_newest(reader: sqlite3.Connection, head: int) -> PositionBook:
    """Return the book of the newest snapshot that this code wrote, or an empty book."""
    from kamou.actors.followers import fold_hash
    from kamou.core.book.position_book import PositionBook
    from kamou.store import snapshots

    newest = snapshots.load_snapshot(reader, code=fold_hash(), seq_max=head)
    return PositionBook() if newest is None else PositionBook.load(newest.state)
