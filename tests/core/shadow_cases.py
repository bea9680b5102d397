"""Shadow trades for tests."""

from __future__ import annotations

from typing import Any

import attrs

from kamou.core.book.shadow_events import (
    ClosedShadowTrade,
    ShadowTrade,
    ShadowTradesClosed,
    ShadowTradesOpened,
)
from kamou.core.kinds import ExitReason, RefinerVerdict
from kamou.core.model import Side
from tests.core.trading_cases import NOON, D


def shadow_trade(name: str = "s1", **changes: Any) -> ShadowTrade:
    """Return a long of 10 base units at 100 with the stop at 98 and the target at 106."""
    made = ShadowTrade(
        shadow_id=name,
        strategy="oi_momentum",
        symbol="SOLUSDT",
        side=Side.LONG,
        score=D("0.8"),
        verdict=RefinerVerdict.OFF,
        size_multiplier=D(1),
        p_win_pct=None,
        quantity=D(100),
        contract_size=D("0.1"),
        planned_entry=D("100.1"),
        entry_price=D("100.04"),
        stop_price=D(98),
        target_price=D(106),
        planned_risk=D(21),
        half_spread=D("0.0001"),
        fee_rate=D("0.0006"),
        target_fee_rate=D("0.0002"),
        fee=D("0.60024"),
        slippage=D("0.4"),
        opened_at_ms=NOON,
        closes_by_ms=NOON + 3_600_000,
    )
    return attrs.evolve(made, **changes)


def closed_shadow(trade: ShadowTrade, **changes: Any) -> ClosedShadowTrade:
    """Return a stop of the trade a minute after its opening."""
    made = ClosedShadowTrade(
        shadow_id=trade.shadow_id,
        strategy=trade.strategy,
        symbol=trade.symbol,
        opened_at_ms=trade.opened_at_ms,
        closed_at_ms=trade.opened_at_ms + 60_000,
        reason=ExitReason.STOP_LOSS,
        exit_price=D("97.97"),
        gross=D("-20.7"),
        fees=D("1.19"),
        funding=D("-0.01"),
        slippage=D("0.7"),
        pnl=D("-21.9"),
        r=D("-1.042857142857"),
    )
    return attrs.evolve(made, **changes)


def opened(*trades: ShadowTrade, at_ms: int = NOON) -> ShadowTradesOpened:
    return ShadowTradesOpened(at_ms=at_ms, cause_id="cycle:1", trades=trades)


def closed(*trades: ClosedShadowTrade, at_ms: int = NOON) -> ShadowTradesClosed:
    return ShadowTradesClosed(at_ms=at_ms, trades=trades)
