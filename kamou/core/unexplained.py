"""What one look at the venue leaves unexplained: a fill without its position.

A list that leaves out one row looks the same, so it is looked at again before it is believed.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from kamou.core.book import Book
from kamou.core.venue_view import ReconcileSettings


def positions_left_out(
    book: Book, listed: Collection[str], settings: ReconcileSettings, now_ms: int
) -> dict[str, Decimal]:
    """Return the positions that fills of no trade opened and that the venue does not list.

    By symbol, in contracts, signed. A human's trade on a flat symbol is such a fill. It is
    expected for ``unassigned_ms``, since the fill became known.

    Args:
        listed: symbols in which the venue lists a position.
    """
    return {
        symbol: fills.quantity
        for symbol, fills in book.unassigned.items()
        if fills.quantity != 0
        and symbol not in book.trades
        and symbol not in listed
        and now_ms - fills.known_ms < settings.unassigned_ms
    }
