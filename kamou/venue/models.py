"""The embedded venue's models, from fees and latency to liquidation.

Fees, latency, fills and funding implement the protocols of ``model_protocols.py``, so that models
of another venue can replace them. Each model states its assumption and what the assumption costs.
Prices of market paths are floats, as the sources return them. They become ``Decimal`` on the
instrument's tick when a fill is booked. Rates are fractions, spreads are in basis points.
"""

from __future__ import annotations

import math
from decimal import Decimal

import attrs

from kamou.core.market.instruments import round_to_tick
from kamou.core.model import BPS, BPS_PER_UNIT, ZERO, Instrument, OrderSide, Side
from kamou.core.risk.limits import CostModel
from kamou.settings.config import ExchangeSettings
from kamou.venue.model_protocols import FeeModel, FillModel, FundingModel, LatencyModel
from kamou.venue.state import as_money


def nearest_tick(price: float, tick: Decimal) -> Decimal:
    """Return ``price`` rounded to the nearest tick, at least one tick."""
    return max(1, round(price / float(tick))) * tick


def as_contracts(quantity: Decimal, lot: Decimal) -> Decimal:
    """Return ``quantity`` rounded down to a multiple of ``lot``."""
    return (quantity // lot) * lot


def next_tick_against(price: float, tick: Decimal, side: OrderSide) -> Decimal:
    """Return ``price`` on the tick, rounded up for a buy, down for a sell.

    It is at least one tick.
    """
    return max(tick, round_to_tick(Decimal(repr(price)), tick, side.rounding_against))


@attrs.frozen(kw_only=True)
class AccountFees:
    """Fees at one tier: the account's taker or maker rate on each fill's notional.

    The two rates are fractions of notional and the same in every symbol. Assumes that the fee tier
    never changes. Costs: an account on a better tier is charged too much, one on a worse tier too
    little.
    """

    taker: Decimal = Decimal("0.0006")
    maker: Decimal = Decimal("0.0002")

    def with_rates(self, instrument: Instrument) -> Instrument:
        """Return the instrument with this account's fee rates."""
        return attrs.evolve(instrument, taker_fee=self.taker, maker_fee=self.maker)

    def fee(self, instrument: Instrument, notional: Decimal, *, maker: bool) -> Decimal:
        """Return the fee of a fill at the instrument's rates, in USDT."""
        return as_money(notional * (instrument.maker_fee if maker else instrument.taker_fee))


@attrs.frozen(kw_only=True)
class ConstantLatency:
    """Latency without jitter: constant times to the effect and to the response.

    Assumes no queueing in bursts, and data without delay. Costs: at real venues latency grows with
    volatility, so results in fast markets are too good.
    """

    latency_ms: int = 150  # from sending a request to its effect
    response_ms: int = 0  # from the effect to the arrival of the response

    def acts_ms(self, sent_ms: int) -> int:
        """Return the time (ms UTC) at which a request sent at ``sent_ms`` takes effect."""
        return sent_ms + self.latency_ms

    def answered_ms(self, acts_ms: int) -> int:
        """Return the time (ms UTC) at which the response arrives."""
        return acts_ms + self.response_ms


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


@attrs.frozen(kw_only=True)
class VolumeShareFills:
    """Fills in which entries and limits take at most a share of a bar's volume.

    That share is the depth. A resting limit fills only if the market trades beyond its price.
    Triggered orders and reduce-only market orders fill whole and pay ``SlippageModel`` for the
    excess. Assumes the last place in the queue at every price. Costs: fills at the extreme of a bar
    are missed, which is too strict for small orders; the whole fill of a very large exit in one bar
    is too good.
    """

    volume_participation: Decimal = Decimal("0.1")

    def depth(self, instrument: Instrument, volume: float) -> Decimal:
        """Return the contracts that one order may take of ``volume`` base units; NaN: 0."""
        if not volume > 0.0:  # True for NaN: unknown volume counts as 0
            return ZERO
        share = Decimal(repr(float(volume))) * self.volume_participation / instrument.contract_size
        return as_contracts(share, instrument.lot)

    def trades_through(self, side: OrderSide, limit: float, low: float, high: float) -> bool:
        """Return True if prices from ``low`` to ``high`` go beyond the limit."""
        return side.is_limit_passed(limit, low, high)


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
class LiquidationModel:
    """The model of liquidation: the isolated margin is lost, closing fee included.

    The liquidation price of a long is ``P(1 - 1/L)/(1 - mmr - fee)``, of a short
    ``P(1 + 1/L)/(1 + mmr + fee)``, with the entry price P, the leverage L and the maintenance
    margin rate mmr. The mark price is the last price. Assumes one maintenance tier, no partial
    liquidation, and an insurance fund that pays the loss beyond bankruptcy. Costs: results are too
    strict where a venue liquidates in steps, and too good where auto-deleveraging would close a
    winning position.
    """

    def price(
        self, instrument: Instrument, entry: Decimal, leverage: int, quantity: Decimal
    ) -> Decimal:
        """Return the liquidation price, not rounded; 0 or less if there is none.

        Args:
            quantity: contracts, negative for a short; only the sign counts.
        """
        sign = Side.of(quantity).sign
        kept = 1 - sign * (instrument.maintenance_margin_rate + instrument.taker_fee)
        return entry * (1 - Decimal(sign) / leverage) / kept

    def bankruptcy(
        self, instrument: Instrument, entry: Decimal, leverage: int, quantity: Decimal
    ) -> Decimal:
        """Return the price, on the tick, at which loss and closing fee equal the margin."""
        side = Side.of(quantity)
        price = entry * (1 - Decimal(side.sign) / leverage) / (1 - side.sign * instrument.taker_fee)
        tick = instrument.tick
        return max(tick, round_to_tick(price, tick, side.rounding_to_gain))


@attrs.frozen(kw_only=True)
class VenueModels:
    """The models of which an engine is composed."""

    fee: FeeModel = AccountFees()
    latency: LatencyModel = ConstantLatency()
    slippage: SlippageModel = SlippageModel()
    fill: FillModel = VolumeShareFills()
    stop: StopFillModel = StopFillModel()
    funding: FundingModel = SettledFunding()
    liquidation: LiquidationModel = LiquidationModel()

    @classmethod
    def from_settings(cls, exchange: ExchangeSettings, costs: CostModel) -> VenueModels:
        """Return the models that the settings choose."""
        return cls(
            fee=AccountFees(
                taker=costs.taker_bps / BPS_PER_UNIT, maker=costs.maker_bps / BPS_PER_UNIT
            ),
            latency=ConstantLatency(latency_ms=exchange.latency_ms),
            slippage=SlippageModel(bps=float(costs.slippage_bps)),
            fill=VolumeShareFills(volume_participation=exchange.volume_participation),
            stop=StopFillModel(
                gap_range_atr=float(exchange.gap_range_atr),
                gap_depth=float(exchange.gap_depth),
            ),
            funding=SettledFunding(assumed_per_8h=costs.funding_bps_per_8h / BPS_PER_UNIT),
        )
