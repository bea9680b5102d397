"""Recorded bars as a market: high, low and close of a bar are unknown before it closes."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.market.bars import Bars, Dataset, Segment, Series, empty_series, trailing_atr
from kamou.errors import InvalidDataError
from kamou.venue.market.recorded import RecordedMarket
from tests.venue.market.known_contracts import instruments_at

STEP_MS = 900_000
START_MS = 1_735_689_600_000
BARS = 60
SYMBOLS = ("AAAUSDT", "BBBUSDC", "CCC")


def make_set(
    *, holes: tuple[tuple[int, int], ...] = (), open_interest: Series | None = None
) -> Dataset:
    rng = np.random.default_rng(3)
    width = len(SYMBOLS)
    base = np.array([50_000.0, 3.0, 0.004])
    decimals = np.array([1, 3, 6])
    path = base * np.exp(np.cumsum(0.004 * rng.standard_normal((BARS + 1, width)), axis=0))
    opened, close = (
        np.round(each * 10.0**decimals) / 10.0**decimals for each in (path[:-1], path[1:])
    )
    tick = 10.0**-decimals
    high = np.round((np.maximum(opened, close) + 3 * tick) / tick) * tick
    low = np.round((np.minimum(opened, close) - 2 * tick) / tick) * tick
    volume = np.array([100.0, 5e5, 1e6]) * np.ones((BARS, width))
    for row, column in holes:
        for field in (opened, high, low, close, volume):
            field[row, column] = np.nan
    return Dataset(
        name="made",
        bars=Bars(
            symbols=SYMBOLS,
            period_ms=STEP_MS,
            open_ms=START_MS + STEP_MS * np.arange(BARS, dtype=np.int64),
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=volume.astype(np.float32),
        ),
        funding=empty_series(SYMBOLS, 8 * 3_600_000),
        open_interest=empty_series(SYMBOLS, 3_600_000) if open_interest is None else open_interest,
    )


MARKET = RecordedMarket(make_set())
HOLED = RecordedMarket(make_set(holes=((0, 1), (7, 0), (8, 0), (20, 2), (BARS - 1, 1))))


def close_of(bar: int) -> int:
    return START_MS + (bar + 1) * STEP_MS


def values(part: Segment) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in attrs.fields(Segment)}


def test_the_price_of_an_unfinished_bar_is_its_open() -> None:
    part = MARKET.segment(close_of(29) + 1_000, close_of(30) - 1)
    opened = MARKET.data.bars.open[30]
    for price in (part.open, part.high, part.low, part.close):
        assert np.array_equal(price, opened)
    assert (part.volume == 0).all()
    assert (part.range_atr == 0).all()
    assert np.array_equal(MARKET.prices(close_of(30) - 1), opened)


@pytest.mark.parametrize("from_ms", [close_of(29), close_of(29) + 2_150])
def test_a_recorded_bar_has_its_whole_path_at_its_close(from_ms: int) -> None:
    part = MARKET.segment(from_ms, close_of(30))
    bars = MARKET.data.bars
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(part, name), getattr(bars, name)[30])
    atr = trailing_atr(bars.high, bars.low, bars.close)[30]
    assert np.allclose(part.range_atr, (bars.high[30] - bars.low[30]) / atr)
    assert np.array_equal(MARKET.prices(close_of(30)), bars.open[31])


def test_high_low_and_close_of_an_unfinished_bar_are_unknown() -> None:
    data = make_set()
    for name in ("high", "low", "close"):
        getattr(data.bars, name)[30:] *= 1.5
    other = RecordedMarket(data, instruments=MARKET.instruments)
    until = close_of(30) - 1
    for from_ms in (close_of(20), close_of(29), until - 5):
        expected, found = (values(each.segment(from_ms, until)) for each in (MARKET, other))
        for name, value in expected.items():
            assert np.array_equal(value, found[name], equal_nan=True), name
    assert np.array_equal(MARKET.prices(until), other.prices(until))
    assert np.array_equal(
        MARKET.bars(STEP_MS, START_MS, until).close,
        other.bars(STEP_MS, START_MS, until).close,
    )


@settings(max_examples=80)
@given(
    cuts=st.lists(st.integers(-STEP_MS, (BARS + 2) * STEP_MS), min_size=3, max_size=6, unique=True),
    holed=st.booleans(),
)
def test_the_segments_of_the_parts_of_an_interval_compose_to_its_segment(
    cuts: list[int], holed: bool
) -> None:
    market = HOLED if holed else MARKET
    times = [START_MS + cut for cut in sorted(cuts)]
    whole = market.segment(times[0], times[-1])
    parts = [market.segment(a, b) for a, b in pairwise(times)]
    highs = np.fmax.reduce([part.high for part in parts])
    lows = np.fmin.reduce([part.low for part in parts])
    assert np.array_equal(whole.high, highs, equal_nan=True)
    assert np.array_equal(whole.low, lows, equal_nan=True)
    for column in range(len(SYMBOLS)):
        opens = [p.open[column] for p in parts if not np.isnan(p.open[column])]
        closes = [p.close[column] for p in parts if not np.isnan(p.close[column])]
        if opens:
            assert whole.open[column] == opens[0]
            assert whole.close[column] == closes[-1]
        else:
            assert np.isnan(whole.open[column])
    traded = np.nansum([part.volume for part in parts], axis=0)
    assert np.allclose(np.nan_to_num(whole.volume), traded)


def test_the_range_of_many_bars_is_that_of_the_widest() -> None:
    part = MARKET.segment(close_of(29), close_of(39))
    each = [MARKET.segment(close_of(bar - 1), close_of(bar)).range_atr for bar in range(30, 40)]
    assert np.array_equal(part.range_atr, np.max(each, axis=0))


def test_before_the_first_bar_and_after_the_last_segments_are_nan_and_the_last_price_stays() -> (
    None
):
    for from_ms, to_ms in (
        (START_MS - 500, START_MS - 1),
        (START_MS - 500, START_MS),
        (MARKET.last_ms, MARKET.last_ms + 5),
        (MARKET.last_ms + STEP_MS, MARKET.last_ms + 9 * STEP_MS),
    ):
        assert np.isnan(MARKET.segment(from_ms, to_ms).high).all()
    assert np.isnan(MARKET.prices(START_MS - 1)).all()
    last = MARKET.data.bars.close[-1]
    assert np.array_equal(MARKET.prices(MARKET.last_ms), last)
    assert np.array_equal(MARKET.prices(MARKET.last_ms + STEP_MS), last)


def test_a_missing_bar_removes_the_market_of_its_symbol_only() -> None:
    inside = HOLED.segment(close_of(6) + 5, close_of(6) + 10)
    assert np.isnan(inside.open[0])
    assert not np.isnan(inside.open[1:]).any()
    assert np.isnan(HOLED.segment(close_of(6), close_of(7)).close[0])
    across = HOLED.segment(close_of(5), close_of(10))
    assert across.open[0] == HOLED.data.bars.open[6, 0]
    assert across.close[0] == HOLED.data.bars.close[10, 0]
    assert HOLED.prices(HOLED.last_ms)[1] == HOLED.data.bars.close[-2, 1]
    assert HOLED.recorded_bars == 3 * BARS - 5


def test_a_market_without_price_moves_has_no_known_range() -> None:
    data = make_set()
    for name in ("open", "high", "low", "close"):
        getattr(data.bars, name)[:, 1] = 3.0
    part = RecordedMarket(data).segment(close_of(29), close_of(30))
    assert np.isnan(part.range_atr[1])
    assert not np.isnan(part.range_atr[0])


def test_bars_are_the_complete_ones_inside_the_interval() -> None:
    bars = MARKET.bars(STEP_MS, START_MS + 1, close_of(9) - 1)
    assert bars.open_ms.tolist() == [START_MS + bar * STEP_MS for bar in range(1, 9)]
    assert bars.volume.dtype == np.float64
    hours = MARKET.bars(4 * STEP_MS, START_MS, close_of(9))
    assert hours.open_ms.tolist() == [START_MS, START_MS + 4 * STEP_MS]
    assert np.array_equal(hours.high[1], MARKET.data.bars.high[4:8].max(axis=0))
    assert len(MARKET.bars(STEP_MS, MARKET.last_ms, MARKET.last_ms + STEP_MS).open_ms) == 0
    assert len(MARKET.bars(STEP_MS, close_of(5), close_of(3)).open_ms) == 0


def test_observations_are_served_from_their_availability_on() -> None:
    series = Series(
        symbols=SYMBOLS,
        available_ms=START_MS + 3_600_000 * np.arange(5, dtype=np.int64),
        values=np.arange(15.0).reshape(5, 3),
        period_ms=3_600_000,
    )
    market = RecordedMarket(attrs.evolve(make_set(open_interest=series), funding=series))
    until = START_MS + 2 * 3_600_000
    for served in (market.open_interest(START_MS, until), market.funding_rates(START_MS, until)):
        assert served.available_ms.tolist() == [START_MS + 3_600_000, until]
        assert served.values[-1].tolist() == [6.0, 7.0, 8.0]
    assert market.long_short_ratios(START_MS, until).values.shape == (0, 3)
    known = [instruments_at(market, at_ms)[0] for at_ms in (until - 3_600_001, until - 3_600_000)]
    assert [each.funding_interval_h for each in known] == [8, 1]
    assert market.restrict(("CCC",)).open_interest(0, until).values.tolist() == [
        [2.0],
        [5.0],
        [8.0],
    ]


def test_instruments_and_spreads_are_inferred_from_the_bars() -> None:
    listed = instruments_at(MARKET, MARKET.last_ms)
    big, middle, small = listed
    assert (big.base, big.quote) == ("AAA", "USDT")
    assert (middle.base, middle.quote) == ("BBB", "USDC")
    assert (small.base, small.quote) == ("CCC", "USDT")
    assert [each.tick for each in listed] == [
        Decimal("0.1"),
        Decimal("0.001"),
        Decimal("0.000001"),
    ]
    for each, highest in zip(listed, MARKET.data.bars.high.max(axis=0), strict=True):
        assert 0.1 < float(each.lot) * highest <= 1
        assert each.qty_min == each.lot
        assert "E" not in str(each.lot)
        assert each.maintenance_margin_rate * each.leverage_max < 1
        assert each.funding_interval_h == 8
    assert listed == instruments_at(MARKET, close_of(19))


def test_spreads_follow_from_ranks_of_turnover_after_the_first_midnight() -> None:
    data = make_set()
    hours = attrs.evolve(
        data.bars, period_ms=4 * STEP_MS, open_ms=START_MS + 4 * STEP_MS * np.arange(BARS)
    )
    market = RecordedMarket(attrs.evolve(data, bars=hours))
    before = market.half_spread_bps(START_MS + 24 * 4 * STEP_MS - 1)
    assert before == pytest.approx([0.3 * 150**0.5] * 3)
    spread = market.half_spread_bps(START_MS + 24 * 4 * STEP_MS)
    assert spread[0] == pytest.approx(0.3), "half spread of the most traded symbol"
    assert spread[1] == pytest.approx(1e4 * 0.0005 / hours.open[24, 1])


@pytest.mark.parametrize("decimals", range(3, 9))
def test_prices_of_any_size_have_the_same_path_in_their_own_tick(decimals: int) -> None:
    data = make_set()
    whole = np.rint(1000.0 * data.bars.close / data.bars.close[0])  # 1000 ticks at the first bar
    prices = {
        name: whole / 10.0**decimals + shift / 10.0**decimals
        for name, shift in (("open", 0), ("close", 0), ("high", 3), ("low", -3))
    }
    bars = attrs.evolve(data.bars, volume=np.full(whole.shape, 1e6 * 10.0**decimals), **prices)
    market = RecordedMarket(attrs.evolve(data, bars=bars))
    for each in instruments_at(market, market.last_ms):
        assert each.tick == Decimal(10) ** -decimals
        assert 0.1 < float(each.lot) * prices["high"].max() <= 1
    assert market.half_spread_bps(market.last_ms) == pytest.approx(1e4 * 0.5 / whole[-1])


def test_a_restricted_market_keeps_instruments_and_spreads() -> None:
    part = MARKET.restrict(("CCC", "AAAUSDT"), START_MS + 5 * STEP_MS, close_of(20))
    assert part.symbols == ("AAAUSDT", "CCC")
    assert (part.first_ms, part.last_ms) == (START_MS + 5 * STEP_MS, close_of(20))
    assert part.instruments == (MARKET.instruments[0], MARKET.instruments[2])
    for at_ms in (close_of(5), close_of(18), close_of(19)):
        whole = instruments_at(MARKET, at_ms)
        assert instruments_at(part, at_ms) == (whole[0], whole[2])
        spreads = MARKET.half_spread_bps(at_ms)
        assert part.half_spread_bps(at_ms).tolist() == spreads[[0, 2]].tolist()
    assert np.array_equal(part.data.bars.low, MARKET.data.bars.low[5:21][:, [0, 2]])
    assert MARKET.restrict().recorded_bars == MARKET.recorded_bars


@pytest.mark.parametrize(
    ("symbols", "from_ms", "reason"),
    [
        (("AAUSDT",), None, "no symbol 'AAUSDT'; nearest: AAAUSDT"),
        (("XQ",), None, "no symbol 'XQ'; some that it has: AAAUSDT, BBBUSDC, CCC$"),
        ((), None, "no symbol of dataset"),
        (None, close_of(BARS), "no bars"),
    ],
)
def test_a_restriction_to_an_unknown_symbol_or_to_no_symbol_or_bar_is_invalid(
    symbols: tuple[str, ...] | None, from_ms: int | None, reason: str
) -> None:
    with pytest.raises(InvalidDataError, match=reason):
        MARKET.restrict(symbols, from_ms)


def test_a_market_of_a_dataset_without_bars_is_invalid() -> None:
    data = make_set()
    empty = attrs.evolve(data.bars, open_ms=data.bars.open_ms[:0])
    with pytest.raises(InvalidDataError, match="has no bars"):
        RecordedMarket(attrs.evolve(data, bars=empty))
