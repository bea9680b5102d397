"""The cost of a round trip, against its definition computed in fractions."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction as F

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.model import Side
from kamou.core.risk.costs import ExpectedHold, trade_costs
from kamou.core.risk.limits import CostModel
from kamou.core.risk.sizing import unit_loss
from tests.core.trading_cases import instrument

HOUR_MS = 3_600_000
PRICE = st.decimals("0.01", "100000", places=2)
BPS = st.integers(0, 50)


@settings(max_examples=300)
@given(
    entry=PRICE,
    stop=PRICE,
    spread=st.decimals("0", "5", places=2),
    own=BPS,
    assumed=BPS,
    slippage=BPS,
    rate=st.none() | st.decimals("-0.01", "0.01", places=5),
    side=st.sampled_from(Side),
    hold_h=st.integers(0, 72),
    interval_h=st.sampled_from([1, 4, 8]),
    gap=st.decimals("0", "5", places=2),
)
def test_a_round_trip_costs_fees_spread_slippage_and_payable_funding(
    entry: D,
    stop: D,
    spread: D,
    own: int,
    assumed: int,
    slippage: int,
    rate: D | None,
    side: Side,
    hold_h: int,
    interval_h: int,
    gap: D,
) -> None:
    model = CostModel(taker_bps=D(assumed), slippage_bps=D(slippage))
    costs = trade_costs(
        instrument=instrument(taker_fee=D(own) / 10_000, funding_interval_h=interval_h),
        costs=model,
        spread=spread,
        price=entry,
        hold=ExpectedHold(side=side, hold_ms=hold_h * HOUR_MS, funding_rate=rate),
    )
    paid = F(model.funding_bps_per_8h) / 10_000 * F(hold_h, 8)
    if rate is not None:
        signed = F(rate) if side is Side.LONG else -F(rate)
        paid = max(F(0), signed * F(hold_h, interval_h))
    each_way = F(max(own, assumed) + slippage, 10_000) + F(spread) / F(entry) / 2
    right = each_way * (F(entry) + F(stop)) + paid * F(entry)
    assert float(costs.round_trip(entry, stop)) == pytest.approx(float(right), rel=1e-12)
    lost = right + abs(F(entry) - F(stop)) * (1 + F(gap))
    assert float(unit_loss(entry, stop, costs, gap)) == pytest.approx(float(lost), rel=1e-12)
