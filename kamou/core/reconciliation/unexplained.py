"""What one look at the venue leaves unexplained: a fill without its position, money without a
reason. A list that leaves out one row looks the same, so both are looked at again before they are
believed."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from kamou.core.book.position_book import PositionBook
from kamou.core.model import ZERO, Account
from kamou.core.reconciliation.venue_view import NO_SYMBOL, ReconcileSettings

__all__ = ["NO_SYMBOL", "positions_left_out", "unexplained_money"]


def positions_left_out(
    book: PositionBook, listed: Collection[str], settings: ReconcileSettings, now_ms: int
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


def unexplained_money(book: PositionBook, account: Account, tolerance: Decimal) -> Decimal:
    """Return the change of the wallet balance since the last mark that the book cannot explain.

    0 when fills and income explain it up to ``tolerance``, a fraction of the balance; also when
    the book knows that it cannot tell: before the first mark, and after a fill or a correction
    whose money is not known.
    """
    since_ms, until_ms = book.marked_ms, account.at_ms
    if not since_ms or not since_ms < until_ms or book.unexplained_ms >= since_ms:
        return ZERO
    if not account.wallet_balance.is_finite() or not book.wallet_balance.is_finite():
        return ZERO
    known = either = ZERO
    for change in book.balance_changes.values():
        if since_ms < change.at_ms < until_ms:
            known += change.amount
        elif change.at_ms in (since_ms, until_ms):
            either += abs(change.amount)  # in the balance of that very instant, or not
    left = account.wallet_balance - book.wallet_balance - known
    return left if abs(left) > either + tolerance * abs(book.wallet_balance) else ZERO
