"""Retention: how much is kept for late fills and payments, and ``forget_oldest``."""

from __future__ import annotations

from typing import Any

OVERLAP_MS = 300_000  # fills and income are read again this far back, because venues list them late

# Kept for late fills and payments, each: settled orders, results, funding payments without a trade,
# and symbols with fills without a trade.
CLOSED_KEPT = 1_000
TRANSFERS_KEPT = 100  # without a valuation, and as many whose valuation may still change
# Of each: keys of fills and of payments, so that none counts twice; balance changes; fills and
# payments of the day.
SEEN_KEPT = 20_000
PERMITS_KEPT = 1_000  # released permits kept against reuse; the store keeps all


def forget_oldest(items: dict[Any, Any], kept: int) -> None:
    """Delete the oldest items until at most ``kept`` are left."""
    while len(items) > kept:
        del items[next(iter(items))]
