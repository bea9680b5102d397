"""The embedded venue's models, from fees and latency to liquidation.

Fees, latency, fills and funding implement the protocols of ``model_protocols.py``, so that models
of another venue can replace them. Each model states its assumption and what the assumption costs.
The models of slippage, stops and funding are in ``core/market/fill_prices.py``, because shadow
trades fill by them, too. Rates are fractions, spreads are in basis points.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.market.fill_prices import (
    SettledFunding,
    SlippageModel,
    StopFillModel,
    as_money,
    is_traded_through,
)
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import BPS_PER_UNIT, ZERO, Instrument, OrderSide, Side
from kamou.core.risk.limits import CostModel
from kamou.settings.config import ExchangeSettings
from kamou.settings.price_models import make_price_models
from kamou.venue.model_protocols import FeeModel, FillModel, FundingModel, LatencyModel


def as_contracts(quantity: Decimal, lot: Decimal) -> Decimal:
    """Return ``quantity`` rounded down to a multiple of ``lot``."""
    return (quantity // lot) * lot


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
        return is_traded_through(side, limit, low, high)


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
        prices = make_price_models(exchange, costs)
        return cls(
            fee=AccountFees(
                taker=costs.taker_bps / BPS_PER_UNIT, maker=costs.maker_bps / BPS_PER_UNIT
            ),
            latency=ConstantLatency(latency_ms=exchange.latency_ms),
            slippage=prices.slippage,
            fill=VolumeShareFills(volume_participation=exchange.volume_participation),
            stop=prices.stop,
            funding=prices.funding,
        )
