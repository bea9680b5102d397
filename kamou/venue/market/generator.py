"""``GeneratedMarket``: a seeded market of perpetuals for the demo.

Prices have two common factors with a beta per symbol, Student t shocks, volatility that clusters
and follows the hour of the day, and jumps of one symbol and of the market. Each symbol has regimes
of walking, ranging and trending that end at random, often with a release of a few hours: the price
leaves a range, or returns part of a trend. The expected size of a release is the share
``PathSettings.compensation`` of the regime's predictable part. No part of the market is made to let
a strategy gain, unless the market has planted edges (``edges.py``, ``planting.py``).

Any time from the origin on can be read. The states of some midnights are stored
(``market_states``); the days after them are generated again in 10 to 90 ms of CPU each. At most
``DAYS_HELD`` days of bars are in memory. Inside a bar the price is linear from open to one extreme,
to the other and to close, with both extremes at seeded times. So any interval agrees with the bar.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import attrs
import numpy as np

from kamou.clock import floor_ms
from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import (
    ATR_PERIOD,
    Bars,
    Segment,
    Series,
    concatenate,
    empty_series,
    resample,
    trailing_atr,
)
from kamou.core.market.flow import FlowWindows
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.errors import ConfigurationError
from kamou.venue.market.bar_path import BarPath, join_segments
from kamou.venue.market.day_cache import get_cached
from kamou.venue.market.generated_day import (
    PATHS,
    DayBars,
    MarketState,
    Moves,
    PathSettings,
    day_rng,
    first_state,
    make_day_bars,
    run_day,
)
from kamou.venue.market.generated_flow import choose_flow_settings, make_flow_windows
from kamou.venue.market.market_states import MarketStates, StateKeeper
from kamou.venue.market.planting import plant, prepare
from kamou.venue.market.tape_walk import TapeWalk
from kamou.venue.market.universe import UniverseSettings, make_universe

END_MS = 4_102_444_800_000  # 2100-01-01, later than any run
_CACHES = ("_moves", "_days", "_draws", "_atrs")  # attributes by day; see ``twin``

GENERATOR_VERSION = 1
"""The version of the generator; it increases with every change of a seed's market."""


