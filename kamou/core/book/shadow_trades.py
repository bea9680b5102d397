"""Open shadow trades, and the results of closed ones that the gate needs."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.shadow_events import (
    ClosedShadowTrade,
    ShadowTrade,
    ShadowTradesClosed,
    ShadowTradesOpened,
)
from kamou.core.day import DAY_MS


@attrs.frozen(kw_only=True)
class ShadowResult:
    """The part of a closed shadow trade that the gate needs."""

    shadow_id: str
    strategy: str
    symbol: str
    opened_at_ms: int
    closed_at_ms: int
    r: Decimal  # net PnL over planned risk
    pnl: Decimal  # money, net


@attrs.define(kw_only=True)
class ShadowTrades:
    """Open shadow trades by id, and results of all closed ones.

    Only the fold changes them. The gate judges all closed shadow trades of a strategy, so none is
    forgotten.
    """

    open: dict[str, ShadowTrade] = attrs.field(factory=dict)
    # By id, in the order of their events: an opening asks for its id among a year of trades.
    closed: dict[str, ShadowResult] = attrs.field(factory=dict)
    # The rest is of closed trades, by strategy. It shows whether a record of ten thousand trades
    # must be walked again. A mapping in it is replaced and never changed, as a copy shares it.
    by_day: dict[str, dict[int, int]] = attrs.field(factory=dict)  # by UTC day of their opening
    lowest_r: dict[str, Decimal] = attrs.field(factory=dict)

    def record_opened(self, event: ShadowTradesOpened) -> None:
        """Add the trades, but none that the book has or had."""
        for trade in event.trades:
            if not self.knows(trade.shadow_id):
                self.open[trade.shadow_id] = trade

    def record_closed(self, event: ShadowTradesClosed) -> None:
        """Move the trades from the open to the closed ones; skip those that are not open."""
        for trade in event.trades:
            if self.open.pop(trade.shadow_id, None) is not None:
                self.closed[trade.shadow_id] = ShadowResult(
                    shadow_id=trade.shadow_id,
                    strategy=trade.strategy,
                    symbol=trade.symbol,
                    opened_at_ms=trade.opened_at_ms,
                    closed_at_ms=trade.closed_at_ms,
                    r=trade.r,
                    pnl=trade.pnl,
                )
                self._count(trade)

    def knows(self, shadow_id: str) -> bool:
        """Return True if a shadow trade of this id is open or closed."""
        return shadow_id in self.open or shadow_id in self.closed

    def _count(self, trade: ClosedShadowTrade) -> None:
        """Add a trade that closed to the figures by strategy."""
        strategy, day = trade.strategy, trade.opened_at_ms // DAY_MS
        days = self.by_day.get(strategy, {})
        self.by_day[strategy] = {**days, day: days.get(day, 0) + 1}
        self.lowest_r[strategy] = min(self.lowest_r.get(strategy, trade.r), trade.r)

    def opening_of(self, shadow_id: str) -> int | None:
        """Return the opening of a shadow trade in ms; None if there is none of this id."""
        trade = self.open.get(shadow_id) or self.closed.get(shadow_id)
        return None if trade is None else trade.opened_at_ms

    def results_of(self, strategy: str) -> tuple[ShadowResult, ...]:
        """Return the results of a strategy's closed trades, in the order of their events."""
        return tuple(each for each in self.closed.values() if each.strategy == strategy)

    def count_opened_before(self, strategy: str, day: int) -> int:
        """Return the number of closed trades that opened before a UTC day.

        ``day`` is a number of days since 1970.
        """
        days = self.by_day.get(strategy, {})
        return sum(trades for opened, trades in days.items() if opened < day)

    def open_since_ms(self, strategy: str) -> int | None:
        """Return the opening of the strategy's oldest open trade; None: none is open."""
        times = (each.opened_at_ms for each in self.open.values() if each.strategy == strategy)
        return min(times, default=None)

    @property
    def held(self) -> frozenset[tuple[str, str]]:
        """(strategy, symbol) of each open shadow trade."""
        return frozenset((each.strategy, each.symbol) for each in self.open.values())
