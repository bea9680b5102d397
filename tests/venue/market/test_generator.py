"""The generated market: the same in any order of reads, and true to its bars."""

from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Bars, Segment, resample, trailing_atr
from kamou.errors import ConfigurationError
from kamou.venue.market.day_cache import DAYS_HELD
from kamou.venue.market.edges import Edge
from kamou.venue.market.generated_day import PathSettings, Regime
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.made_dataset import materialise
from kamou.venue.market.tape import market_trades
from kamou.venue.market.universe import UniverseSettings, make_universe

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
STEP_MS = 300_000


def market(**options: Any) -> GeneratedMarket:
    given_ = {"seed": 5, "origin_ms": ORIGIN_MS, "symbols": 12} | options
    return GeneratedMarket(**given_)


MARKET = market()


def same(left: Any, right: Any) -> bool:
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name), equal_nan=True)
        for field in attrs.fields(type(left))
        if isinstance(getattr(left, field.name), np.ndarray)
    )


# --- the same market in any order of reads ---------------------------------------------------


@settings(max_examples=15)
@given(days=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_a_generated_day_does_not_depend_on_the_days_that_were_read_before(days: list[int]) -> None:
    fresh = market()
    for day in days:
        assert same(fresh.day(day), MARKET.day(day))
        at = ORIGIN_MS + day * DAY_MS + 7_777_777
        assert same(fresh.segment(at, at + DAY_MS), MARKET.segment(at, at + DAY_MS))
        assert same(fresh.funding_rates(at, at + DAY_MS), MARKET.funding_rates(at, at + DAY_MS))


def test_a_long_run_of_the_market_has_a_bounded_number_of_days_in_memory() -> None:
    walked = market()
    for day in range(DAYS_HELD + 5):
        walked.segment(ORIGIN_MS + day * DAY_MS + 1, ORIGIN_MS + day * DAY_MS + 2)
    for cache in (walked._days, walked._moves, walked._draws, walked._atrs):
        assert len(cache) <= DAYS_HELD
    _, state = walked.states.nearest(3)
    held = [getattr(state, field.name) for field in attrs.fields(type(state))]
    arrays = [each for each in held if isinstance(each, np.ndarray)]
    assert all(each.base is None for each in arrays), "a view would keep its whole day"


def test_two_other_processes_make_the_same_market() -> None:
    code = (
        "from kamou.venue.market.generator import GeneratedMarket as G;"
        f"m = G(seed=5, origin_ms={ORIGIN_MS}, symbols=12);"
        "import hashlib; print(hashlib.sha256(m.day(2).close.tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_another_seed_makes_another_market() -> None:
    assert not np.array_equal(market(seed=6).day(0).close, MARKET.day(0).close)


def test_price_moves_of_three_successive_days_are_not_correlated() -> None:
    moves = [np.diff(np.log(MARKET.day(day).close), axis=0) for day in (1, 2, 3)]
    for left, right in pairwise(moves):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.1


def test_the_origin_is_floored_to_midnight_and_the_market_lasts_over_50_years() -> None:
    late = market(origin_ms=ORIGIN_MS + 5 * HOUR_MS + 17)
    assert late.first_ms == ORIGIN_MS
    assert late.last_ms > ORIGIN_MS + 50 * 365 * DAY_MS


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"step_ms": 7 * 60_000}, "does not divide an hour"), ({"symbols": 0}, "at least one symbol")],
)
def test_an_invalid_step_or_symbol_count_is_a_configuration_error(
    options: dict[str, int], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        market(**options)


# --- inside the bars -------------------------------------------------------------------------


@settings(max_examples=80)
@given(
    start=st.integers(0, 3 * DAY_MS),
    cuts=st.lists(st.integers(1, 40 * 60_000), min_size=1, max_size=6),
)
def test_the_segments_of_the_parts_of_an_interval_compose_to_its_segment(
    start: int, cuts: list[int]
) -> None:
    times = [ORIGIN_MS + start]
    for cut in cuts:
        times.append(times[-1] + cut)
    whole = MARKET.segment(times[0], times[-1])
    parts = [MARKET.segment(a, b) for a, b in pairwise(times)]
    assert np.array_equal(whole.high, np.max([part.high for part in parts], axis=0))
    assert np.array_equal(whole.low, np.min([part.low for part in parts], axis=0))
    assert np.array_equal(whole.open, parts[0].open)
    assert np.array_equal(whole.close, parts[-1].close)
    assert np.allclose(whole.volume, np.sum([part.volume for part in parts], axis=0))
    for left, right in pairwise(parts):
        assert np.array_equal(left.close, right.open)
    for at, part in zip(times, parts, strict=False):
        assert np.array_equal(MARKET.prices(at), part.open)


@settings(max_examples=40)
@given(bar=st.integers(0, 3 * 288 - 1), cuts=st.sets(st.integers(1, STEP_MS - 1), max_size=6))
def test_any_parts_of_a_bar_agree_with_the_bar(bar: int, cuts: set[int]) -> None:
    start = ORIGIN_MS + bar * STEP_MS
    times = [start, *(start + cut for cut in sorted(cuts)), start + STEP_MS]
    parts = [MARKET.segment(a, b) for a, b in pairwise(times)]
    bars = MARKET.bars(STEP_MS, start, start + STEP_MS)
    assert np.array_equal(np.max([part.high for part in parts], axis=0), bars.high[0])
    assert np.array_equal(np.min([part.low for part in parts], axis=0), bars.low[0])
    assert np.array_equal(parts[0].open, bars.open[0])
    assert np.array_equal(parts[-1].close, bars.close[0])
    for part in parts:
        assert (part.low <= np.minimum(part.open, part.close)).all()
        assert (part.high >= np.maximum(part.open, part.close)).all()


def test_in_some_bars_the_high_comes_first_and_in_others_the_low() -> None:
    highs_first = 0
    for bar in range(50):
        path = MARKET._path_of(bar)
        highs_first += int((path.high_at < path.low_at).sum())
        assert ((path.first > 0) & (path.first < path.second) & (path.second < 1)).all()
    assert 0.3 < highs_first / (50 * 12) < 0.7


def test_the_range_of_a_segment_is_in_units_of_the_atr_before_its_bar() -> None:
    bars = MARKET.bars(STEP_MS, ORIGIN_MS, ORIGIN_MS + 2 * DAY_MS)
    atr = trailing_atr(bars.high, bars.low, bars.close)
    for bar in (20, 287, 288, 289, 400):
        part = MARKET.segment(ORIGIN_MS + bar * STEP_MS, ORIGIN_MS + (bar + 1) * STEP_MS)
        assert np.allclose(part.range_atr, (bars.high[bar] - bars.low[bar]) / atr[bar])
    many = MARKET.segment(ORIGIN_MS + 280 * STEP_MS, ORIGIN_MS + 300 * STEP_MS)
    ranges = (bars.high - bars.low)[280:300] / atr[280:300]
    assert np.allclose(many.range_atr, ranges.max(axis=0))
    assert np.isnan(MARKET.segment(ORIGIN_MS, ORIGIN_MS + STEP_MS).range_atr).all()


def test_there_is_no_market_before_the_origin() -> None:
    for from_ms, to_ms in ((ORIGIN_MS - 9, ORIGIN_MS - 1), (ORIGIN_MS + 9, ORIGIN_MS + 8)):
        assert np.isnan(MARKET.segment(from_ms, to_ms).close).all()
    assert np.isnan(MARKET.prices(ORIGIN_MS - 1)).all()
    early = MARKET.segment(ORIGIN_MS - 9, ORIGIN_MS + 9)
    assert np.array_equal(early.open, MARKET.prices(ORIGIN_MS))
    still = MARKET.segment(ORIGIN_MS + 9, ORIGIN_MS + 9)
    assert np.array_equal(still.open, still.close)


# --- bars and observations -------------------------------------------------------------------


def test_bars_are_continuous_on_the_tick_and_well_formed() -> None:
    bars = MARKET.bars(STEP_MS, ORIGIN_MS, ORIGIN_MS + 3 * DAY_MS)
    assert bars.close.shape == (3 * 288, 12)
    assert np.array_equal(bars.open[1:], bars.close[:-1])
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low > 0).all()
    assert (bars.volume > 0).all()
    for column, instrument in enumerate(MARKET.instruments):
        for price in bars.close[:50, column]:
            assert Decimal(repr(float(price))) % instrument.tick == 0


