"""Equity just before a deposit or withdrawal, from a later read of the account.

The time-weighted return needs this equity, and a venue may list a transfer seconds or hours later.
So the equity is computed as that of a midnight (``core/risk/midnight_equity.py``): backwards from
one read of the account, without fills and payments stamped with the transfer's time or later.
Positions of that time count at the venue's mark price. If the venue does not list past mark prices,
they count at the close of the last bar that had ended.
"""

from __future__ import annotations

from kamou.core.book.late_events import TransferValued
from kamou.core.book.position_book import PositionBook
from kamou.core.risk.midnight_equity import MidnightMarks, OpeningRead, equity_at


def value_transfer(
    book: PositionBook,
    read: OpeningRead,
    marks: MidnightMarks,
    *,
    marks_at_ms: int,
) -> TransferValued | None:
    """Return the event that values the transfer at ``marks.at_ms``.

    It is None while the equity is unknown, or if the book has a fill after the read.

    Args:
        book: a book with every fill and payment that the venue lists since the transfer.
        marks: mark prices of ``marks_at_ms``, with their source.
        marks_at_ms: time of the transfer, or the end of the bars whose closes are the marks.

    Raises:
        KeyError: no transfer at ``marks.at_ms`` waits for a valuation.
    """
    if any(paid.symbol and paid.at_ms > read.at_ms for paid in book.payments.values()):
        return None  # account and positions are read in turn, so only one may include the fill
    equity = equity_at(book, read, marks)
    if equity is None:
        return None
    return TransferValued(
        at_ms=read.at_ms,
        cause_id=book.transfers.unvalued[marks.at_ms],
        transfer_at_ms=marks.at_ms,
        number=1,
        equity=equity,
        marks=marks.marks,
        marks_at_ms=marks_at_ms,
        rests_on=marks.source,
        read_at_ms=read.at_ms,
    )
