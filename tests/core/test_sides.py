"""The arithmetic of long and short, against definitions that are written here a second time.

A short at the price ``MIRROR`` - p is the mirror image of a long at the price p. Most definitions
name each side and use no sign.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, localcontext
from decimal import Decimal as D
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.kinds import FillReason
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import FillReport, OrderSide, Quote, Side
from tests.core.trading_cases import NOON

CASES = settings(max_examples=300)
PRICES = st.decimals(D("0.0001"), 100_000, allow_nan=False, places=4)
SIDES = st.sampled_from(Side)
ORDER_SIDES = st.sampled_from(OrderSide)
NARROW = st.integers(1, 12).map(D)  # so that prices are often equal
MIRROR = D(200_000)


def mirrored(price: D) -> D:
    """Return the price of the mirror image of a position at ``price``."""
    return MIRROR - price


@CASES
@given(PRICES, PRICES)
def test_a_long_gains_what_the_price_rises_and_a_short_what_it_falls(before: D, after: D) -> None:
    rise = Fraction(after) - Fraction(before)
    assert Fraction(Side.LONG.gain(before, after)) == rise
    assert Fraction(Side.SHORT.gain(before, after)) == -rise
    assert Fraction(Side.LONG.loss(before, after)) == -rise
    assert Fraction(Side.SHORT.loss(before, after)) == rise


@CASES
@given(PRICES, PRICES, PRICES, SIDES)
def test_gains_of_opposite_sides_sum_to_zero_and_successive_gains_add_up(
    a: D, b: D, c: D, side: Side
) -> None:
    assert side.gain(a, b) + side.opposite.gain(a, b) == 0
    assert side.gain(a, b) == -side.gain(b, a) == side.loss(b, a) == -side.loss(a, b)
    assert side.gain(a, c) == side.gain(a, b) + side.gain(b, c)


@CASES
@given(PRICES, PRICES, SIDES)
def test_a_position_has_the_result_of_its_mirror_image(a: D, b: D, side: Side) -> None:
    other = side.opposite
    assert side.gain(a, b) == other.gain(mirrored(a), mirrored(b))
    assert side.has_reached(a, b) is other.has_reached(mirrored(a), mirrored(b))


@CASES
@given(NARROW, NARROW)
def test_a_long_has_reached_its_stop_at_or_below_it_and_a_short_at_or_above_it(
    price: D, stop: D
) -> None:
    assert Side.LONG.has_reached(price, stop) is (price <= stop)
    assert Side.SHORT.has_reached(price, stop) is (price >= stop)


@CASES
@given(PRICES, PRICES)
def test_the_higher_price_is_worse_for_a_buy_and_the_lower_price_for_a_sell(a: D, b: D) -> None:
    low, high = sorted((a, b))
    assert (OrderSide.BUY.worse(a, b), OrderSide.BUY.better(a, b)) == (high, low)
    assert (OrderSide.SELL.worse(a, b), OrderSide.SELL.better(a, b)) == (low, high)
    assert Fraction(OrderSide.BUY.extra_cost(a, b)) == Fraction(b) - Fraction(a)
    assert Fraction(OrderSide.SELL.extra_cost(a, b)) == Fraction(a) - Fraction(b)


@CASES
@given(PRICES, PRICES, ORDER_SIDES)
def test_the_worse_of_two_prices_costs_more_whatever_their_order(
    a: D, b: D, side: OrderSide
) -> None:
    worse, better = side.worse(a, b), side.better(a, b)
    assert {worse, better} == {a, b}
    assert side.extra_cost(better, worse) == abs(a - b)
    assert side.worse(worse, better) == side.worse(b, a) == worse == side.worse(worse, worse)
    assert mirrored(worse) == side.opposite.worse(mirrored(a), mirrored(b))


@CASES
@given(NARROW, NARROW, NARROW)
def test_a_path_triggers_a_stop_at_a_touch_and_fills_a_limit_only_beyond_it(
    level: D, one: D, other: D
) -> None:
    low, high = sorted((one, other))
    path = [low + n for n in range(int(high - low) + 1)]
    assert OrderSide.SELL.is_stop_hit(level, low, high) is any(price <= level for price in path)
    assert OrderSide.BUY.is_stop_hit(level, low, high) is any(price >= level for price in path)
    assert OrderSide.BUY.is_limit_passed(level, low, high) is any(price < level for price in path)
    assert OrderSide.SELL.is_limit_passed(level, low, high) is any(price > level for price in path)


@CASES
@given(PRICES, st.sampled_from([D("0.0001"), D("0.05"), D("0.1"), D(3), D(25)]))
def test_prices_are_rounded_up_or_down_to_the_tick_by_side_and_purpose(price: D, tick: D) -> None:
    exact = Fraction(price) / Fraction(tick)
    up, down = ceil(exact) * tick, floor(exact) * tick
    long, short, buy, sell = Side.LONG, Side.SHORT, OrderSide.BUY, OrderSide.SELL
    wanted = {
        long.rounding_to_gain: up,
        long.rounding_to_loss: down,
        buy.rounding_against: up,
        sell.rounding_against: down,
    }
    assert {mode: round_to_tick(price, tick, mode) for mode in wanted} == wanted
    assert (short.rounding_to_gain, short.rounding_to_loss) == (ROUND_FLOOR, ROUND_CEILING)
    assert (long.rounding_to_gain, long.rounding_to_loss) == (ROUND_CEILING, ROUND_FLOOR)
    assert (buy.rounding_against, sell.rounding_against) == (ROUND_CEILING, ROUND_FLOOR)


@CASES
@given(PRICES, st.integers(1, 400), SIDES)
def test_a_price_on_the_tick_stays_and_any_other_moves_by_less_than_a_tick(
    price: D, ticks: int, side: Side
) -> None:
    tick = D(ticks) / 16
    nearer = round_to_tick(price, tick, side.rounding_to_gain)
    further = round_to_tick(price, tick, side.rounding_to_loss)
    assert 0 <= side.gain(price, nearer) < tick
    assert 0 <= side.loss(price, further) < tick
    for rounding in (side.rounding_to_gain, side.rounding_to_loss):
        assert round_to_tick(nearer, tick, rounding) == nearer


@CASES
@given(PRICES, SIDES)
def test_a_signed_quantity_has_the_side_that_signed_it(quantity: D, side: Side) -> None:
    assert Side.of(quantity * side.sign) is side
    assert quantity * side.sign * side.sign == quantity
    assert Side.of(quantity) is Side.LONG
    assert Side.of(-quantity) is Side.SHORT


def test_a_long_is_opened_by_a_buy_and_closed_by_a_sell_and_a_short_the_other_way_round() -> None:
    assert (Side.LONG.opening, Side.LONG.closing) == (OrderSide.BUY, OrderSide.SELL)
    assert (Side.SHORT.opening, Side.SHORT.closing) == (OrderSide.SELL, OrderSide.BUY)
    assert (Side.LONG.sign, Side.SHORT.sign) == (OrderSide.BUY.sign, OrderSide.SELL.sign) == (1, -1)
    for side in Side:
        assert side.opposite is not side is side.opposite.opposite
        assert side.opening.opposite is side.closing is not side.opening
        assert side.opening.opposite.opposite is side.opening


@pytest.mark.parametrize("side", OrderSide)
def test_the_signed_quantity_of_a_fill_is_positive_for_a_buy_and_negative_for_a_sell(
    side: OrderSide,
) -> None:
    fill = FillReport(
        symbol="BTCUSDT",
        execution_id="1",
        client_order_id="",
        venue_order_id="",
        side=side,
        quantity=D(3),
        price=D(100),
        fee=D(0),
        slippage=D(0),
        maker=False,
        reason=FillReason.ORDER,
        at_ms=NOON,
    )
    assert fill.signed == {"buy": 3, "sell": -3}[side.value]


@CASES
@given(PRICES, PRICES, ORDER_SIDES)
def test_an_order_takes_the_worse_of_bid_and_ask(one: D, other: D, side: OrderSide) -> None:
    bid, ask = sorted((one, other))
    quote = Quote(
        symbol="BTCUSDT", bid=bid, ask=ask, bid_qty=D(1), ask_qty=D(1), mark=bid, at_ms=NOON
    )
    assert quote.touch(side) == side.worse(bid, ask)
    assert (quote.touch(OrderSide.SELL), quote.touch(OrderSide.BUY)) == (bid, ask)


@CASES
@given(PRICES, PRICES, st.integers(1, 28))
def test_a_gain_is_rounded_once_so_both_sides_have_the_same_digits(
    before: D, after: D, digits: int
) -> None:
    with localcontext() as context:
        context.prec = digits
        exact = after - before
        assert Side.LONG.gain(before, after).compare_total(exact) == 0
        assert Side.SHORT.gain(before, after).compare_total(exact * -1) == 0