@pytest.mark.parametrize("period_ms", [STEP_MS, 900_000, HOUR_MS, 7 * STEP_MS, 2 * DAY_MS])
def test_longer_bars_are_resampled_over_midnight_too(period_ms: int) -> None:
    since, until = ORIGIN_MS + 20 * HOUR_MS + 1, ORIGIN_MS + 6 * DAY_MS - 1
    fine = MARKET.bars(STEP_MS, since, until)
    coarse, naive = MARKET.bars(period_ms, since, until), resample(fine, period_ms)
    assert same(coarse, naive)
    assert len(coarse.open_ms)


def test_an_interval_without_a_whole_bar_has_no_bars() -> None:
    for since, until in ((ORIGIN_MS + 1, ORIGIN_MS + STEP_MS), (ORIGIN_MS - DAY_MS, ORIGIN_MS)):
        empty = MARKET.bars(900_000, since, until)
        assert empty.close.shape == (0, 12)


def test_observations_of_an_interval_are_those_that_became_available_in_it() -> None:
    until = ORIGIN_MS + 3 * DAY_MS
    for ask, period, rows in (
        (MARKET.open_interest, HOUR_MS, 72),
        (MARKET.long_short_ratios, HOUR_MS, 72),
        (MARKET.premium_index, HOUR_MS, 72),
        (MARKET.funding_rates, 8 * HOUR_MS, 9),
    ):
        series = ask(ORIGIN_MS, until)
        assert series.values.shape == (rows, 12)
        assert series.period_ms == period
        assert series.available_ms[0] == ORIGIN_MS + period
        assert series.available_ms[-1] == until
        part = ask(ORIGIN_MS + 30 * HOUR_MS, ORIGIN_MS + 40 * HOUR_MS)
        inside = (series.available_ms > ORIGIN_MS + 30 * HOUR_MS) & (
            series.available_ms <= ORIGIN_MS + 40 * HOUR_MS
        )
        assert np.array_equal(part.available_ms, series.available_ms[inside])
        assert np.array_equal(part.values, series.values[inside])
        assert ask(ORIGIN_MS - DAY_MS, ORIGIN_MS).values.shape == (0, 12)
    assert (MARKET.open_interest(ORIGIN_MS, until).values > 0).all()
    assert (MARKET.long_short_ratios(ORIGIN_MS, until).values > 0).all()
    assert (np.abs(MARKET.funding_rates(ORIGIN_MS, until).values) <= 0.0075).all()


