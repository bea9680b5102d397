"""What is assumed of a symbol at a time follows from the bars that have closed by then."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.errors import RejectedError
from kamou.venue.engine import Engine
from kamou.venue.market.recorded import RecordedMarket
from tests.venue.market.known_contracts import instruments_at
from tests.venue.venue_orders import BUY, EXACT, open_engine, order

SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT")
START_MS = 1_737_504_000_000  # 2025-01-22
FIELDS = ("open", "high", "low", "close", "volume")
TIERS = ((10, 75, "0.005"), (50, 50, "0.01"), (math.inf, 25, "0.02"))


def draw_set(seed: int) -> Dataset:
    """Return bars of up to 17 days in which everything that is assumed changes."""
    rng = np.random.default_rng(seed)
    hours = int(rng.choice([1, 2, 4]))
    count = int(rng.integers(2, 17 * 24 // hours))
    shape = (count, len(SYMBOLS))
    first_ms = START_MS + int(rng.integers(0, 24 // hours)) * hours * HOUR_MS
    walk = np.cumsum(rng.normal(0.0, 0.1, shape), axis=0)
    close = 10.0 ** rng.uniform(-7, 5, shape[1]) * np.exp(walk)
    opened = np.concatenate([close[:1], close[:-1]])
    prices = {"open": opened, "close": close}
    prices["high"], prices["low"] = np.maximum(opened, close), np.minimum(opened, close)
    volume = np.exp(rng.normal(0.0, 1.0, shape) + np.cumsum(rng.normal(0.0, 0.3, shape), axis=0))
    for column in range(shape[1]):
        digits = int(rng.integers(2, 5)) - math.floor(math.log10(close[:, column].max()))
        decimals = np.full(count, max(0, min(7, digits)))
        for finer in (1, int(rng.integers(1, 3))):
            decimals[int(rng.integers(0, 2 * count)) :] += finer
        for each in prices.values():
            each[:, column] = [
                max(round(value, int(places)), 10.0 ** -int(places))
                for value, places in zip(each[:, column], decimals, strict=True)
            ]
    missing = rng.random(shape) < 0.05
    missing[: int(rng.integers(0, count)), 1] = True  # listed later
    missing[int(rng.integers(0, count)) :, 2] = True  # delisted
    columns = {name: np.where(missing, np.nan, each) for name, each in prices.items()}
    gaps = rng.choice([1, 4, 8, 8, 16], size=40)
    settled = np.where(rng.random((40, shape[1])) < 0.1, np.nan, 0.0001)
    return Dataset(
        name="drawn",
        bars=Bars(
            symbols=SYMBOLS,
            period_ms=hours * HOUR_MS,
            open_ms=first_ms + hours * HOUR_MS * np.arange(count, dtype=np.int64),
            volume=np.where(missing, np.nan, volume),
            **columns,
        ),
        funding=Series(
            symbols=SYMBOLS,
            available_ms=START_MS + HOUR_MS * np.cumsum(gaps).astype(np.int64),
            values=settled,
            period_ms=8 * HOUR_MS,
        ),
        open_interest=empty_series(SYMBOLS, DAY_MS),
    )


def cut_at(data: Dataset, cut_ms: int) -> Dataset:
    """Return what a recording that ended at ``cut_ms`` would have."""
    bars = data.bars
    rows = bars.open_ms + bars.period_ms <= cut_ms
    columns = {name: getattr(bars, name)[rows] for name in FIELDS}
    return attrs.evolve(
        data,
        bars=attrs.evolve(bars, open_ms=bars.open_ms[rows], **columns),
        funding=data.funding.between(0, cut_ms),
    )


def places_of(price: float) -> int:
    """Return the decimals of a price by its shortest text."""
    exponent = Decimal(repr(price)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def power_below(value: float) -> Decimal:
    """Return the largest power of ten that is at most ``value``."""
    power = Decimal(10) ** 15
    while power > Decimal(value):
        power /= 10
    return power


def ranking_time(first_ms: int, at_ms: int) -> int | None:
    """Return the latest ranking at or before an instant; None before the first one."""
    first = first_ms + DAY_MS
    while first % DAY_MS:
        first += HOUR_MS
    days = range(first, at_ms + 1, DAY_MS)
    later = [day for day in days[1:] if datetime.fromtimestamp(day / 1000, UTC).day == 1]
    return [*days[:1], *later][-1] if days else None


def ranks_by_definition(bars: Bars, at_ms: int) -> list[int]:
    """Return the rank of turnover of each symbol; the drawn sets are below 500 bars."""
    ranked_ms = ranking_time(int(bars.open_ms[0]), at_ms)
    if ranked_ms is None:
        return [150] * len(SYMBOLS)
    turnover = []
    for column in range(len(SYMBOLS)):
        closed = bars.open_ms + bars.period_ms <= ranked_ms
        values = (bars.close * bars.volume)[closed, column].tolist()
        turnover.append(median(0.0 if math.isnan(each) else each for each in values))
    ordered = sorted(turnover, reverse=True)
    return [ordered.index(each) + 1 if each else 150 for each in turnover]


def expected(data: Dataset, column: int, at_ms: int) -> dict[str, Any]:
    """Return a symbol's assumed figures at an instant, by their definition."""
    bars = data.bars
    closed = (bars.open_ms + bars.period_ms <= at_ms) & ~np.isnan(bars.close[:, column])
    prices = [
        each
        for name in ("open", "high", "low", "close")
        for each in getattr(bars, name)[closed, column].tolist()
    ]
    rank = ranks_by_definition(bars, at_ms)[column]
    leverage, margin = next(tier[1:] for tier in TIERS if rank <= tier[0])
    known = np.count_nonzero(closed) >= 20
    tick = Decimal(10) ** -max(map(places_of, prices)) if known else Decimal("1E-10")
    lot = power_below(1.0 / max(prices)) if known else Decimal("1E-7")
    price = RecordedMarket(data, instruments=()).prices(at_ms)[column]
    half_tick = 0.0 if math.isnan(price) else float(tick) / price / 2 * 1e4
    return {
        "tick": tick,
        "lot": lot,
        "qty_min": lot,
        "qty_max": lot * 10**9 if known else lot,
        "leverage_max": leverage,
        "maintenance_margin_rate": Decimal(margin),
        "half_spread_bps": max(0.3 * math.sqrt(rank), half_tick),
    }


def instants(data: Dataset, rng: np.random.Generator) -> list[int]:
    """Return times at, before and between the closes of bars and midnights."""
    first, last = int(data.bars.open_ms[0]), int(data.bars.open_ms[-1]) + data.bars.period_ms
    drawn = rng.integers(first, last, size=12)
    closes = drawn // data.bars.period_ms * data.bars.period_ms
    midnights = np.arange(first - first % DAY_MS + DAY_MS, last, DAY_MS)[:20]
    times = np.concatenate([drawn, closes, closes - 1, midnights, midnights - 1])
    return sorted(int(each) for each in times if first <= each < last)


@pytest.mark.parametrize("seed", range(40))
def test_the_assumed_figures_at_a_time_are_those_of_the_bars_closed_by_then(seed: int) -> None:
    data = draw_set(seed)
    market = RecordedMarket(data)
    for at_ms in instants(data, np.random.default_rng([seed, 1])):
        listed, spreads = instruments_at(market, at_ms), market.half_spread_bps(at_ms)
        for column, each in enumerate(listed):
            figures = expected(data, column, at_ms)
            assert spreads[column] == pytest.approx(figures.pop("half_spread_bps"), rel=1e-9)
            assert {name: getattr(each, name) for name in figures} == figures


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_a_set_that_is_cut_gives_the_same_answers_at_every_instant_before_the_cut(
    seed: int, share: float
) -> None:
    data = draw_set(seed)
    bars = data.bars
    cut_ms = int(bars.open_ms[int(share * (len(bars.open_ms) - 1))]) + bars.period_ms
    whole, cut = RecordedMarket(data), RecordedMarket(cut_at(data, cut_ms))
    times = [each for each in instants(data, np.random.default_rng([seed, 2])) if each < cut_ms]
    times.append(cut_ms - 1)
    assert cut.contract_changes(-1, cut_ms - 1) == whole.contract_changes(-1, cut_ms - 1)
    for at_ms in times:
        assert instruments_at(cut, at_ms) == instruments_at(whole, at_ms)
        since = max(whole.first_ms, at_ms - 5 * bars.period_ms)
        for mine, others in zip(
            answers(cut, since, at_ms), answers(whole, since, at_ms), strict=True
        ):
            assert np.array_equal(mine, others, equal_nan=True)