class GeneratedMarket:
    """A ``MarketSource`` from ``origin_ms`` (floored to UTC midnight) to ``END_MS``.

    The same seed, origin, symbol count, step and settings give the same market in every process.
    Only one thread may use it, because it has caches. A second thread uses a ``twin``.
    """

    def __init__(
        self,
        *,
        seed: int,
        origin_ms: int,
        symbols: int = 220,
        step_ms: int = 300_000,
        universe: UniverseSettings | None = None,
        paths: PathSettings | None = None,
    ) -> None:
        """Prepare the market without generating any day.

        Raises:
            ConfigurationError: the step does not divide an hour, or ``symbols`` is below 1.
        """
        if step_ms < 1 or HOUR_MS % step_ms:
            raise ConfigurationError(
                f"demo.bar_s = {step_ms / 1000:g} does not divide an hour (3600 s): "
                "choose a divisor such as 60, 300, 900, 1800 or 3600"
            )
        if symbols < 1:
            raise ConfigurationError(f"demo.symbols = {symbols}: choose at least one symbol")
        self.seed = seed
        self.step_ms = step_ms
        self.first_ms = floor_ms(origin_ms, DAY_MS)
        self.last_ms = END_MS
        self.universe_settings = universe or UniverseSettings()
        self.universe = make_universe(seed, symbols, self.universe_settings)
        self.instruments = self.universe.instruments
        self.symbols = self.universe.symbols
        self.bars_per_day = DAY_MS // step_ms
        self.paths, self.first_state = prepare(paths or PathSettings(), first_state(self.universe))
        # Others may be set before the first read of flow.
        self.flow_settings = choose_flow_settings(self.paths.edges)
        self.states = MarketStates(self.first_state)
        self._moves: OrderedDict[int, Moves] = OrderedDict()
        self._days: OrderedDict[int, DayBars] = OrderedDict()
        self._draws: OrderedDict[int, Floats] = OrderedDict()
        self._atrs: OrderedDict[int, Floats] = OrderedDict()
        self._no_market = np.full(symbols, np.nan)
        self._bar_path: tuple[int, BarPath] | None = None  # the newest path read
        self._price: tuple[int, Floats] = (-1, self._no_market)  # the newest prices read

    # --- MarketSource ------------------------------------------------------------------------

    def half_spread_bps(self, _at_ms: int) -> Floats:
        """Return half the quoted spread in basis points of mid, ``[symbols]``."""
        return self.universe.half_spread_bps

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Return the path of ``(from_ms, to_ms]``; NaN if it ends before the origin."""
        if to_ms < self.first_ms or to_ms < from_ms:
            none = self._no_market
            return Segment(open=none, high=none, low=none, close=none, volume=none, range_atr=none)
        first, start = divmod(max(from_ms, self.first_ms) - self.first_ms, self.step_ms)
        last, end = divmod(to_ms - self.first_ms, self.step_ms)
        if first == last:
            return self._part(first, start, end)
        parts: list[Segment] = []
        if start:
            parts.append(self._part(first, start, self.step_ms))
            first += 1
        while first < last:
            until = min(last, (first // self.bars_per_day + 1) * self.bars_per_day)
            parts.append(self._whole(first, until))
            first = until
        if end:
            parts.append(self._part(last, 0, end))
        return parts[0] if len(parts) == 1 else join_segments(parts)

    def prices(self, at_ms: int) -> Floats:
        """Return the path's unrounded prices at an instant; NaN before the origin."""
        if at_ms < self.first_ms:
            return self._no_market
        if self._price[0] != at_ms:
            bar, offset = divmod(at_ms - self.first_ms, self.step_ms)
            self._price = (at_ms, self._path_of(bar).at(offset / self.step_ms))
        return self._price[1]

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Return the complete bars inside ``[since_ms, until_ms]``, aligned to UTC."""
        since_ms = max(since_ms, self.first_ms)
        first = -((self.first_ms - since_ms) // self.step_ms)
        last = max(first, (until_ms - self.first_ms) // self.step_ms)
        parts: list[Bars] = []
        bar = first
        while bar < last or not parts:
            until = min(last, (bar // self.bars_per_day + 1) * self.bars_per_day)
            part = self._native(bar, max(bar, until))
            # Periods that divide a day are made day by day, to have one day of native bars at once.
            parts.append(resample(part, period_ms) if DAY_MS % period_ms == 0 else part)
            bar = until
        return resample(concatenate(parts), period_ms)

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        """Return hourly open interest in base units, available at the end of the hour."""
        return self._observed(since_ms, until_ms, HOUR_MS, lambda moves: moves.open_interest)

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        """Return hourly ratios of long to short accounts, available at the hour's end."""
        return self._observed(since_ms, until_ms, HOUR_MS, lambda moves: moves.ratio)

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        """Return the hourly premium index, available at the hour's end."""
        return self._observed(since_ms, until_ms, HOUR_MS, lambda moves: moves.premium)

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Return the rates of each ``FUNDING_PERIOD_MS``, available at settlement."""
        return self._observed(since_ms, until_ms, FUNDING_PERIOD_MS, lambda moves: moves.funding)

    def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        """Return the order flow of each ``FLOW_WINDOW_MS``, available at its end."""
        return make_flow_windows(self, since_ms, until_ms, self._moves_of)

    def walk_flow(self, symbols: tuple[str, ...]) -> TapeWalk:
        """Return a walk of quotes and market trades, which agree with ``flow_windows``."""
        return TapeWalk(self, symbols)

    # --- days, and days made in another thread -----------------------------------------------

    def twin(self) -> GeneratedMarket:
        """Return the same market with caches of its own, for use in one other thread.

        The two share the universe, the states and the days that are in memory now. These arrays are
        never written again: see tests/exchange/test_generated_ahead.py.
        """
        other = copy.copy(self)
        other.states = self.states.copy()
        for name in _CACHES:
            setattr(other, name, OrderedDict(getattr(self, name)))
        return other

    def make_day(self, at_ms: int) -> None:
        """Make the data of the UTC day of ``at_ms``, at the earliest the first day."""
        day = max(0, (at_ms - self.first_ms) // DAY_MS)
        self._moves_of(day)  # each of the four may be in memory without the others
        self.day(day)
        self._atr_of(day)
        get_cached(self._draws, day, lambda: self._draw(day))

    def holds(self, from_ms: int, to_ms: int) -> bool:
        """Return True if the bars and series of ``(from_ms, to_ms]`` are in memory."""
        first = max(0, (from_ms - self.first_ms) // DAY_MS)
        last = max(first, (to_ms - 1 - self.first_ms) // DAY_MS)
        return all(d in self._days and d in self._moves for d in range(first, last + 1))

    def adopt_day(self, at_ms: int, maker: GeneratedMarket) -> None:
        """Take over, without a copy, a twin's states and its day of ``at_ms``."""
        day = max(0, (at_ms - self.first_ms) // DAY_MS)
        self.states.adopt(maker.states)
        for name in _CACHES:
            get_cached(getattr(self, name), day, partial(getattr(maker, name).__getitem__, day))

    def use_keeper(self, keeper: StateKeeper) -> None:
        """Store states in ``keeper`` from now on, and read them from it."""
        self.states.use_keeper(keeper)

    def run_to(self, to_ms: int, stop_requested: Callable[[], bool]) -> None:
        """Run the recursion to the last midnight at or before ``to_ms``.

        The run ends early if ``stop_requested()`` is True before a day. A day takes 10 ms of CPU at
        220 symbols and 90 ms at 2,000.
        """
        day = (to_ms - self.first_ms) // DAY_MS
        at, state = self.states.nearest(max(0, day))
        while at < day and not stop_requested():
            state, _ = self._run_day(at, state)
            at += 1

    def _run_day(self, day: int, state: MarketState) -> tuple[MarketState, Moves]:
        """Store and return the state at the next midnight; return the day's moves too."""
        after, moves = run_day(self.universe, self.paths, self.seed, day, self.bars_per_day, state)
        if state.planted is not None:
            betas = self.universe.loadings[0]
            planted, moves = plant(self.paths.edges, self.seed, day, state.planted, moves, betas)
            after = attrs.evolve(after, planted=planted)
        self.states.put(day + 1, after)
        return after, moves

    def _moves_of(self, day: int) -> Moves:
        """Return the day's moves; run the days since the nearest known state if needed."""

        def run() -> Moves:
            at, state = self.states.nearest(day)
            while True:
                state, moves = self._run_day(at, state)
                if at == day:
                    return moves
                at += 1

        return get_cached(self._moves, day, run)

    def day(self, day: int) -> DayBars:
        """Return the bars of the ``day``-th UTC day since the origin."""
        return get_cached(
            self._days,
            day,
            lambda: make_day_bars(self.universe, self.seed, day, self._moves_of(day)),
        )

    def _atr_of(self, day: int) -> Floats:
        """Return the ATR known before each bar of the day; NaN where it is unknown or 0."""

        def run() -> Floats:
            days = [self.day(each) for each in range(max(0, day - 1), day + 1)]
            # Of yesterday only the rows are used that the day's first ATR needs.
            rows = self.bars_per_day + ATR_PERIOD + 1
            atr = trailing_atr(
                np.concatenate([each.high for each in days])[-rows:],
                np.concatenate([each.low for each in days])[-rows:],
                np.concatenate([each.close for each in days])[-rows:],
            )[-self.bars_per_day :]
            atr[atr <= 0.0] = np.nan
            return atr

        return get_cached(self._atrs, day, run)

    def _native(self, first: int, last: int) -> Bars:
        """Return bars ``first`` to ``last`` (excluded), all of one day, as views."""
        day, row = divmod(first, self.bars_per_day)
        bars = self.day(day)
        rows = slice(row, row + last - first)
        open_ms = self.first_ms + self.step_ms * np.arange(first, last, dtype=np.int64)
        return Bars(
            symbols=self.symbols,
            period_ms=self.step_ms,
            open_ms=open_ms,
            open=bars.open[rows],
            high=bars.high[rows],
            low=bars.low[rows],
            close=bars.close[rows],
            volume=bars.volume[rows],
        )

    def _observed(
        self, since_ms: int, until_ms: int, period_ms: int, field: Callable[[Moves], Floats]
    ) -> Series:
        """Return observations at the ends of periods that divide a day."""
        # Observation 0 is made at the end of the first period after the origin.
        first = max(0, (since_ms - self.first_ms) // period_ms)
        last = (until_ms - self.first_ms) // period_ms
        if last <= first:
            return empty_series(self.symbols, period_ms)
        per_day = DAY_MS // period_ms
        days = range(first // per_day, (last - 1) // per_day + 1)
        values = np.concatenate([field(self._moves_of(day)) for day in days])
        skip = first - days[0] * per_day
        return Series(
            symbols=self.symbols,
            available_ms=self.first_ms + period_ms * np.arange(first + 1, last + 1, dtype=np.int64),
            values=values[skip : skip + last - first],
            period_ms=period_ms,
        )

    # --- inside a bar ------------------------------------------------------------------------

    def _whole(self, first: int, last: int) -> Segment:
        """Return the path over bars ``first`` to ``last`` (excluded), all of one day."""
        day, row = divmod(first, self.bars_per_day)
        bars, atr = self.day(day), self._atr_of(day)
        rows = slice(row, row + last - first)
        high, low = bars.high[rows], bars.low[rows]
        single = last - first == 1
        spans = (high - low) / atr[rows]
        return Segment(
            open=bars.open[row],
            high=high[0] if single else high.max(axis=0),
            low=low[0] if single else low.min(axis=0),
            close=bars.close[rows][-1],
            volume=bars.volume[row] if single else bars.volume[rows].sum(axis=0),
            range_atr=spans[0] if single else np.fmax.reduce(spans),
        )

    def _part(self, bar: int, start_ms: int, end_ms: int) -> Segment:
        """Return the path from ``start_ms`` to ``end_ms`` after the bar's open."""
        day, row = divmod(bar, self.bars_per_day)
        path = self._path_of(bar)
        start, end = start_ms / self.step_ms, end_ms / self.step_ms
        opened = path.at(start)
        at_ms = self.first_ms + bar * self.step_ms + end_ms
        close = path.close if end_ms == self.step_ms else self.prices(at_ms)
        high, low = np.maximum(opened, close), np.minimum(opened, close)
        high = np.where((start <= path.high_at) & (path.high_at <= end), path.high, high)
        low = np.where((start <= path.low_at) & (path.low_at <= end), path.low, low)
        return Segment(
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=self.day(day).volume[row] * (end - start),
            range_atr=(high - low) / self._atr_of(day)[row],
        )

    def _path_of(self, bar: int) -> BarPath:
        """Return the bar's path, from its prices and the day's draws."""
        if self._bar_path is None or self._bar_path[0] != bar:
            day, row = divmod(bar, self.bars_per_day)
            bars = self.day(day)
            draws = get_cached(self._draws, day, lambda: self._draw(day))[:, row]
            path = BarPath.from_draws(
                open_=bars.open[row],
                high=bars.high[row],
                low=bars.low[row],
                close=bars.close[row],
                draws=draws,
            )
            self._bar_path = (bar, path)
        return self._bar_path[1]

    def path(self, bar: int, column: int, parts: Floats) -> Floats:
        """Return one symbol's prices at the rising fractions ``parts`` of a bar."""
        path = self._path_of(bar)
        times = [0.0, float(path.first[column]), float(path.second[column]), 1.0]
        knots = [float(each[column]) for each in (path.open, path.one, path.two, path.close)]
        prices: Floats = np.interp(parts, times, knots)
        return prices

    def _draw(self, day: int) -> Floats:
        """Return the uniform draws of the day's paths, ``[3, bars, symbols]``."""
        return day_rng(self.seed, day, PATHS).random((3, self.bars_per_day, len(self.symbols)))
