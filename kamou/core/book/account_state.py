"""Account at the newest equity snapshot, and the changes of its balance since."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange
from kamou.core.book.events import EquityRecorded
from kamou.core.book.retention import SEEN_KEPT, forget_oldest
from kamou.core.model import ZERO


@attrs.define(kw_only=True)
class AccountState:
    """Money of the account at the newest equity snapshot, and later balance changes."""

    equity: Decimal = ZERO
    wallet_balance: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    margin_used: Decimal = ZERO
    open_risk: Decimal = ZERO
    marked_ms: int = 0  # time of the snapshot, by the venue's clock; 0: none
    # The newest ``SEEN_KEPT`` since the snapshot, by fill key or income id.
    changes: dict[str, BalanceChange] = attrs.field(factory=dict)
    unexplained_ms: int = 0  # of the newest fill or correction of unknown effect on the balance

    @property
    def sizing_equity(self) -> Decimal:
        """min(equity, wallet balance) of the newest snapshot, money."""
        return min(self.equity, self.wallet_balance)

    def record_snapshot(self, event: EquityRecorded) -> None:
        """Store the snapshot's figures, and drop the balance changes before it."""
        self.equity = event.equity
        self.wallet_balance = event.wallet_balance
        self.unrealized_pnl = event.unrealized_pnl
        self.margin_used = event.margin_used
        self.open_risk = event.open_risk
        self.marked_ms = event.at_ms
        old = [key for key, c in self.changes.items() if c.at_ms < event.at_ms]
        for key in old:
            del self.changes[key]

    def change_balance(self, key: str, at_ms: int, amount: Decimal) -> None:
        """Keep a balance change unless it is older than the newest equity snapshot.

        Args:
            key: fill key or income id.
            amount: money, signed; of a fill, the realized PnL less the fee.
        """
        if at_ms >= self.marked_ms:
            self.changes[key] = BalanceChange(at_ms=at_ms, amount=amount)
            forget_oldest(self.changes, SEEN_KEPT)

    def note_unexplained(self, at_ms: int) -> None:
        """Record a time at which the balance changed by an unknown amount."""
        self.unexplained_ms = max(self.unexplained_ms, at_ms)
