"""The equity just before a transfer, from which its effect on the return is taken off.

A venue lists a transfer with its time and amount, some seconds or hours later. The equity just
before it is computed as that of a midnight (``core/risk/midnights.py``): backwards from one read of
the account, without everything that is stamped with the transfer's time or later. What was open
then counts at the close of the last bar that had ended, because nobody read a mark at that time.
"""

from __future__ import annotations

from collections.abc import Mapping

from kamou.core.book.holdings import Holdings
from kamou.core.book.late_events import TransferValued
from kamou.core.model import Instrument
from kamou.core.risk.midnights import LAST_PRICE_BARS, MidnightMarks, OpeningRead, equity_at


def value_transfer(
    book: Holdings,
    read: OpeningRead,
    closes: MidnightMarks,
    instruments: Mapping[str, Instrument],
    *,
    marks_ms: int,
) -> TransferValued | None:
    """Return the valuation of the transfer at ``closes.at_ms``; None while something is unknown.

    Args:
        book: with every entry that the venue lists since the transfer.
        closes: of the bars that ended at ``marks_ms``.
    """
    if any(paid.symbol and paid.at_ms > read.at_ms for paid in book.payments.values()):
        return None  # account and positions were read one after the other: it may be in one of them
    equity = equity_at(book, read, closes, instruments)
    if equity is None:
        return None
    return TransferValued(
        at_ms=read.at_ms,
        cause_id=book.unvalued[closes.at_ms],
        transfer_ms=closes.at_ms,
        number=1,
        equity=equity,
        marks=closes.marks,
        marks_ms=marks_ms,
        rests_on=LAST_PRICE_BARS,
        read_ms=read.at_ms,
    )
