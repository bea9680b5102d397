"""Time and numbers of items that the book keeps for late fills and payments."""

from __future__ import annotations

from typing import Any

OVERLAP_MS = 300_000  # fills and income are read again for so long, because venues list some late

# Maximum each of settled orders, published results, funding payments without a trade, and symbols
# with fills without a trade.
CLOSED_KEPT = 1_000
TRANSFERS_KEPT = 100  # each, of transfers without a valuation and with one that may change
# Maximum each of fill keys and of payment ids, which prevent double counting; of balance changes
# since the equity snapshot; and of the fills and payments for the day's opening.
SEEN_KEPT = 20_000
PERMITS_KEPT = 1_000  # ids of released permits, which cannot be used again; the store keeps all


def forget_oldest(items: dict[Any, Any], kept: int) -> None:
    """Delete the items that were inserted first until at most ``kept`` are left."""
    while len(items) > kept:
        del items[next(iter(items))]
