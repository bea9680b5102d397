"""Rules about the risk and exposure of a trade, its symbol and the portfolio."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.codes import Deny
from kamou.core.kinds import RiskPart
from kamou.core.model import ZERO, Denial
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.denials import make_denial
from kamou.core.risk.exposure import is_major, shock_loss
from kamou.core.risk.rule import format_percent, skip_invalid


@skip_invalid
def risk_per_trade(c: ReviewContext) -> Denial | None:
    """Deny if the risk of the trade exceeds its limit, which is hard rule 1.

    The figure ``bound_by`` names the first part of the risk with which the sum exceeds the limit.
    It is ``PLAN`` if only the plan's own figure exceeds it.
    """
    limit = c.limits.risk_per_trade * c.fraction * c.sizing_equity
    if c.risk <= limit:
        return None
    total, over = ZERO, RiskPart.PLAN
    for part, money in c.risk_parts:
        total += money
        if total > limit:
            over = part
            break
    measured = {"gap_buffer": str(c.gap_buffer)} if c.gap_buffer.measured else {}
    return make_denial(
        Deny.RISK_PER_TRADE_EXCEEDED,
        risk=format_percent(c.risk, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
        bound_by=over,
        **measured,
    )


@skip_invalid
def exposure_per_symbol(c: ReviewContext) -> Denial | None:
    """Deny if the exposure of the symbol would exceed its limit, which is hard rule 2.

    Its position, the reservations of permits and this plan count.
    """
    total = c.exposure.notional.get(c.plan.symbol, ZERO) + c.notional
    limit = c.limits.exposure_per_symbol * c.fraction * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.EXPOSURE_SYMBOL_EXCEEDED,
        exposure=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@skip_invalid
def open_risk(c: ReviewContext) -> Denial | None:
    """Deny if the open risk of all trades together would exceed its limit."""
    total = c.exposure.open_risk + c.risk
    limit = min(c.limits.open_risk_max, c.limits.daily_loss_max) * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.RISK_OPEN_EXCEEDED,
        open=format_percent(c.exposure.open_risk, c.sizing_equity),
        new=format_percent(c.risk, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@skip_invalid
def daily_budget(c: ReviewContext) -> Denial | None:
    """Deny if the trade does not fit into the daily budget.

    The day's loss, the open risk and the new risk together may not exceed the daily loss limit.
    """
    total = c.day_loss + c.exposure.open_risk + c.risk
    if total <= c.day_limit:
        return None
    whole = c.book.day.equity
    return make_denial(
        Deny.RISK_DAY_BUDGET_EXCEEDED,
        lost=format_percent(c.day_loss, whole),
        open=format_percent(c.exposure.open_risk, whole),
        new=format_percent(c.risk, whole),
        limit=format_percent(c.day_limit, whole),
    )


@skip_invalid
def cluster(c: ReviewContext) -> Denial | None:
    """Deny if the open risk of all altcoins on one side would exceed its limit."""
    if is_major(c.instrument):
        return None
    total = c.exposure.cluster[c.plan.side] + c.risk
    limit = c.limits.cluster_risk_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.RISK_CLUSTER_EXCEEDED,
        side=c.plan.side,
        risk=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@skip_invalid
def shock(c: ReviewContext) -> Denial | None:
    """Deny if a market shock would cost more than the day may still lose.

    The shock moves all prices against the net notional. A trade that lowers the net notional
    passes. Reserved entries of the other side do not lower it, because they may not fill.
    """
    net = c.exposure.net_notional[c.plan.side]
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


@skip_invalid
def notional_total(c: ReviewContext) -> Denial | None:
    """Deny if the notional of all symbols together would exceed its limit."""
    total = c.exposure.notional_total + c.notional
    limit = c.limits.notional_total_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.CAPITAL_NOTIONAL_EXCEEDED,
        notional=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )


@skip_invalid
def margin_total(c: ReviewContext) -> Denial | None:
    """Deny if the margin used and reserved would exceed its limit."""
    used = c.margin_used + c.exposure.margin_reserved
    total = used + c.notional / c.plan.leverage
    limit = c.limits.margin_total_max * c.sizing_equity
    if total <= limit:
        return None
    return make_denial(
        Deny.CAPITAL_MARGIN_EXCEEDED,
        margin=format_percent(total, c.sizing_equity),
        limit=format_percent(limit, c.sizing_equity),
    )
