"""A ``Book`` that follows the journal: what an actor catches up to before it decides."""

from __future__ import annotations

from kamou.actors.journal import Journal
from kamou.core.book import Book


class BookFollower:
    """One actor's own fold of the journal. Two followers at the same seq hold equal books."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.book = Book()

    def recover(self) -> Book:
        """Fold from the newest trustworthy snapshot, else from the first event."""
        snapshot = self._journal.book_snapshot()
        self.book = Book.load(snapshot.state) if snapshot is not None else Book()
        return self.catch_up()

    def catch_up(self) -> Book:
        """Apply everything committed since; afterwards the book is the journal's committed head."""
        book = self.book
        if self._journal.head_seq > book.seq:
            for committed in self._journal.tail(book.seq):
                book.apply(committed.seq, committed.event)
        return book
