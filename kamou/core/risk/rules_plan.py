"""Rules about the plan itself: its expiry, stop, prices, leverage and quantity.

The rules of quantity and notional do not use the code that sizes plans.
"""

from __future__ import annotations

from decimal import Decimal

from kamou.core.codes import Deny
from kamou.core.model import Denial
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.denials import make_denial
from kamou.core.risk.rule import format_percent, skip_invalid
from kamou.core.risk.sizing import liquidation_price


def unexpired(c: ReviewContext) -> Denial | None:
    """Deny if the plan has expired: the time is its expiry or later."""
    late_ms = c.now_ms - c.plan.expires_at_ms
    return make_denial(Deny.PLAN_EXPIRED, late_ms=late_ms) if late_ms >= 0 else None


def stop_present(c: ReviewContext) -> Denial | None:
    """Deny if the plan has no finite, positive stop price."""
    stop = c.plan.stop_price
    return None if stop.is_finite() and stop > 0 else make_denial(Deny.STOP_MISSING, stop=stop)


@skip_invalid
def stop_side(c: ReviewContext) -> Denial | None:
    """Deny if the stop would trigger at once.

    The stop must be on the losing side of both the entry price and the mark price.
    """
    _, quote, _ = c.sound
    side, stop = c.plan.side, c.plan.stop_price
    if not side.has_reached(c.plan.entry_price, stop) and not side.has_reached(quote.mark, stop):
        return None
    return make_denial(
        Deny.STOP_WRONG_SIDE,
        side=side,
        entry=c.plan.entry_price,
        mark=quote.mark,
        stop=stop,
    )


@skip_invalid
def stop_within_liquidation(c: ReviewContext) -> Denial | None:
    """Deny if liquidation is too near to the stop.

    The distance to liquidation must be at least ``liquidation_multiple`` times the distance to the
    stop with gap buffer.
    """
    instrument, _, _ = c.sound
    price = liquidation_price(
        c.price,
        c.plan.side,
        c.plan.leverage,
        instrument.maintenance_margin_rate,
        c.trade_costs.fee_out,
    )
    distance = c.plan.side.loss(c.price, price)
    needed = c.limits.liquidation_multiple * (1 + c.gap) * abs(c.price - c.plan.stop_price)
    if distance >= needed:
        return None
    return make_denial(
        Deny.STOP_BEYOND_LIQUIDATION,
        liquidation=f"{price:.8g}",
        distance=format_percent(distance, c.price),
        needed=format_percent(needed, c.price),
        gap_buffer=str(c.gap_buffer),
    )


def mark_present(c: ReviewContext) -> Denial | None:
    """Deny if the quote has no finite, positive mark price."""
    if c.quote is not None and c.quote.mark.is_finite() and c.quote.mark > 0:
        return None
    mark = "no quote" if c.quote is None else c.quote.mark
    return make_denial(Deny.PRICE_MARK_MISSING, mark=mark)


@skip_invalid
def price_collar(c: ReviewContext) -> Denial | None:
    """Deny if the entry price or the limit price is too far from the mark price.

    Also deny if the limit is worse than the entry price with which the plan was sized.
    """
    _, quote, _ = c.sound
    plan = c.plan
    collar = max(c.limits.collar_min, c.limits.collar_spreads * quote.spread / quote.mark)
    for name, price in (("limit", plan.limit_price), ("entry", plan.entry_price)):
        away = abs(price - quote.mark) / quote.mark
        if away > collar:
            return make_denial(
                Deny.PRICE_COLLAR_EXCEEDED,
                price=f"{name} {price}",
                mark=quote.mark,
                away=format_percent(away, Decimal(1)),
                limit=format_percent(collar, Decimal(1)),
            )
    if plan.side.opening.extra_cost(plan.entry_price, plan.limit_price) > 0:
        return make_denial(
            Deny.PRICE_COLLAR_EXCEEDED, limit_price=plan.limit_price, sized_at=plan.entry_price
        )
    return None


@skip_invalid
def leverage(c: ReviewContext) -> Denial | None:
    """Deny a leverage above the limit of the settings or of the instrument."""
    limit = min(c.limits.leverage_max, c.sound[0].leverage_max)
    if c.plan.leverage <= limit:
        return None
    return make_denial(Deny.LEVERAGE_EXCEEDED, leverage=c.plan.leverage, limit=limit)


@skip_invalid
def size_minimum(c: ReviewContext) -> Denial | None:
    """Deny an entry below the instrument's minimum quantity or minimum notional."""
    instrument, _, _ = c.sound
    if c.plan.quantity >= instrument.qty_min and c.notional >= instrument.notional_min:
        return None
    return make_denial(
        Deny.QUANTITY_BELOW_MINIMUM,
        quantity=c.plan.quantity,
        minimum=instrument.qty_min,
        notional=f"{c.notional:.2f}",
        notional_min=instrument.notional_min,
    )


@skip_invalid
def size_step(c: ReviewContext) -> Denial | None:
    """Deny if the quantity is off the lot size, or the contract size is not current."""
    instrument, _, _ = c.sound
    if c.plan.quantity % instrument.lot == 0 and c.plan.contract_size == instrument.contract_size:
        return None
    return make_denial(
        Deny.QUANTITY_OFF_STEP,
        quantity=c.plan.quantity,
        lot=instrument.lot,
        contract_size=c.plan.contract_size,
        venue_contract_size=instrument.contract_size,
    )


@skip_invalid
def size_maximum(c: ReviewContext) -> Denial | None:
    """Deny a quantity above the maximum of the settings or of the instrument."""
    limit = min(c.limits.order_contracts_max, c.sound[0].qty_max)
    if c.plan.quantity <= limit:
        return None
    return make_denial(Deny.QUANTITY_EXCEEDS_MAXIMUM, quantity=c.plan.quantity, limit=limit)


@skip_invalid
def value_maximum(c: ReviewContext) -> Denial | None:
    """Deny a notional above the settings' maximum of one order."""
    if c.notional <= c.limits.order_value_max:
        return None
    return make_denial(
        Deny.NOTIONAL_EXCEEDS_MAXIMUM, value=f"{c.notional:.2f}", limit=c.limits.order_value_max
    )
