"""Taker rate, costs of a round trip per base unit, and net reward-to-risk.

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
    """Costs of entry and exit of one base unit, each part in price, >= 0."""

    fees: float
    spread: float
    slippage: float
    funding: float

    @property
    def total(self) -> float:
        """Sum of all parts, in price per base unit."""
        return self.fees + self.spread + self.slippage + self.funding


def taker_rate(instrument: Instrument | None, costs: CostModel) -> Decimal:
    """Return the taker fee that decisions assume, a fraction of notional.

    It is the higher of the instrument's rate and the setting. For an unknown instrument (None) it
    is the setting.
    """
    floor = costs.taker_bps / BPS_PER_UNIT
    return floor if instrument is None else max(instrument.taker_fee, floor)


def round_trip_cost(
    costs: CostModel,
    *,
    instrument: Instrument | None,
    side: Side,
    price: float,
    spread: float,
    hold_ms: int,
    funding_rate: Decimal | None,
) -> RoundTripCost:
    """Return the costs of entry and exit as a taker, with funding over the whole hold.

    Args:
        price: of the entry.
        spread: bid to ask, in price; entry and exit cost half each.
        funding_rate: fraction of notional that longs pay shorts per funding interval; None: the
            cost model's assumption, as without an instrument. Funding that would be received counts
            as 0, because the rate may turn before it settles.
    """
    if funding_rate is None or instrument is None:
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
    """Return the net reward-to-risk ``b = (TP - c) / (SL + c)``.

    The break-even win rate is 1/(1 + b). All arguments are distances in price.
    """
    assert stop_distance + cost > 0, (stop_distance, cost)
    return (target_distance - cost) / (stop_distance + cost)
