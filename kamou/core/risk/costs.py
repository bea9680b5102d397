"""What a trade is expected to cost, in price per unit: the c of net reward-to-risk.

``c = 2 taker fees + spread + slippage + expected funding over the hold``.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.day import HOUR_MS
from kamou.core.model import BPS, BPS_PER_UNIT, Instrument, Side
from kamou.core.risk.limits import CostModel

FUNDING_UNIT_MS = 8 * HOUR_MS


@attrs.frozen(kw_only=True)
class RoundTripCost:
    """Entry and exit of one unit, each part in price, >= 0."""

    fees: float
    spread: float
    slippage: float
    funding: float

    @property
    def total(self) -> float:
        return self.fees + self.spread + self.slippage + self.funding


def taker_rate(instrument: Instrument | None, costs: CostModel) -> Decimal:
    """Return the fee of a taking fill, a fraction of notional: the one that all decisions count.

    The worse of the account's own rate, which the venue states with the ``instrument``, and the
    setting. None: an instrument that is not known; then the setting alone.
    """
    floor = costs.taker_bps / BPS_PER_UNIT
    return floor if instrument is None else max(instrument.taker_fee, floor)


def round_trip_cost(
    costs: CostModel,
    *,
    instrument: Instrument,
    side: Side,
    price: float,
    spread: float,
    hold_ms: int,
    funding_rate: Decimal | None,
) -> RoundTripCost:
    """Entry and exit as takers, half the ``spread`` (price) each, and funding for the whole hold.

    ``funding_rate`` is the fraction of notional that longs pay shorts per funding interval of the
    instrument; None when unknown, and then the model's assumption is paid. Funding that would be
    received is not counted on: the rate may turn before it settles.
    """
    if funding_rate is None:
        rate, interval_ms = float(costs.funding_bps_per_8h) * BPS, FUNDING_UNIT_MS
    else:
        rate = max(0.0, side.sign * float(funding_rate))
        interval_ms = instrument.funding_interval_h * HOUR_MS
    return RoundTripCost(
        fees=2.0 * float(taker_rate(instrument, costs)) * price,
        spread=spread,
        slippage=2.0 * float(costs.slippage_bps) * BPS * price,
        funding=rate * price * hold_ms / interval_ms,
    )


def reward_to_risk(*, target_distance: float, stop_distance: float, cost: float) -> float:
    """Net: ``(TP - c) / (SL + c)``, all in price per unit; break-even win rate is 1/(1 + b)."""
    assert stop_distance + cost > 0, (stop_distance, cost)
    return (target_distance - cost) / (stop_distance + cost)
