"""Costs of a round trip, the fee rates, and net reward-to-risk.

Per base unit, entry at P and exit at S cost ``fee_in P + fee_out S + slip (P + S) + funding P``. An
entry that rests pays the maker fee and no slip: ``fee_in P + fee_out S + slip S + funding P``. Only
the vetoes count that. Sizing and review count every entry as a taker's, which is never too little.
Sizing and the veto of the reward-to-risk use this formula (``TradeCosts.round_trip``). As a check
of sizing, ``ReviewContext.risk_parts`` adds the same costs without that function.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.day import HOUR_MS
from kamou.core.model import BPS_PER_UNIT, ZERO, Instrument, Side
from kamou.core.risk.limits import CostModel

FUNDING_UNIT_MS = 8 * HOUR_MS
_ONE = Decimal(1)


@attrs.frozen(kw_only=True)
class TradeCosts:
    """Costs of a round trip, as fractions of price: a base unit pays price x fraction."""

    fee_in: Decimal  # of the entry price
    fee_out: Decimal  # of the exit price
    slip: Decimal  # each way: half the spread, and slippage
    funding: Decimal = ZERO  # of the entry price, over the expected hold; >= 0
    slip_share_in: Decimal = _ONE  # share of ``slip`` that the entry pays: 0 if it rests

    def round_trip(self, entry: Decimal, exit_: Decimal) -> Decimal:
        """Return the cost of one base unit from entry to exit, in price."""
        fees = self.fee_in * entry + self.fee_out * exit_
        slipped = self.slip_share_in * entry + exit_
        return fees + self.slip * slipped + self.funding * entry


@attrs.frozen(kw_only=True)
class ExpectedHold:
    """Side, holding time and funding rate of a planned position.

    ``funding_rate`` is the fraction of notional that longs pay shorts per funding interval. If it
    is None, longs and shorts alike pay the cost model's assumption.
    """

    side: Side
    hold_ms: int
    funding_rate: Decimal | None = None


def taker_rate(instrument: Instrument | None, costs: CostModel) -> Decimal:
    """Return the taker fee that decisions assume, a fraction of notional.

    It is the higher of the instrument's rate and the setting ``costs.taker_bps``. For an unknown
    instrument (None) it is the setting.
    """
    floor = costs.taker_bps / BPS_PER_UNIT
    return floor if instrument is None else max(instrument.taker_fee, floor)


def maker_rate(instrument: Instrument | None, costs: CostModel) -> Decimal:
    """Return the maker fee that decisions assume, a fraction of notional.

    It may be negative, and is the higher of the instrument's rate and the setting
    ``costs.maker_bps``. For an unknown instrument (None) it is the setting.
    """
    floor = costs.maker_bps / BPS_PER_UNIT
    return floor if instrument is None else max(instrument.maker_fee, floor)


def trade_costs(
    *,
    instrument: Instrument | None,
    costs: CostModel,
    spread: Decimal,
    price: Decimal,
    hold: ExpectedHold,
    rests: bool = False,
) -> TradeCosts:
    """Return the costs of a round trip, with an exit as a taker.

    Args:
        instrument: None: unknown, so the cost model's fee and funding count.
        spread: from bid to ask, in price; entry and exit cost half of it each.
        price: the price by which the spread is divided, > 0.
        hold: the holding time for which funding is paid. Funding that would be received counts as
            0, because the rate may change its sign before it settles.
        rests: True if the entry is post-only, so a maker; else it is a taker as well.
    """
    fee = taker_rate(instrument, costs)
    fee_in = maker_rate(instrument, costs) if rests else fee
    if hold.funding_rate is None or instrument is None:
        funding = costs.funding_bps_per_8h / BPS_PER_UNIT * hold.hold_ms / FUNDING_UNIT_MS
    else:
        intervals = Decimal(hold.hold_ms) / (instrument.funding_interval_h * HOUR_MS)
        funding = max(ZERO, hold.funding_rate * hold.side.sign * intervals)
    slip = spread / 2 / price + costs.slippage_bps / BPS_PER_UNIT
    return TradeCosts(
        fee_in=fee_in,
        fee_out=fee,
        slip=slip,
        funding=funding,
        slip_share_in=ZERO if rests else _ONE,
    )


def reward_to_risk(*, target_distance: float, stop_distance: float, cost: float) -> float:
    """Return the reward-to-risk after costs, ``b = (TP - c) / (SL + c)``.

    TP and SL are the distances to target and stop, c is the cost of the round trip, all in price.
    The break-even win rate is 1/(1 + b).

    Raises:
        AssertionError: SL + c is 0 or less.
    """
    assert stop_distance + cost > 0, (stop_distance, cost)
    return (target_distance - cost) / (stop_distance + cost)