@pytest.mark.parametrize("edges", [(), (Edge.FUNDING_FADE,)])
def test_each_rate_is_the_mean_premium_of_its_eight_hours_with_clamped_interest(
    edges: tuple[Edge, ...],
) -> None:
    made = market(paths=PathSettings(edges=edges))
    until = ORIGIN_MS + 10 * DAY_MS
    rates = made.funding_rates(ORIGIN_MS, until).values
    premium = made.premium_index(ORIGIN_MS, until).values
    pinned = 0
    for row, rate in enumerate(rates):
        for symbol, found in enumerate(rate.tolist()):
            mean = math.fsum(premium[8 * row : 8 * row + 8, symbol]) / 8
            interest = min(max(0.0001 - mean, -0.0005), 0.0005)
            assert found == pytest.approx(min(max(mean + interest, -0.0075), 0.0075), abs=1e-12)
            pinned += found == pytest.approx(0.0001, abs=1e-12)
    assert 0 < pinned <= rates.size
    assert np.ptp(premium) > 0.0005


def test_days_of_the_market_can_be_made_into_a_dataset() -> None:
    made = materialise(MARKET, "two", ORIGIN_MS, ORIGIN_MS + 2 * DAY_MS)
    assert made.name == "two"
    assert made.bars.close.shape == (576, 12)
    assert made.funding.values.shape == (6, 12)
    assert made.open_interest.values.shape == (48, 12)


# --- statistics of the prices ----------------------------------------------------------------


