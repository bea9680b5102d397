"""The regime of a symbol: its label, its figures, blocks of bars and gaps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.regime import FIGURES, RegimeIndicator, find_regimes
from kamou.core.indicators.regime_terms import RegimeTerms, SymbolRegime, Trend, Volatility
from kamou.core.market.panel import Panel
from tests.core.indicators.regime_by_definition import Bar, label_by_definition, percentiles

PERIOD_MS = 4 * HOUR_MS  # six bars a day
START_MS = 19_800 * DAY_MS + 2 * PERIOD_MS
TERMS = RegimeTerms(adx_period=4, efficiency_period=5, days_max=9, days_min=4, dwell_bars=5)


def draw_bars(seed: int, bars: int, symbols: int, *, gaps: float = 0.01) -> dict[str, Floats]:
    """Return trending and ranging paths with quiet and wild days, and missing bars."""
    chance = np.random.default_rng(seed)
    days = bars // 6 + 1
    scale = np.repeat(np.exp(chance.normal(-5, 0.8, (days, symbols))), 6, axis=0)[:bars]
    drift = np.repeat(chance.choice([-1.5, 0, 0, 1.5], (days, symbols)), 6, axis=0)[:bars]
    close = 100 * np.exp(np.cumsum(scale * (chance.normal(size=(bars, symbols)) + drift), axis=0))
    reach = close * scale * chance.uniform(0.1, 1, (2, bars, symbols))
    found = {"open": close, "high": close + reach[0], "low": close - reach[1], "close": close}
    missing = chance.uniform(size=(bars, symbols)) < gaps
    return {name: np.where(missing, np.nan, values) for name, values in found.items()}


def times(bars: int, seed: int = 0, gaps: int = 0) -> np.ndarray:
    """Return open times, with so many gaps of 1 to 20 bars for all symbols."""
    chance = np.random.default_rng(seed)
    steps = np.ones(bars, np.int64)
    steps[chance.integers(1, bars, gaps)] = chance.integers(2, 21, gaps)
    return START_MS + (np.cumsum(steps) - 1) * PERIOD_MS


def panel(symbols: int, terms: RegimeTerms = TERMS) -> tuple[Panel, RegimeIndicator]:
    spec = RegimeIndicator(terms=terms, period_ms=PERIOD_MS)
    return Panel([f"S{n}" for n in range(symbols)], PERIOD_MS, 3, (spec,)), spec


def values_of(open_ms: np.ndarray, found: dict[str, Floats], terms: RegimeTerms = TERMS) -> Floats:
    """Return the figures after each bar, ``[bars, figures, symbols]``."""
    made, spec = panel(found["close"].shape[1], terms)
    values = []
    for t, at_ms in enumerate(open_ms.tolist()):
        open_, high, low, close = (found[name][t] for name in ("open", "high", "low", "close"))
        made.append(at_ms, open_, high, low, close, np.ones(len(close)))
        values.append(made.indicator(spec).copy())
    return np.array(values)


def regime_at(values: Floats, t: int, column: int = 0) -> SymbolRegime:
    names = [f"S{n}" for n in range(values.shape[2])]
    return find_regimes(names, values[t], frozenset(names))[f"S{column}"]


def text(regime: SymbolRegime) -> str:
    return f"{regime.trend or '?'}/{regime.volatility or '?'}"


@pytest.mark.parametrize("seed", range(12))
def test_the_label_is_that_of_the_definition_at_every_bar(seed: int) -> None:
    gaps, terms = seed % 4, attrs.evolve(TERMS, dwell_bars=1 + seed % 9)
    bars, symbols = 150, 2
    open_ms, found = times(bars, seed, gaps), draw_bars(seed, bars, symbols)
    values = values_of(open_ms, found, terms)
    for column in range(symbols):
        rows = [
            Bar(
                close_ms=int(open_ms[t]) + PERIOD_MS,
                high=float(found["high"][t, column]),
                low=float(found["low"][t, column]),
                close=float(found["close"][t, column]),
            )
            for t in range(bars)
        ]
        wanted = label_by_definition(rows, PERIOD_MS, terms)
        assert [text(regime_at(values, t, column)) for t in range(bars)] == wanted
        for t, percentile in enumerate(percentiles(rows, PERIOD_MS, terms)):
            shown = regime_at(values, t, column).percentile
            assert shown == (None if percentile is None else pytest.approx(percentile))


def test_the_drawn_bars_have_every_label() -> None:
    found = [values_of(times(400, s), draw_bars(s, 400, 4, gaps=0.001)) for s in range(6)]
    labels = {text(regime_at(v, t, c)) for v in found for t in range(400) for c in range(4)}
    assert {f"{trend}/{size}" for trend in Trend for size in Volatility} <= labels


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 4),
    block=st.integers(1, 60),
    gaps=st.integers(0, 3),
)
def test_blocks_of_bars_have_the_figures_of_single_bars_bit_for_bit(
    seed: int, symbols: int, block: int, gaps: int
) -> None:
    bars = 130
    open_ms, found = times(bars, seed, gaps), draw_bars(seed, bars, symbols)
    values = values_of(open_ms, found)
    made, spec = panel(symbols)
    edges = [0, *(np.flatnonzero(np.diff(open_ms) != PERIOD_MS) + 1).tolist(), bars]
    for first, end in pairwise(edges):
        for start in range(first, end, block):
            rows = slice(start, min(end, start + block))
            open_, high, low, close = (found[n][rows] for n in ("open", "high", "low", "close"))
            volume = np.ones(close.shape)
            after = made.append_block(open_ms[rows], open_, high, low, close, volume)
            assert np.array_equal(after.indicator(spec), values[rows], equal_nan=True)


def test_later_bars_do_not_change_earlier_figures() -> None:
    open_ms, found = times(120), draw_bars(5, 120, 3)
    values = values_of(open_ms, found)
    other = draw_bars(6, 120, 3)
    mixed = {name: np.vstack((found[name][:90], other[name][90:])) for name in found}
    assert np.array_equal(values_of(open_ms, mixed)[:90], values[:90], equal_nan=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_panel_with_the_declared_history_has_the_figures_of_one_that_never_stopped(
    seed: int,
) -> None:
    """Sums have one order; only averages keep a trace of their seed, here after 30 bars more."""
    open_ms, found = times(400, seed), draw_bars(seed, 400, 3, gaps=0)
    full = values_of(open_ms, found)[-1]
    begin = 400 - RegimeIndicator(terms=TERMS, period_ms=PERIOD_MS).history_bars - 30
    late = values_of(open_ms[begin:], {n: v[begin:] for n, v in found.items()})[-1]
    exact = [FIGURES.index(n) for n in FIGURES if n != "adx"]
    assert np.array_equal(late[exact], full[exact])
    assert late[FIGURES.index("adx")] == pytest.approx(full[FIGURES.index("adx")], rel=0.01)


def test_a_regime_is_unknown_before_the_declared_number_of_past_days() -> None:
    found = draw_bars(3, 60, 1, gaps=0)
    values = values_of(times(60), found)
    known = [regime_at(values, t).volatility is not None for t in range(60)]
    first = known.index(True)
    # The first bar closes at 12:00; the day after has six returns, as have the three after it.
    assert regime_at(values, first - TERMS.confirm_bars).days == TERMS.days_min - 1
    assert regime_at(values, first).days == TERMS.days_min
    assert regime_at(values, 0).label == "unknown"


@pytest.mark.parametrize(("missing", "lost"), [(70, 1), (69, 2)])
def test_a_day_with_a_missing_bar_or_return_does_not_count_and_older_days_stay(
    missing: int, lost: int
) -> None:
    """Bar 70 is the first of a day; bar 69 is the last, so the next day lacks a return too."""
    found = draw_bars(3, 90, 1, gaps=0)
    for name in found:
        found[name][missing] = np.nan
    values = values_of(times(90), found)
    assert (regime_at(values, 68).days, regime_at(values, 89).days) == (9, 9 - lost)
    assert regime_at(values, missing).label == "unknown"
    assert regime_at(values, 75).volatility is None


def spike(move: float) -> Callable[[dict[str, Floats]], None]:
    def change(found: dict[str, Floats]) -> None:
        for name in found:
            found[name][80:] *= 1 + move

    return change


def test_a_shock_counts_at_the_bar_that_shows_it() -> None:
    found = draw_bars(3, 90, 1, gaps=0)
    spike(0.5)(found)
    values = values_of(times(90), found)
    assert regime_at(values, 79).volatility is not Volatility.SHOCK
    assert regime_at(values, 80).volatility is Volatility.SHOCK


def test_one_very_large_price_leaves_no_trace_in_later_figures() -> None:
    plain = draw_bars(3, 300, 1, gaps=0)
    struck = {name: values.copy() for name, values in plain.items()}
    for name in struck:
        struck[name][100] = 1e9
    one, other = (values_of(times(300), each)[-1] for each in (plain, struck))
    for name in ("efficiency", "day_volatility", "percentile", "days"):
        assert one[FIGURES.index(name)] == other[FIGURES.index(name)], name


def test_a_symbol_without_a_column_has_no_regime() -> None:
    values = values_of(times(3), draw_bars(1, 3, 2))
    assert list(find_regimes(("S0", "S1"), values[-1], frozenset({"S1", "S9"}))) == ["S1"]
