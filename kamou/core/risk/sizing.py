"""Leverage, liquidation price, headroom and largest size of a trade.

If its stop fills, a trade loses per base unit ``(1 + g) d`` and the cost of its round trip
(``core/risk/costs.py``), where d is the distance from entry to stop and g the gap buffer. The
largest quantity that risks the fraction f of the sizing equity E is ``f E`` divided by that loss.
The limits of exposure, instrument and portfolio reduce it further. It is rounded down to the lot
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.codes import Deny
from kamou.core.kinds import SizeLimit
from kamou.core.model import ZERO, Denial, Instrument, Side
from kamou.core.risk.costs import TradeCosts
from kamou.core.risk.denials import make_denial
from kamou.core.risk.limits import RiskLimits

ONE = Decimal(1)


@attrs.frozen(kw_only=True)
class Headroom:
    """Headroom of the portfolio's limits for one more trade, money, by limit."""

    risks: Mapping[SizeLimit, Decimal]  # of those on risk
    notionals: Mapping[SizeLimit, Decimal]  # of those on notional

    @property
    def risk(self) -> Decimal:
        """Money that one more trade may risk."""
        return min(self.risks.values())

    @property
    def notional(self) -> Decimal:
        """Notional that one more trade may have, money."""
        return min(self.notionals.values())

    def scaled(self, share: Decimal) -> Headroom:
        """Return the headroom with every figure multiplied by ``share``, a fraction."""
        return Headroom(
            risks={limit: money * share for limit, money in self.risks.items()},
            notionals={limit: money * share for limit, money in self.notionals.items()},
        )


@attrs.frozen(kw_only=True)
class Sized:
    """Size of a trade that every limit allows."""

    contracts: Decimal
    quantity: Decimal  # base units
    notional: Decimal  # money
    risk: Decimal  # money: worst case with costs, gap buffer and funding
    margin: Decimal  # money
    leverage: int  # see ``highest_leverage``
    liquidation_price: Decimal
    bound_by: SizeLimit


@attrs.frozen(kw_only=True)
class UnsizedTrade:
    """A trade without a size: its instrument, prices and costs."""

    instrument: Instrument
    side: Side
    entry: Decimal  # worst price at which the entry may fill
    stop: Decimal
    costs: TradeCosts
    gap: Decimal  # gap buffer, a multiple of the stop distance (``RecentActivity.gap_buffer``)
    value_price: Decimal | None = None  # the higher of mark price and touch; None: not known

    @property
    def worth(self) -> Decimal:
        """Highest price at which the trade may be valued.

        A short may fill above its limit, and is then valued at the higher price.
        """
        return self.entry if self.value_price is None else max(self.entry, self.value_price)


@attrs.frozen(kw_only=True)
class Allowance:
    """Money that account and portfolio leave to one more trade."""

    sizing_equity: Decimal
    fraction: Decimal = ONE  # of the full size, in (0, 1], from refiner, grant and trading state
    existing_notional: Decimal = ZERO  # of this symbol, money, reservations included
    headroom: Headroom | None = None  # of the portfolio's limits; None: no such limits


def unit_loss(entry: Decimal, stop: Decimal, costs: TradeCosts, gap: Decimal) -> Decimal:
    """Return the money that one base unit loses if its stop order fills, with costs.

    The stop is assumed to fill ``gap`` stop distances beyond its price.
    """
    return (1 + gap) * abs(entry - stop) + costs.round_trip(entry, stop)


def liquidation_price(
    entry: Decimal, side: Side, leverage: int, maintenance: Decimal, fee: Decimal
) -> Decimal:
    """Return the price at which a linear position with isolated margin is liquidated.

    It is ``P (1 - 1/L) / (1 - m - fee)`` for a long and ``P (1 + 1/L) / (1 + m + fee)`` for a
    short, with entry price P, leverage L and maintenance margin rate m. ``maintenance`` and ``fee``
    are fractions of notional.
    """
    sign = side.sign
    return entry * (ONE - sign * (ONE / leverage)) / (ONE - sign * maintenance - sign * fee)


def highest_leverage(trade: UnsizedTrade, limits: RiskLimits) -> int:
    """Return the highest leverage whose liquidation is far enough beyond the stop.

    The distance to liquidation must be at least ``liquidation_multiple`` times the distance to the
    stop with gap buffer. 0: no allowed leverage has it.
    """
    needed = limits.liquidation_multiple * (1 + trade.gap) * abs(trade.entry - trade.stop)
    for leverage in range(min(limits.leverage_max, trade.instrument.leverage_max), 0, -1):
        if abs(trade.entry - _liquidation_price(trade, leverage)) >= needed:
            return leverage
    return 0


def _liquidation_price(trade: UnsizedTrade, leverage: int) -> Decimal:
    mmr = trade.instrument.maintenance_margin_rate
    return liquidation_price(trade.entry, trade.side, leverage, mmr, trade.costs.fee_out)


