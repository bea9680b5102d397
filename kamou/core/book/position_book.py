"""Position book: the state that actors decide on, folded from events.

Every actor that decides applies the journal's newest events to a ``PositionBook`` before it
decides, so all actors decide on the same facts. ``apply`` accepts late and repeated events; an
assertion fails if Kamou made a wrong event. The actors share one book. Treat it and its parts as
read-only: only the fold (``core/book/fold.py``) changes them.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kamou.core.book import snapshot
from kamou.core.book.book_state import BookState
from kamou.core.book.events import Event
from kamou.core.book.fold import HANDLERS


@attrs.define(kw_only=True)
class PositionBook(BookState):
    """The folded state of the journal. Only ``apply`` changes it."""

    # --- snapshots ---------------------------------------------------------------

    def dump(self) -> bytes:
        """Return the book as bytes. Books with the same history give the same bytes."""
        return snapshot.dump_value(self)

    @staticmethod
    def load(data: bytes) -> PositionBook:
        """Return the book that ``dump`` wrote.

        Raises:
            ValueError, KeyError, TypeError, ArithmeticError: the bytes are not a dumped book.
        """
        return snapshot.load_value(PositionBook, data)

    def fork(self) -> PositionBook:
        """Return an independent copy, to which events can be applied as a trial."""
        return snapshot.copy_value(self)

    # --- the fold ----------------------------------------------------------------

    def apply(self, seq: int, event: Event) -> None:
        """Apply one committed event. An event with an applied ``seq`` is ignored.

        Raises:
            AssertionError: the event cannot follow the earlier ones.
        """
        if seq <= self.seq:
            return
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        self.seq = seq

    def apply_all(self, committed: Iterable[tuple[int, Event]]) -> None:
        """Apply committed events, given as (seq, event) in the order of ``seq``."""
        for seq, event in committed:
            self.apply(seq, event)