def wide(**paths: Any) -> Bars:
    return market(symbols=60, paths=PathSettings(**paths)).bars(
        STEP_MS, ORIGIN_MS, ORIGIN_MS + 12 * DAY_MS
    )


def test_returns_have_fat_tails_clustered_volatility_and_a_common_factor() -> None:
    returns = np.diff(np.log(wide().close), axis=0)
    centred = returns - returns.mean(axis=0)
    kurtosis = (centred**4).mean(axis=0) / (centred**2).mean(axis=0) ** 2
    assert np.median(kurtosis) > 5
    size = np.abs(centred)
    clustering = [np.corrcoef(size[:-12, at], size[12:, at])[0, 1] for at in range(60)]
    assert np.median(clustering) > 0.05
    hours = centred[: len(centred) // 12 * 12].reshape(-1, 12, 60).sum(axis=1)
    with_btc = [np.corrcoef(hours[:, 0], hours[:, at])[0, 1] for at in range(1, 60)]
    assert 0.2 < np.median(with_btc) < 0.8


def test_prices_stay_within_their_bound_and_move_less_than_10_percent_without_jumps() -> None:
    bound = 0.02
    bars = wide(price_bound=bound, market_jumps_per_day=1.0)
    start = np.log(bars.open[0])
    assert (np.abs(np.log(bars.close) - start) <= bound + 2e-4).all()
    still = wide(jumps_per_day=0.0, market_jumps_per_day=0.0, shock_max=3.0)
    assert np.abs(np.diff(np.log(still.close), axis=0)).max() < 0.1


def test_every_regime_of_the_market_occurs() -> None:
    seen = market(symbols=60)
    seen.day(8)
    kinds = np.concatenate([seen.states.nearest(day)[1].kind for day in range(1, 9)])
    assert set(kinds.tolist()) == set(Regime)


def test_the_universe_has_distinct_symbols_and_ticks_and_lots_that_fit_their_prices() -> None:
    universe = make_universe(1, 220, UniverseSettings())
    assert universe.symbols[:3] == ("BTCUSDT", "ETHUSDT", "SYN003USDT")
    assert universe.symbols == tuple(sorted(universe.symbols))
    assert len(set(universe.symbols)) == 220
    for at, each in enumerate(universe.instruments):
        price = float(np.exp(universe.log_price[at]))
        assert 5e-5 < float(each.tick) / price * 10 < 1e-2
        assert 0.1 <= float(each.lot) * price <= 1
        assert each.maintenance_margin_rate * each.leverage_max < 1
    assert (universe.half_spread_bps > 0).all()
    assert (universe.turnover > 4e6).all()
    assert make_universe(1, 1, UniverseSettings()).symbols == ("BTCUSDT",)


# --- quotes and market trades ----------------------------------------------------------------


def test_market_trades_agree_with_their_bar_and_do_not_depend_on_the_interval() -> None:
    start = ORIGIN_MS + 100 * STEP_MS
    times = [start, start + 1, start + 123_456, start + 2 * STEP_MS, start + 3 * STEP_MS]
    whole = market_trades(MARKET, "ETHUSDT", times[0], times[-1])
    parts = [market_trades(MARKET, "ETHUSDT", a, b) for a, b in pairwise(times)]
    for name in ("at_ms", "price", "quantity", "bought"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(joined, getattr(whole, name))
    assert (np.diff(whole.at_ms) >= 0).all()
    assert 0 < whole.bought.mean() < 1
    bars = MARKET.bars(STEP_MS, times[0], times[-1])
    assert whole.quantity.sum() == pytest.approx(bars.volume[:, 1].sum())
    half = MARKET.half_spread_bps(MARKET.first_ms)[1] / 1e4
    assert (whole.price <= bars.high[:, 1].max() * (1 + half)).all()
    assert (whole.price >= bars.low[:, 1].min() * (1 - half)).all()
    with pytest.raises(ValueError, match="not in tuple"):
        market_trades(MARKET, "XRPUSDT", times[0], times[1])


def test_a_generated_market_returns_segments_and_a_half_spread_per_symbol() -> None:
    assert isinstance(MARKET.segment(ORIGIN_MS, ORIGIN_MS + 1), Segment)
    assert len(MARKET.half_spread_bps(MARKET.first_ms)) == 12
