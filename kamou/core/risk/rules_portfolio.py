"""Rules about the risk and exposure of a trade, its symbol and the whole portfolio."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.codes import Deny
from kamou.core.model import ZERO, Denial
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.exposure import is_major, shock_loss
from kamou.core.risk.rule import format_percent, numeric
from kamou.core.risk.sizing import make_denial


@numeric
def risk_per_trade(c: ReviewContext) -> Denial | None:
    """Deny above hard rule 1. ``bound_by`` names the part of the risk that exceeds the limit."""
    limit = c.limits.risk_per_trade * c.fraction * c.sizing_equity
    if c.risk <= limit:
        return None
    total, over = ZERO, "plan"
    for name, money in c.risk_parts:
        total += money
        if total > limit:
            over = name
            break
    measured = {"gap_buffer": str(c.gap_buffer)} if c.gap_buffer.measured else {}
    return make_denial(
        Deny.RISK_PER_TRADE_EXCEEDED,
        risk=format_percent(c.risk, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
        bound_by=over,
        **measured,
    )


@numeric
def exposure_per_symbol(c: ReviewContext) -> Denial | None:
    """Deny above hard rule 2: positions, resting orders, permits and this plan in the symbol."""
    total = c.stake.notional.get(c.plan.symbol, ZERO) + c.notional
    limit = c.limits.exposure_per_symbol * c.fraction * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.EXPOSURE_SYMBOL_EXCEEDED,
        exposure=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@numeric
def open_risk(c: ReviewContext) -> Denial | None:
    total = c.stake.open_risk + c.risk
    limit = min(c.limits.open_risk_max, c.limits.daily_loss_max) * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.RISK_OPEN_EXCEEDED,
        open=format_percent(c.stake.open_risk, c.sizing_equity),
        new=format_percent(c.risk, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@numeric
def admission(c: ReviewContext) -> Denial | None:
    """Deny above the daily budget: day's loss + open risk + new risk <= daily loss limit."""
    total = c.day_lost + c.stake.open_risk + c.risk
    if total <= c.day_limit:
        return None
    whole = c.book.day_equity
    return make_denial(
        Deny.RISK_DAY_BUDGET_EXCEEDED,
        lost=format_percent(c.day_lost, whole),
        open=format_percent(c.stake.open_risk, whole),
        new=format_percent(c.risk, whole),
        limit=format_percent(c.day_limit, whole),
    )


@numeric
def cluster(c: ReviewContext) -> Denial | None:
    """Deny above the risk limit of all altcoins on one side."""
    if is_major(c.instrument):
        return None
    total = c.stake.cluster[c.plan.side] + c.risk
    limit = c.limits.cluster_risk_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.RISK_CLUSTER_EXCEEDED,
        side=c.plan.side.value,
        risk=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@numeric
def shock(c: ReviewContext) -> Denial | None:
    """Deny if a market shock in either direction would cost more than the day may still lose.

    A trade that lowers the net notional passes. Reserved entries of the other side do not lower
    it, because they may not fill.
    """
    net = c.stake.net_notional[c.plan.side]
    loss = shock_loss(net + c.notional * c.plan.side.sign, c.limits.shock_move)
    left = c.day_left
    if loss <= left or loss < shock_loss(net, c.limits.shock_move):
        return None
    return make_denial(
        Deny.RISK_SHOCK_EXCEEDED,
        loss=format_percent(loss, c.sizing_equity),
        left=format_percent(max(ZERO, left), c.sizing_equity),
        move=format_percent(c.limits.shock_move, Decimal(1)),
    )


@numeric
def notional_total(c: ReviewContext) -> Denial | None:
    total = c.stake.notional_total + c.notional
    limit = c.limits.notional_total_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.CAPITAL_NOTIONAL_EXCEEDED,
        notional=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@numeric
def margin_total(c: ReviewContext) -> Denial | None:
    used = c.margin_used + c.stake.margin_reserved
    total = used + c.notional / c.plan.leverage
    limit = c.limits.margin_total_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.CAPITAL_MARGIN_EXCEEDED,
        margin=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )
