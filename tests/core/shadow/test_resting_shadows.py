"""Resting entries of shadow trades fill as those of the embedded venue, by bars and the mark."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book.shadow_events import ShadowTrade
from kamou.core.market.fill_prices import is_traded_through
from kamou.core.model import OrderSide, Quote, Side
from kamou.core.shadow.closing import ShadowBar
from kamou.core.shadow.resting import RestingShadow, fill_resting
from tests.core.shadow_cases import shadow_trade
from tests.core.trading_cases import NOON, D, quote

BAR_MS = 60_000
REST_MS = 150_000
LIMIT = 100


def placed(side: Side, at_ms: int = NOON) -> RestingShadow:
    trade = attrs.evolve(
        shadow_trade(),
        symbol="SOLUSDT",
        side=side,
        entry_price=D(LIMIT),
        stop_price=D(LIMIT - 3 * side.sign),
        opened_at_ms=at_ms,
        closes_by_ms=at_ms + 3_600_000,
    )
    return RestingShadow(trade=trade, rest_ms=REST_MS)


def bar(opened_at_ms: int, low: float, high: float) -> ShadowBar:
    return ShadowBar(
        opened_at_ms=opened_at_ms,
        closed_at_ms=opened_at_ms + BAR_MS,
        open=(low + high) / 2,
        high=high,
        low=low,
        close=(low + high) / 2,
        range_atr=1.0,
    )


def mark(price: float, at_ms: int) -> Quote:
    return attrs.evolve(quote(), mark=D(repr(price)), at_ms=at_ms)


PRICES = st.integers(96, 104).map(float)


@settings(max_examples=400)
@given(
    st.sampled_from(Side),
    st.integers(-90_000, 90_000),
    st.lists(st.tuples(PRICES, PRICES), max_size=5),
    PRICES,
    st.integers(-1_000, REST_MS + 2_000),
)
def test_an_entry_fills_at_the_first_whole_bar_or_the_mark_that_is_beyond_its_limit(
    side: Side, shift_ms: int, ranges: list[tuple[float, float]], last: float, late_ms: int
) -> None:
    start_ms = NOON + shift_ms
    bars = [
        bar(start_ms + number * BAR_MS, min(two), max(two)) for number, two in enumerate(ranges)
    ]
    found = fill_resting(placed(side), bars, mark(last, NOON + late_ms))
    times = []
    for each in bars:
        inside = NOON < each.closed_at_ms <= NOON + REST_MS
        reach = 3 if each.opened_at_ms < NOON else 0.5  # placed in it: only with its stop
        beyond = each.low <= LIMIT - reach if side is Side.LONG else each.high >= LIMIT + reach
        if inside and beyond:
            times.append(each.opened_at_ms + BAR_MS - 1)
    beyond = last < LIMIT if side is Side.LONG else last > LIMIT
    if 0 <= late_ms <= REST_MS and beyond:
        times.append(NOON + late_ms)
    if not times:
        assert found is None
        return
    assert isinstance(found, ShadowTrade)
    assert found.opened_at_ms == times[0]
    assert found.closes_by_ms - found.opened_at_ms == 3_600_000
    assert found.entry_price == LIMIT


@given(st.sampled_from(OrderSide), PRICES, PRICES, PRICES)
def test_a_limit_is_traded_through_only_strictly_beyond_it(
    side: OrderSide, limit: float, a: float, b: float
) -> None:
    beyond = min(a, b) < limit if side is OrderSide.BUY else max(a, b) > limit
    assert is_traded_through(side, limit, min(a, b), max(a, b)) is beyond


@pytest.mark.parametrize("side", list(OrderSide))
def test_an_unknown_range_fills_no_limit(side: OrderSide) -> None:
    assert not is_traded_through(side, 100.0, float("nan"), float("nan"))