def answers(market: RecordedMarket, since_ms: int, at_ms: int) -> list[Floats]:
    """Return what the market says at an instant, and about the time from ``since_ms``."""
    path = market.segment(since_ms, at_ms)
    return [
        market.half_spread_bps(at_ms),
        market.prices(at_ms),
        market.funding_rates(since_ms, at_ms).values,
        market.bars(market.step_ms, since_ms, at_ms).close,
        *(getattr(path, name) for name in (*FIELDS, "range_atr")),
    ]


def finer_set(bars: int = 60, *, finer: int = 40) -> Dataset:
    """Return hourly bars at 5.00 whose prices have a third decimal from the bar ``finer`` on."""
    shape = (bars, 1)
    close = np.full(shape, 5.01)
    close[finer:] = 5.013
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    return Dataset(
        name="finer",
        bars=Bars(
            symbols=("AAAUSDT",),
            period_ms=HOUR_MS,
            open_ms=START_MS + HOUR_MS * np.arange(bars, dtype=np.int64),
            volume=np.full(shape, 1e6),
            **columns,
        ),
        funding=empty_series(("AAAUSDT",), 8 * HOUR_MS),
        open_interest=empty_series(("AAAUSDT",), DAY_MS),
    )


def open_at(market: RecordedMarket, bars: int) -> Engine:
    """Return a venue over the market at the close of its bar number ``bars``."""
    engine = open_engine(":memory:", market)
    engine.advance(START_MS + bars * HOUR_MS)
    return engine


def test_a_symbol_can_be_entered_from_its_twentieth_closed_bar_on() -> None:
    engine = open_at(RecordedMarket(finer_set()), 19)
    smallest = order("e1", BUY, "0.0000001", symbol="AAAUSDT")
    for quantity, code in (("0.0000001", "NOTIONAL_BELOW_MINIMUM"), ("1", "QUANTITY_")):
        with pytest.raises(RejectedError, match=code):
            engine.place(attrs.evolve(smallest, quantity=Decimal(quantity)))
    engine.advance(START_MS + 20 * HOUR_MS)
    engine.place(order("e2", BUY, "10", symbol="AAAUSDT"))
    assert [each.quantity for each in engine.positions()] == [10]


def test_the_venue_lists_a_finer_tick_at_the_close_of_the_bar_that_shows_it() -> None:
    market = RecordedMarket(finer_set(finer=40))
    engine = open_at(market, 20)
    listed = []
    for hours in range(20, 60):
        engine.advance(START_MS + hours * HOUR_MS)
        listed.append(market.instruments[0].tick)
    assert listed == [Decimal("0.01")] * 21 + [Decimal("0.001")] * 19


def test_a_second_venue_over_a_market_begins_with_what_is_known_at_its_time() -> None:
    market = RecordedMarket(finer_set(finer=40))
    open_at(market, 50)
    assert market.instruments[0].tick == Decimal("0.001")
    assert open_at(market, 30).instruments["AAAUSDT"].tick == Decimal("0.01")
    assert open_at(market, 0).instruments["AAAUSDT"].tick == Decimal("1E-10")


def test_a_venue_keeps_a_changed_contract_size_when_the_tick_becomes_finer() -> None:
    engine = open_at(RecordedMarket(finer_set(finer=40)), 30)
    engine.change_instrument(attrs.evolve(engine.instruments["AAAUSDT"], contract_size=Decimal(10)))
    engine.advance(START_MS + 45 * HOUR_MS)
    changed = engine.instruments["AAAUSDT"]
    assert (changed.contract_size, changed.tick) == (Decimal(10), Decimal("0.001"))
    assert changed.taker_fee == EXACT.fee.with_rates(changed).taker_fee


def test_given_instruments_change_only_their_funding_interval() -> None:
    data = draw_set(5)
    given_ones = instruments_at(RecordedMarket(data), 2**60)
    market = RecordedMarket(data, instruments=given_ones)
    for at_ms in (0, int(data.bars.open_ms[-1])):
        for each, first in zip(instruments_at(market, at_ms), given_ones, strict=True):
            assert attrs.evolve(each, funding_interval_h=first.funding_interval_h) == first