def size_trade(trade: UnsizedTrade, allowance: Allowance, limits: RiskLimits) -> Sized | Denial:
    """Return the largest size that every limit allows, or the denial of the trade.

    Headroom for less than ``budget_share_min`` of the full size counts as none.

    Raises:
        AssertionError: ``allowance.fraction`` is not in (0, 1].
    """
    if denied := _check(trade, allowance.sizing_equity):
        return denied
    fraction, headroom = allowance.fraction, allowance.headroom
    assert 0 < fraction <= 1, f"the fraction of the full size is not in (0, 1]: {fraction}"
    leverage, instrument = highest_leverage(trade, limits), trade.instrument
    if leverage == 0:
        return make_denial(
            Deny.STOP_BEYOND_LIQUIDATION, stop=trade.stop, entry=trade.entry, gap=trade.gap
        )
    worth, loss = trade.worth, unit_loss(trade.entry, trade.stop, trade.costs, trade.gap)
    caps = _caps(trade, loss, allowance, limits)
    least = limits.budget_share_min * min(caps.values())  # headroom for less counts as 0
    left = _headroom(headroom, loss, worth)
    caps |= {limit: units if units >= least else ZERO for limit, units in left.items()}
    bound_by = min(caps, key=lambda limit: caps[limit])
    lots = caps[bound_by] // (instrument.contract_size * instrument.lot)
    contracts = lots * instrument.lot
    quantity = contracts * instrument.contract_size
    notional = quantity * worth
    if contracts < instrument.qty_min or notional < instrument.notional_min or contracts <= 0:
        smallest = _smallest(instrument, worth)
        if headroom is not None and bound_by in left:
            unit = loss if bound_by in headroom.risks else worth  # money of one base unit
            return _exhausted(bound_by, left[bound_by], max(least, smallest), unit)
        if bound_by is SizeLimit.EXPOSURE and allowance.existing_notional > 0:
            return _exhausted(bound_by, caps[bound_by], smallest, worth)
        return _too_small(contracts, notional, instrument, bound_by)
    return Sized(
        contracts=contracts,
        quantity=quantity,
        notional=notional,
        risk=quantity * loss,
        margin=notional / leverage,
        leverage=leverage,
        liquidation_price=_liquidation_price(trade, leverage),
        bound_by=bound_by,
    )


def _smallest(instrument: Instrument, worth: Decimal) -> Decimal:
    """Return the smallest order that the venue accepts, in base units."""
    units = instrument.qty_min * instrument.contract_size
    return max(units, instrument.notional_min / worth)


def _exhausted(bound_by: SizeLimit, left: Decimal, needed: Decimal, unit: Decimal) -> Denial:
    """Return the denial for a limit of which other trades leave too little.

    Args:
        left: headroom, base units.
        needed: smallest size that is entered, base units.
        unit: money per base unit.
    """
    return make_denial(
        Deny.RISK_HEADROOM_EXHAUSTED,
        bound_by=bound_by,
        left=f"{left * unit:.2f}",
        needed=f"{needed * unit:.2f}",
    )


def _too_small(
    contracts: Decimal, notional: Decimal, instrument: Instrument, bound_by: SizeLimit
) -> Denial:
    return make_denial(
        Deny.QUANTITY_BELOW_MINIMUM,
        contracts=contracts,
        minimum=instrument.qty_min,
        notional=f"{notional:.2f}",
        notional_min=instrument.notional_min,
        bound_by=bound_by,
    )


def _caps(
    trade: UnsizedTrade, loss: Decimal, allowance: Allowance, limits: RiskLimits
) -> dict[SizeLimit, Decimal]:
    """Return the base units that each limit of one trade allows.

    If several limits allow the same, ``bound_by`` names the first of them.

    Args:
        loss: money that one base unit loses (``unit_loss``).
    """
    instrument, worth = trade.instrument, trade.worth
    fraction, sizing_equity = allowance.fraction, allowance.sizing_equity
    exposure = limits.exposure_per_symbol * fraction * sizing_equity
    return {
        SizeLimit.RISK: limits.risk_per_trade * fraction * sizing_equity / loss,
        SizeLimit.EXPOSURE: (exposure - allowance.existing_notional) / worth,
        SizeLimit.QUANTITY_MAX: min(instrument.qty_max, limits.order_contracts_max)
        * instrument.contract_size,
        SizeLimit.VALUE_MAX: limits.order_value_max / worth,
    }


def _headroom(headroom: Headroom | None, loss: Decimal, worth: Decimal) -> dict[SizeLimit, Decimal]:
    """Return the headroom of each limit of the portfolio, in base units."""
    if headroom is None:
        return {}
    left = {limit: money / loss for limit, money in headroom.risks.items()}
    return left | {limit: money / worth for limit, money in headroom.notionals.items()}


def _check(trade: UnsizedTrade, sizing_equity: Decimal) -> Denial | None:
    side, entry, stop = trade.side, trade.entry, trade.stop
    numbers = {
        "sizing_equity": sizing_equity,
        "entry": entry,
        "stop": stop,
        "gap": trade.gap,
        **attrs.asdict(trade.costs),
    }
    bad = [name for name, value in numbers.items() if not value.is_finite()]
    bad = bad or [name for name in ("sizing_equity", "entry") if numbers[name] <= 0]
    if bad:
        return make_denial(
            Deny.DATA_INVALID,
            what=",".join(bad),
            sizing_equity=sizing_equity,
            entry=entry,
        )
    if stop <= 0:
        return make_denial(Deny.STOP_MISSING, stop=stop)
    if side.has_reached(entry, stop):
        return make_denial(Deny.STOP_WRONG_SIDE, side=side, entry=entry, stop=stop)
    return None
