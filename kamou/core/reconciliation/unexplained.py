"""Search for unlisted positions and unexplained changes of the wallet balance.

The same differences appear if the venue's list omits a position, fill or payment by mistake. So the
venue is read again before a repair.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from kamou.core.book.position_book import PositionBook
from kamou.core.model import ZERO, Account
from kamou.core.reconciliation.venue_view import NO_SYMBOL, ReconcileSettings

__all__ = ["NO_SYMBOL", "unlisted_positions", "unexplained_money"]


def unlisted_positions(
    book: PositionBook, listed: Collection[str], settings: ReconcileSettings, now_ms: int
) -> dict[str, Decimal]:
    """Return positions of fills without a trade that the venue does not list.

    An external order in a symbol without a position has such fills. The position is expected in the
    list for ``unassigned_ms`` after the fill was recorded.

    Args:
        listed: symbols in which the venue lists a position.

    Returns:
        Signed contracts by symbol.
    """
    return {
        symbol: fills.quantity
        for symbol, fills in book.trades.unassigned.items()
        if fills.quantity != 0
        and symbol not in book.trades.open
        and symbol not in listed
        and now_ms - fills.known_ms < settings.unassigned_ms
    }


def unexplained_money(book: PositionBook, account: Account, tolerance: Decimal) -> Decimal:
    """Return the unexplained change of the wallet balance since the snapshot, money.

    It is 0 if fills and income explain the change up to ``tolerance``, a fraction of the balance.
    Those in the millisecond of the snapshot or of ``account`` may or may not be a part of the
    change. It is also 0 before the first equity snapshot, if ``account`` is not newer than the
    snapshot, if a balance is not finite, and if a fill or a correction since the snapshot has an
    unknown effect on the balance.
    """
    since_ms, until_ms = book.account.marked_ms, account.at_ms
    if not since_ms or not since_ms < until_ms or book.account.unexplained_ms >= since_ms:
        return ZERO
    if not account.wallet_balance.is_finite() or not book.account.wallet_balance.is_finite():
        return ZERO
    known = either = ZERO
    for change in book.account.changes.values():
        if since_ms < change.at_ms < until_ms:
            known += change.amount
        elif change.at_ms in (since_ms, until_ms):
            either += abs(change.amount)  # the balance of its own millisecond may include it or not
    left = account.wallet_balance - book.account.wallet_balance - known
    return left if abs(left) > either + tolerance * abs(book.account.wallet_balance) else ZERO
