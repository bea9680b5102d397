"""The regime of each symbol: trend or range, and the size of its moves.

The trend follows from the ADX (Wilder 1978), the signs of its two directional indices and the
efficiency ratio (Kaufman 1995). The volatility is the percentile of the realized volatility of the
newest day of bars, the root of the sum of squared log returns, among those of up to ``days_max``
past UTC days of the same symbol. A day with a missing bar does not count.

Each part of the label changes only if ``confirm_bars`` bars in a row show the new one, and no
sooner than ``dwell_bars`` after its last change. A shock counts at once, because it only stops
entries, and so does the loss of the figures by a missing bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.day import DAY_MS
from kamou.core.indicators.adx import AdxState
from kamou.core.indicators.base import BarRow, IndicatorState
from kamou.core.indicators.efficiency import efficiency_of
from kamou.core.indicators.regime_terms import (
    TRENDS,
    UNKNOWN,
    VOLATILITIES,
    RegimeTerms,
    SymbolRegime,
    Trend,
    Volatility,
)
from kamou.core.indicators.window import sum_rows

RANGE, UP, DOWN = (TRENDS.index(each) for each in (Trend.RANGE, Trend.UP, Trend.DOWN))
LOW, NORMAL, HIGH, SHOCK = (VOLATILITIES.index(each) for each in Volatility)
FIGURES = ("trend", "volatility", "adx", "efficiency", "percentile", "days", "day_volatility")
"""Rows of the figures of a regime."""


@attrs.frozen(kw_only=True)
class RegimeIndicator:
    """Specification of the regime on bars of ``period_ms``.

    Its value is ``[figures, symbols]`` instead of ``[symbols]``, in the order of ``FIGURES``; the
    first two are numbers of ``TRENDS`` and ``VOLATILITIES``, or ``UNKNOWN``.
    """

    terms: RegimeTerms
    period_ms: int

    def start(self, symbols: int) -> IndicatorState:
        return RegimeState(self.terms, self.period_ms, symbols)

    @property
    def history_bars(self) -> int:
        """Bars after which all past days are known: one more day, for the newest one."""
        return (self.terms.days_max + 1) * _bars_per_day(self.period_ms) + 1


def _bars_per_day(period_ms: int) -> int:
    return max(1, DAY_MS // period_ms)


class _HeldLabel:
    """A part of the label, ``[symbols]``, which changes after confirmation and dwell."""

    def __init__(self, terms: RegimeTerms, symbols: int) -> None:
        self._terms = terms
        self.number: Ints = np.full(symbols, UNKNOWN, np.int64)
        self._seen: Ints = np.full(symbols, UNKNOWN, np.int64)  # at the bar before
        self._streak: Ints = np.zeros(symbols, np.int64)  # bars in a row that showed it
        self._age: Ints = np.zeros(symbols, np.int64)  # bars since the last change

    def show(self, seen: Ints, at_once: Mask) -> None:
        """Take what one bar shows; ``at_once`` needs neither confirmation nor dwell."""
        self._streak = np.where(seen == self._seen, self._streak + 1, 1)
        self._seen, self._age = seen, self._age + 1
        old_enough = (self._age >= self._terms.dwell_bars) | (self.number == UNKNOWN)
        confirmed = (self._streak >= self._terms.confirm_bars) & old_enough
        changes = (seen != self.number) & (confirmed | at_once | (seen == UNKNOWN))
        self.number = np.where(changes, seen, self.number)
        self._age[changes] = 0


class RegimeState:
    """Incremental state of the regime."""

    def __init__(self, terms: RegimeTerms, period_ms: int, symbols: int) -> None:
        self._terms, self._period_ms = terms, period_ms
        self._adx = AdxState(terms.adx_period, symbols)
        self._closes = np.full((terms.efficiency_period + 1, symbols), np.nan)
        # A slot for each bar of a day, so that sums have one order wherever the history begins.
        self._squares = np.full((_bars_per_day(period_ms), symbols), np.nan)
        self._days = np.full((terms.days_max, symbols), np.nan)  # a slot for each past day
        self._close_ms = -1  # of the newest bar
        self._mode: Ints = np.full(symbols, UNKNOWN, np.int64)  # RANGE, or UP for any trend
        self._direction: Ints = np.full(symbols, UNKNOWN, np.int64)
        self._trend, self._volatility = _HeldLabel(terms, symbols), _HeldLabel(terms, symbols)
        self._value = np.full((len(FIGURES), symbols), np.nan)
        self._value[:2], self._value[FIGURES.index("days")] = UNKNOWN, 0

    @property
    def value(self) -> Floats:
        return self._value

    def update(self, bar: BarRow) -> None:
        close_ms = int(bar.close_ms[0])
        self._forget_skipped_days(close_ms)
        state = self._adx
        state.update(bar)
        adx, efficiency = state.value, self._update_efficiency(bar)
        self._trend.show(self._find_trend(adx, efficiency), np.zeros(len(adx), bool))
        moves = self._update_moves(bar, close_ms)
        percentile, days = self._compare_with_past(moves)
        shown = self._find_volatility(percentile)
        self._volatility.show(shown, shown == SHOCK)
        if close_ms % DAY_MS == 0:
            self._days[(close_ms // DAY_MS - 1) % len(self._days)] = moves
        self._close_ms = close_ms
        labels = (self._trend.number, self._volatility.number)
        self._value = np.array((*labels, adx, efficiency, percentile, days, moves), dtype=float)

    def _forget_skipped_days(self, close_ms: int) -> None:
        """Drop the days that ended since the newest bar, without a bar at their end."""
        if self._close_ms < 0:
            return
        first, end = self._close_ms // DAY_MS, -(-close_ms // DAY_MS) - 1
        for day in range(max(first, end - len(self._days)), end):
            self._days[day % len(self._days)] = np.nan

    def _update_efficiency(self, bar: BarRow) -> Floats:
        self._closes[:-1] = self._closes[1:]
        self._closes[-1] = bar.close
        known = bar.count > self._terms.efficiency_period
        return np.where(known, efficiency_of(self._closes), np.nan)

    def _find_trend(self, adx: Floats, efficiency: Floats) -> Ints:
        terms, known = self._terms, ~np.isnan(adx)
        trends = (adx > terms.adx_trend) & (efficiency > terms.efficiency_trend)
        ranges = (adx < terms.adx_range) & (efficiency < terms.efficiency_range)
        self._mode[trends], self._mode[ranges], self._mode[~known] = UP, RANGE, UNKNOWN
        plus, minus = self._adx.indices
        self._direction[plus > minus], self._direction[plus < minus] = UP, DOWN
        self._direction[~known] = UNKNOWN
        return np.where(self._mode == UP, self._direction, self._mode)

    def _update_moves(self, bar: BarRow, close_ms: int) -> Floats:
        """Return the realized volatility of the newest day of bars; NaN: bars are missing."""
        slot = close_ms // self._period_ms % len(self._squares)
        self._squares[slot] = bar.log_return * bar.log_return
        known = bar.count > len(self._squares)  # the first return needs the bar before
        return np.where(known, np.sqrt(sum_rows(self._squares)), np.nan)

    def _compare_with_past(self, moves: Floats) -> tuple[Floats, Floats]:
        """Return the percentile among the past days, and their number.

        A tie counts half.
        """
        days = (~np.isnan(self._days)).sum(axis=0)
        below = (self._days < moves).sum(axis=0) + 0.5 * (self._days == moves).sum(axis=0)
        known = (days >= self._terms.days_min) & ~np.isnan(moves)
        percentile = np.where(known, 100.0 * below / np.maximum(days, 1), np.nan)
        return percentile, days.astype(float)

    def _find_volatility(self, percentile: Floats) -> Ints:
        terms = self._terms
        shown: Ints = np.full(len(percentile), NORMAL, np.int64)
        shown[percentile < terms.volatility_low] = LOW
        shown[percentile > terms.volatility_high] = HIGH
        shown[percentile > terms.volatility_shock] = SHOCK
        shown[np.isnan(percentile)] = UNKNOWN
        return shown


def find_regimes(
    symbols: Sequence[str], figures: Floats, wanted: frozenset[str]
) -> Mapping[str, SymbolRegime]:
    """Return the regimes of the wanted symbols.

    Args:
        symbols: the symbols of the columns.
        figures: values of ``RegimeState``, ``[figures, symbols]``.
        wanted: symbols; those without a column are left out.
    """
    return {
        symbol: _make_regime(figures[:, column].tolist())
        for column, symbol in enumerate(symbols)
        if symbol in wanted
    }


def _make_regime(figures: list[float]) -> SymbolRegime:
    trend, volatility, days = int(figures[0]), int(figures[1]), int(figures[5])
    adx, efficiency, percentile, _, moves = (None if f != f else f for f in figures[2:])
    return SymbolRegime(
        trend=None if trend == UNKNOWN else TRENDS[trend],
        volatility=None if volatility == UNKNOWN else VOLATILITIES[volatility],
        adx=adx,
        efficiency=efficiency,
        percentile=percentile,
        days=days,
        day_volatility=moves,
    )
