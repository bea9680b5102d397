"""Shadow trades with given results, for the records of simulated strategies."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.book.shadow_events import ClosedShadowTrade, ShadowTrade
from kamou.core.kinds import ExitReason, RefinerVerdict
from kamou.core.model import Side

D = Decimal
WIN, LOSS, RUIN = D("2.3"), D("-1.05"), D("-5")  # R
RISK = D(100)  # money of 1 R


def open_shadow(strategy: str, symbol: str, opened_ms: int) -> ShadowTrade:
    """Return a trade with a risk of ``RISK`` and without costs, which opens now."""
    one = D(1)
    return ShadowTrade(
        shadow_id=f"{opened_ms}.{strategy}.{symbol}",
        strategy=strategy,
        symbol=symbol,
        side=Side.LONG,
        score=one,
        verdict=RefinerVerdict.OFF,
        size_multiplier=one,
        p_win_pct=None,
        quantity=one,
        contract_size=one,
        planned_entry=D(1_000),
        entry_price=D(1_000),
        stop_price=D(900),
        target_price=D(1_230),
        planned_risk=RISK,
        half_spread=D(0),
        fee_rate=D(0),
        target_fee_rate=D(0),
        fee=D(0),
        slippage=D(0),
        opened_at_ms=opened_ms,
        closes_by_ms=0,
    )


def close_shadow(trade: ShadowTrade, at_ms: int, r: Decimal) -> ClosedShadowTrade:
    """Return the result ``r`` of a trade that closes at ``at_ms``."""
    return ClosedShadowTrade(
        shadow_id=trade.shadow_id,
        strategy=trade.strategy,
        symbol=trade.symbol,
        opened_at_ms=trade.opened_at_ms,
        closed_at_ms=at_ms,
        reason=ExitReason.TAKE_PROFIT if r > 0 else ExitReason.STOP_LOSS,
        exit_price=trade.entry_price + r * RISK,
        gross=r * RISK,
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl=r * RISK,
        r=r,
    )
