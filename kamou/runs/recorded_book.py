"""The position book as the journal has it, for readers of the database outside the actors."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kamou.core.book.events import EquityRecorded
    from kamou.core.book.position_book import PositionBook

DECODED_AT_ONCE = 5_000  # decoded at a time: about 8 MB

Rows = list[dict[str, Any]]


class RecordedBook:
    """A fold that follows the journal over a reading connection.

    It begins at the newest snapshot that this version of Kamou wrote, else at the first event.
    """

    def __init__(self) -> None:
        self._book: PositionBook | None = None

    def follow(self, reader: sqlite3.Connection) -> PositionBook:
        """Apply what was committed since the last call, and return the book.

        Raises:
            StoreError: an event is not of this version.
        """
        from kamou.store.journal import read_events
        from kamou.store.queries import head_seq

        head = head_seq(reader)
        book = self._book
        if book is None or book.seq > head:  # another database, restored in its place
            book = _begin(reader, head)
        while book.seq < head and (found := read_events(reader, book.seq, DECODED_AT_ONCE)):
            book.apply_all((committed.seq, committed.event) for committed in found)
        self._book = book
        return book

    def rows(self, reader: sqlite3.Connection, mark: EquityRecorded | None) -> tuple[Rows, Rows]:
        """Return the open positions at the marks of an equity snapshot, and the pending entries."""
        from kamou.core.book.position_status import (
            MarkRead,
            describe_positions,
            pending_entries,
            plain_row,
        )

        marks = {}
        if mark is not None:
            marks = {m.name: MarkRead(price=Decimal(m.value), at_ms=mark.at_ms) for m in mark.marks}
        book = self.follow(reader)
        held = describe_positions(book, marks)
        return [plain_row(row) for row in held], [plain_row(row) for row in pending_entries(book)]


def _begin(reader: sqlite3.Connection, head: int) -> PositionBook:
    """Return the book of the newest snapshot of this code, or an empty one."""
    from kamou.actors.follower import fold_hash
    from kamou.core.book.position_book import PositionBook
    from kamou.store import snapshots

    newest = snapshots.load_snapshot(reader, code=fold_hash(), seq_max=head)
    return PositionBook() if newest is None else PositionBook.load(newest.state)
