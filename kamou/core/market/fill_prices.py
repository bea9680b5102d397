"""Fill prices and funding payments of the embedded venue and of shadow trades.

Both use the same models, so a shadow trade costs what a simulated one costs. Prices of market paths
are floats, as the sources return them. They become ``Decimal`` on the instrument's tick when a fill
is booked. Each model states its assumption and what the assumption costs.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from kamou.core.market.instruments import round_to_tick
from kamou.core.model import BPS, OrderSide, Side

MONEY_STEP = Decimal("0.00000001")  # fees and funding are whole hundred-millionths


def as_money(amount: Decimal) -> Decimal:
    """Return ``amount`` rounded to ``MONEY_STEP``, so that sums stay exact."""
    return amount.quantize(MONEY_STEP, rounding=ROUND_HALF_EVEN)


def nearest_tick(price: float, tick: Decimal) -> Decimal:
    """Return ``price`` rounded to the nearest tick, at least one tick."""
    return max(1, round(price / float(tick))) * tick


def next_tick_against(price: float, tick: Decimal, side: OrderSide) -> Decimal:
    """Return ``price`` on the tick, rounded up for a buy, down for a sell.

    It is at least one tick.
    """
    return max(tick, round_to_tick(Decimal(repr(price)), tick, side.rounding_against))


def is_traded_through(side: OrderSide, limit: float, low: float, high: float) -> bool:
    """Return True if prices from ``low`` to ``high`` fill a resting limit order.

    They go beyond the limit; a touch fills nothing, and NaN does not either. The embedded venue
    and the shadow book ask this function.
    """
    return side.is_limit_passed(limit, low, high)


@attrs.frozen(kw_only=True)
class SlippageModel:
    """The model of slippage: a taker pays half the spread and ``bps``.

    ``bps`` grows with quantity / depth where that exceeds 1, up to ``cap_bps``. Assumes that
    impact is immediate, linear and gone in the next bar. Costs: several orders in a row move the
    market less than they would at a real venue.
    """

    bps: float = 2.0  # on top of half the spread
    cap_bps: float = 100.0  # no traded perpetual has cost more in a liquid hour

    def taker_price(
        self, mid: float, half_spread_bps: float, side: OrderSide, excess: float = 1.0
    ) -> float:
        """Return the price that a taker pays. ``excess`` is quantity / depth."""
        slip_bps = min(self.cap_bps, self.bps * max(1.0, excess))
        return mid * (1.0 + side.sign * (half_spread_bps + slip_bps) * BPS)

    def fill_price(
        self,
        mid: float,
        half_spread_bps: float,
        side: OrderSide,
        tick: Decimal,
        excess: float = 1.0,
    ) -> Decimal:
        """Return the taker price on the tick, rounded against the order."""
        return next_tick_against(self.taker_price(mid, half_spread_bps, side, excess), tick, side)


@attrs.frozen(kw_only=True)
class StopFillModel:
    """The model of stops: a fill at the trigger or the first price, if that is worse.

    Slippage comes on top. In a bar wider than ``gap_range_atr`` ATR a stop fills at least
    ``gap_depth`` of the way from the trigger to the extreme. If a bar reaches stop and take profit,
    the stop fills first. In the bar of 21:00 UTC on 2025-10-10 the median symbol's low was 66 %
    under its open with no opening gap, so a fill at the trigger would be too good. The value of
    ``gap_depth`` is a judgment. Costs: in a crash the real fill may be worse; in a wide bar without
    a gap the fill is too bad.
    """

    gap_range_atr: float = 5.0
    gap_depth: float = 0.25

    def price(
        self, side: OrderSide, trigger: float, first: float, extreme: float, range_atr: float
    ) -> float:
        """Return the fill price before slippage.

        ``first`` is the first tradable price, ``extreme`` the low for a sell and the high for a
        buy.
        """
        price = side.worse(trigger, first)
        if range_atr > self.gap_range_atr:  # False for NaN: an unknown range counts as no gap
            price = side.worse(price, trigger + self.gap_depth * (extreme - trigger))
        return price


@attrs.frozen(kw_only=True)
class SettledFunding:
    """Funding as settled: longs pay shorts a rate of the notional at the mark.

    The wallet balance pays or receives it. If the rate of a settlement is unknown, longs and shorts
    pay the assumed rate. Assumes that funding never changes a position's own margin. Costs:
    liquidation prices do not move nearer over long holds, and a side that would have received
    unknown funding is charged.
    """

    assumed_per_8h: Decimal = Decimal("0.0001")

    def amount(self, quantity: Decimal, notional: Decimal, rate: float, hours: int) -> Decimal:
        """Return the USDT that the position receives (> 0) or pays (< 0).

        ``rate`` is a fraction of notional per interval of ``hours``; NaN if unknown.
        """
        if math.isnan(rate):
            return -as_money(abs(notional) * self.assumed_per_8h * hours / 8)
        paid = notional * Decimal(repr(float(rate)))
        return -as_money(paid * Side.of(quantity).sign)


@attrs.frozen(kw_only=True)
class PriceModels:
    """The models of slippage, stops and funding."""

    slippage: SlippageModel = SlippageModel()
    stop: StopFillModel = StopFillModel()
    funding: SettledFunding = SettledFunding()
