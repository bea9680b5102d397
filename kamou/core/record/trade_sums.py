"""``ClosedTrade``, and ``TradeSums`` with the figures that follow from sums."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.kinds import ExitReason
from kamou.core.model import ZERO, Side


@attrs.frozen(kw_only=True)
class Holding:
    """The time ``[from_ms, until_ms)`` of a position, and its entry value."""

    from_ms: int
    until_ms: int
    entry_value: Decimal  # entry price x quantity x contract size, money


@attrs.frozen(kw_only=True)
class ClosedTrade:
    """A closed trade for the figures of a backtest; money is in the account currency."""

    trade_id: str
    symbol: str
    strategy: str
    side: Side
    holding: Holding
    fees: Decimal
    funding: Decimal  # positive: received
    slippage: Decimal
    pnl_net: Decimal
    r: float | None  # None: a part of the trade had no plan
    exit_reason: ExitReason


@attrs.frozen(kw_only=True)
class TradeSums:
    """Sums over closed trades; ``profit`` and ``loss`` are 0 or positive."""

    trades: int
    wins: int
    r: float
    with_r: int  # trades with a planned risk, over which ``r`` is the sum
    profit: float
    loss: float

    @property
    def win_rate(self) -> float | None:
        """The share of trades with a net profit; None without a trade."""
        return self.wins / self.trades if self.trades else None

    @property
    def expectancy_r(self) -> float | None:
        """The mean R of the trades that have one; None without such a trade."""
        return self.r / self.with_r if self.with_r else None

    @property
    def profit_factor(self) -> float | None:
        """Net profits over net losses; None without a losing trade."""
        return self.profit / self.loss if self.loss else None


def sum_trades(trades: Iterable[ClosedTrade]) -> TradeSums:
    """Return the sums of closed trades; money is added up exactly."""
    count = wins = with_r = 0
    r, profit, loss = 0.0, ZERO, ZERO
    for trade in trades:
        count += 1
        wins += trade.pnl_net > 0
        profit += max(trade.pnl_net, ZERO)
        loss += max(-trade.pnl_net, ZERO)
        if trade.r is not None:
            with_r += 1
            r += trade.r
    return TradeSums(
        trades=count, wins=wins, r=r, with_r=with_r, profit=float(profit), loss=float(loss)
    )
