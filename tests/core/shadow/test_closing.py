"""Exits of shadow trades: every result as the definition gives it, and each rule by an example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kamou.core.book.shadow_events import ClosedShadowTrade, ShadowTrade
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.kinds import ExitReason
from kamou.core.market.bars import Bars
from kamou.core.market.fill_prices import (
    PriceModels,
    SettledFunding,
    SlippageModel,
    StopFillModel,
)
from kamou.core.model import Instrument, Side
from kamou.core.shadow.closing import ShadowWatch, bar_of, close_shadow_trade, sum_funding
from tests.core.shadow import shadow_by_definition as definition
from tests.core.shadow.shadow_by_definition import Bar, Terms
from tests.core.shadow_cases import shadow_trade
from tests.core.trading_cases import NOON, D, instrument

PERIOD = 15 * MINUTE_MS
FIRST = NOON - 16 * PERIOD
FREE = PriceModels(
    slippage=SlippageModel(bps=0.0), funding=SettledFunding(assumed_per_8h=D("0.0001"))
)
NOTHING = (math.nan,) * 4
Prices = tuple[float, float, float, float]


def columns(bars: Sequence[Bar]) -> Bars:
    prices = np.array([[b.open, b.high, b.low, b.close] for b in bars]).T[:, :, np.newaxis]
    return Bars(
        symbols=("SOLUSDT",),
        period_ms=PERIOD,
        open_ms=np.array([bar.open_ms for bar in bars], dtype=np.int64),
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=np.ones((len(bars), 1)),
    )


def follow(
    trade: ShadowTrade, bars: Sequence[Bar], models: PriceModels, listed: Instrument
) -> ShadowWatch:
    watch, made = ShadowWatch(trade=trade), columns(bars)
    for row in range(len(bars)):
        watch.apply(bar_of(made, row, 0), models, listed.tick)
    return watch


def close(
    trade: ShadowTrade,
    bars: Sequence[Bar],
    models: PriceModels = FREE,
    listed: Instrument | None = None,
    rates: Mapping[int, float] | None = None,
) -> ClosedShadowTrade | None:
    listed = listed or instrument()
    watch = follow(trade, bars, models, listed)
    if watch.exit is None:
        return None
    funding = sum_funding(watch, rates or {}, listed, models)
    return close_shadow_trade(trade, watch.exit, funding)


def history(*after: Prices) -> list[Bar]:
    """Return 16 calm bars until noon, and the given ones from noon on."""
    calm = [Bar(FIRST + n * PERIOD, 100.0, 100.5, 99.5, 100.0) for n in range(16)]
    return calm + [Bar(NOON + n * PERIOD, *prices) for n, prices in enumerate(after)]


def closed_by(*after: Prices, **changes: Any) -> ClosedShadowTrade:
    plain: dict[str, Any] = {"half_spread": D(0), "closes_by_ms": 0}
    done = close(shadow_trade(**(plain | changes)), history(*after))
    assert done is not None
    return done


# --- by the definition -----------------------------------------------------------------------


def draw_bars(rng: np.random.Generator, count: int) -> list[Bar]:
    bars, price = [], 100.0
    for n in range(count):
        jump = rng.normal(0, 0.8) if rng.random() < 0.15 else 0.0
        scale = 4.0 if rng.random() < 0.05 else 0.5
        first = round(price + jump, 2)
        last = round(first + rng.normal(0, scale), 2)
        high = round(max(first, last) + abs(rng.normal(0, scale / 2)), 2)
        low = round(min(first, last) - abs(rng.normal(0, scale / 2)), 2)
        missing = rng.random() < 0.04
        prices = NOTHING if missing else (first, high, low, last)
        bars.append(Bar(FIRST + n * PERIOD, *prices))
        price = last
    return bars


def draw_trade(rng: np.random.Generator) -> tuple[ShadowTrade, Instrument]:
    side = Side.LONG if rng.random() < 0.5 else Side.SHORT
    away, gain = round(rng.uniform(0.5, 4), 2), round(rng.uniform(0.5, 6), 2)
    planned = D("100.1") if side is Side.LONG else D("99.9")
    entry = D("100.04") if side is Side.LONG else D("99.96")
    quantity, size = D(int(rng.integers(1, 500))), D("0.1")
    stop = D(100) - side.sign * D(str(away))
    opened = NOON + int(rng.choice([0, 1, 2_000, PERIOD - 1, PERIOD]))
    limit = opened + int(rng.integers(1, 60)) * MINUTE_MS * 7 if rng.random() < 0.8 else 0
    trade = shadow_trade(
        side=side,
        quantity=quantity,
        planned_entry=planned,
        entry_price=entry,
        stop_price=stop,
        target_price=D(100) + side.sign * D(str(gain)),
        planned_risk=abs(planned - stop) * quantity * size,
        half_spread=D(str(round(rng.uniform(0, 0.001), 6))),
        fee_rate=D("0.0007"),
        target_fee_rate=D("0.0003"),
        opened_at_ms=opened,
        closes_by_ms=limit,
    )
    return trade, instrument(funding_interval_h=int(rng.choice([1, 4, 8])))


def terms_of(trade: ShadowTrade, listed: Instrument, models: PriceModels) -> Terms:
    return Terms(
        sign=1 if trade.side is Side.LONG else -1,
        planned_entry=Fraction(trade.planned_entry),
        entry=Fraction(trade.entry_price),
        stop=Fraction(trade.stop_price),
        target=Fraction(trade.target_price),
        units=Fraction(trade.quantity) * Fraction(trade.contract_size),
        opened_ms=trade.opened_at_ms,
        limit_ms=trade.closes_by_ms,
        entry_fee=Fraction(trade.fee),
        taker=Fraction(trade.fee_rate),
        maker=Fraction(trade.target_fee_rate),
        half_spread=Fraction(trade.half_spread),
        slippage_bps=Fraction(models.slippage.bps),
        wide=models.stop.gap_range_atr,
        depth=Fraction(models.stop.gap_depth),
        interval_h=listed.funding_interval_h,
        assumed_8h=Fraction(models.funding.assumed_per_8h),
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_result_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    for _ in range(150):
        models = PriceModels(
            slippage=SlippageModel(bps=float(rng.integers(0, 6))),
            stop=StopFillModel(gap_range_atr=4.0, gap_depth=0.25),
            funding=SettledFunding(assumed_per_8h=D("0.0002")),
        )
        (trade, listed), bars = draw_trade(rng), draw_bars(rng, 60)
        hours = range(FIRST // HOUR_MS * HOUR_MS, bars[-1].open_ms + HOUR_MS, HOUR_MS)
        rates = {h: round(rng.normal(0, 0.001), 6) for h in hours if rng.random() < 0.4}
        terms = terms_of(trade, listed, models)
        expected = definition.find_exit(terms, bars, PERIOD)
        done = close(trade, bars, models, listed, rates)
        if expected is None:
            assert done is None
            continue
        assert done is not None
        assert (done.reason, done.closed_at_ms) == (expected.reason, expected.at_ms)
        price = Fraction(done.exit_price)
        worse = (expected.price - price) * terms.sign
        assert -Fraction(1, 10**9) <= worse < Fraction(listed.tick) + Fraction(1, 10**9)
        funding = definition.sum_funding(terms, expected, rates)
        assert abs(Fraction(done.funding) - funding) < Fraction(1, 10**6)
        r = definition.result_in_r(terms, expected, price, funding)
        assert abs(Fraction(done.r) - r) < Fraction(1, 10**6)
        assert done.pnl == done.gross - done.fees + done.funding
        seen.add(done.reason)
    assert seen >= {"stop_loss", "take_profit", "time_limit"}


# --- by example --------------------------------------------------------------------------------


def test_a_stop_inside_a_bar_fills_at_its_price() -> None:
    done = closed_by(
        (
            100,
            100.5,
            97.9,
            99,
        )
    )
    assert (done.reason, done.exit_price) == (ExitReason.STOP_LOSS, D(98))
    assert done.closed_at_ms == NOON + PERIOD
    assert done.r < -1  # the costs come on top of the planned distance
    assert done.gross == D("-20.4")


def test_a_bar_that_opens_beyond_the_stop_fills_it_at_the_open() -> None:
    calm = (100.0, 100.5, 99.5, 100.0)
    assert closed_by(calm, (97.0, 97.5, 96.5, 97.0)).exit_price == D(97)


def test_in_a_very_wide_bar_a_stop_fills_a_quarter_of_the_way_to_the_extreme() -> None:
    assert closed_by((100.0, 100.5, 90.0, 95.0)).exit_price == D(96)


def test_the_stop_comes_first_when_one_bar_has_the_stop_and_the_target() -> None:
    assert closed_by((100.0, 107.0, 97.9, 100.0)).reason is ExitReason.STOP_LOSS


def test_a_target_that_is_touched_fills_nothing_and_one_that_is_passed_fills_as_maker() -> None:
    done = closed_by((100.0, 106.0, 99.5, 105.0), (105.0, 106.01, 104.0, 105.0))
    assert (done.reason, done.exit_price) == (ExitReason.TAKE_PROFIT, D(106))
    assert done.closed_at_ms == NOON + 2 * PERIOD
    assert done.fees == D("0.60024") + D(106) * 10 * D("0.0002")


def test_in_the_bar_of_its_opening_a_trade_can_be_stopped_and_cannot_reach_its_target() -> None:
    above, below = (100.0, 107.0, 99.5, 100.0), (97.5, 100.5, 97.0, 100.0)
    opened = NOON + 2_000
    stopped = closed_by(below, opened_at_ms=opened)
    assert (stopped.reason, stopped.exit_price) == (ExitReason.STOP_LOSS, D(98))  # not the open
    reached = closed_by(above, above, opened_at_ms=opened)
    assert (reached.reason, reached.closed_at_ms) == (ExitReason.TAKE_PROFIT, NOON + 2 * PERIOD)


def test_bars_that_closed_before_the_opening_change_nothing() -> None:
    crash = (100.0, 107.0, 90.0, 100.0)
    assert close(shadow_trade(opened_at_ms=NOON + PERIOD), history(crash)) is None


def test_a_time_limit_closes_at_the_end_of_its_bar_after_stop_and_target() -> None:
    calm, drop = (100.0, 100.5, 99.5, 99.8), (100.0, 100.5, 97.5, 99.0)
    limit = NOON + PERIOD + 1
    done = closed_by(calm, calm, closes_by_ms=limit)
    assert (done.reason, done.closed_at_ms) == (ExitReason.TIME_LIMIT, NOON + 2 * PERIOD)
    assert done.exit_price == D("99.8")
    assert closed_by(calm, drop, closes_by_ms=limit).reason is ExitReason.STOP_LOSS
    exact = closed_by(calm, calm, closes_by_ms=NOON + PERIOD)
    assert exact.closed_at_ms == NOON + PERIOD


def test_a_stop_and_a_time_limit_pay_spread_and_slippage_on_the_side_of_the_loss() -> None:
    models = PriceModels(slippage=SlippageModel(bps=10.0), funding=FREE.funding)
    bars = history((100.0, 100.5, 97.9, 99.0))
    long = close(shadow_trade(half_spread=D("0.0005")), bars, models)
    assert long is not None
    assert long.exit_price == D("97.85")  # 98 x (1 - 0.0015), rounded down to the tick
    assert long.slippage == D("0.4") + D("1.5")
    short = shadow_trade(
        side=Side.SHORT, stop_price=D(102), target_price=D(90), half_spread=D("0.0005")
    )
    done = close(short, history((100.0, 102.0, 99.5, 101.0)), models)
    assert done is not None
    assert done.exit_price == D("102.16")


def test_a_trade_without_a_price_at_its_time_limit_waits_and_ends_after_a_day_without_one() -> None:
    late = closed_by(NOTHING, NOTHING, (99.0, 99.5, 98.5, 99.0), closes_by_ms=NOON + PERIOD)
    assert (late.reason, late.closed_at_ms) == (ExitReason.TIME_LIMIT, NOON + 3 * PERIOD)
    calm = (100.0, 100.5, 99.5, 99.7)
    gone = closed_by(calm, *[NOTHING] * 97, closes_by_ms=NOON + 2 * PERIOD)
    assert (gone.reason, gone.exit_price) == (ExitReason.DELISTING, D("99.7"))
    assert gone.closed_at_ms == NOON + PERIOD + 96 * PERIOD


# --- funding -------------------------------------------------------------------------------------

CALM = (100.0, 100.5, 99.5, 100.0)
AFTER_ONE = NOON + HOUR_MS  # 13:00


def funding_of(opened: int, limit: int, rates: Mapping[int, float], **changes: Any) -> float:
    trade = shadow_trade(opened_at_ms=opened, closes_by_ms=limit, half_spread=D(0), **changes)
    done = close(trade, history(*[CALM] * 12), FREE, instrument(funding_interval_h=8), rates)
    assert done is not None
    return float(done.funding)


def test_funding_is_paid_by_a_trade_that_is_open_at_the_settlement() -> None:
    rates, paid = {AFTER_ONE: 0.001}, -1.0  # 10 units at 100
    assert funding_of(NOON, AFTER_ONE + PERIOD, rates) == paid
    assert funding_of(AFTER_ONE - 1, AFTER_ONE + PERIOD, rates) == paid
    assert funding_of(AFTER_ONE, AFTER_ONE + PERIOD, rates) == 0  # opened at the settlement
    assert funding_of(NOON, AFTER_ONE, rates) == paid  # the time limit comes after it
    assert funding_of(NOON, AFTER_ONE - PERIOD, rates) == 0


def test_a_short_receives_what_a_long_pays() -> None:
    changes = {"side": Side.SHORT, "stop_price": D(110), "target_price": D(90)}
    assert funding_of(NOON, AFTER_ONE, {AFTER_ONE: 0.001}, **changes) == 1.0


def test_a_trade_that_is_stopped_in_the_bar_before_a_settlement_pays_none() -> None:
    bars = history(CALM, CALM, CALM, (100.0, 100.5, 97.9, 98.5), CALM)
    done = close(shadow_trade(closes_by_ms=0), bars, rates={AFTER_ONE: 0.001})
    assert done is not None
    assert (done.closed_at_ms, done.funding) == (AFTER_ONE, D(0))


def test_an_unknown_settlement_costs_the_assumed_rate_whatever_the_side() -> None:
    at_16 = NOON + 4 * HOUR_MS  # 8-hourly settlements are at 00, 08 and 16
    for side, stop, target in ((Side.LONG, 90, 120), (Side.SHORT, 120, 90)):
        trade = shadow_trade(
            side=side,
            stop_price=D(stop),
            target_price=D(target),
            closes_by_ms=at_16,
            half_spread=D(0),
        )
        done = close(trade, history(*[CALM] * 16))
        assert done is not None
        assert done.funding == D("-0.1")


def test_two_settlements_are_each_paid_at_their_own_mark() -> None:
    rising = [(100.0, 101.0, 99.5, 101.0)] * 4 + [(101.0, 103.0, 100.5, 103.0)] * 4
    trade = shadow_trade(closes_by_ms=AFTER_ONE + HOUR_MS, half_spread=D(0))
    rates = {AFTER_ONE: 0.001, AFTER_ONE + HOUR_MS: -0.002}
    done = close(trade, history(*rising), rates=rates)
    assert done is not None
    assert done.funding == D("-1.01") + D("2.06")
