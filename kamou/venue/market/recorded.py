"""``RecordedMarket``: recorded bars as a market of the embedded venue.

The times of the prices inside a recorded bar are unknown. Assumes that the market stays at the
bar's open until its close, and that the whole path happens at the close. Costs: an order that is
sent inside a bar trades at a price up to one bar old.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.day import show_utc
from kamou.core.market.bars import (
    Bars,
    Dataset,
    RatioSeries,
    Segment,
    Series,
    empty_series,
    resample,
    trailing_atr,
)
from kamou.core.market.flow import FlowWindows, empty_flow
from kamou.core.model import Instrument
from kamou.errors import InvalidDataError
from kamou.venue.market.assumed_contracts import AssumedContracts
from kamou.venue.market.assumed_instruments import assume_contracts, fix_contracts
from kamou.venue.market.funding_calendar import FundingCalendar, IntervalChange
from kamou.venue.market.market import ContractChange


class RecordedMarket:
    """A ``MarketSource`` over one validated ``Dataset``.

    ``last_ms`` is the close of the last bar. From then on ``prices`` returns the last closes, and
    segments are NaN. A dataset without bars raises ``InvalidDataError``. ``instruments`` are those
    before the first change, until an engine lists later ones.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        instruments: tuple[Instrument, ...] | None = None,
        half_spread: Floats | None = None,
        contracts: AssumedContracts | None = None,
    ) -> None:
        """Take the given contracts or instruments, or assume them from the bars.

        Args:
            data: the dataset, which has been validated.
            instruments: contract specifications of which only the funding interval changes.
            half_spread: a constant half spread for these, ``[symbols]`` in basis points of mid.
            contracts: what is assumed of the symbols; it replaces the two.
        """
        bars = data.bars
        if not len(bars.open_ms):
            raise InvalidDataError(
                f"dataset {data.name} has no bars; import its bars, or choose another dataset"
            )
        self.data = data
        self.name = data.name
        self.symbols = bars.symbols
        self.step_ms = bars.period_ms
        self.first_ms = int(bars.open_ms[0])
        self.last_ms = int(bars.open_ms[-1]) + bars.period_ms
        if contracts is None:
            contracts = (
                assume_contracts(data)
                if instruments is None
                else fix_contracts(data, instruments, half_spread)
            )
        self._contracts = contracts
        self.instruments = contracts.first
        self._no_market = np.full(len(self.symbols), np.nan)
        self._no_volume = np.zeros(len(self.symbols))

    @property
    def recorded_bars(self) -> int:
        """The number of recorded bars of all symbols, without gaps."""
        return int(np.count_nonzero(~np.isnan(self.data.bars.close)))

    @cached_property
    def funding_calendar(self) -> FundingCalendar:
        """The funding calendar of all symbols."""
        return FundingCalendar(self.data.funding)

    @cached_property
    def _first_intervals(self) -> list[IntervalChange]:
        """The funding intervals before the first change, of all symbols."""
        return [
            IntervalChange(0, each.symbol, each.funding_interval_h)
            for each in self._contracts.first
        ]

    @cached_property
    def _atr(self) -> Floats:
        """The ATR known before each bar, ``[bars, symbols]``; NaN if unknown or zero."""
        bars = self.data.bars
        atr = trailing_atr(bars.high, bars.low, bars.close)
        atr[atr <= 0.0] = np.nan
        return atr

    @cached_property
    def _last_close(self) -> Floats:
        """The last known closes, ``[symbols]``."""
        close = self.data.bars.close
        known = ~np.isnan(close)
        newest = len(close) - 1 - known[::-1].argmax(axis=0)
        last: Floats = close[newest, np.arange(close.shape[1])]
        return last

    @cached_property
    def _ends(self) -> dict[str, tuple[int, float]]:
        """The end (ms) and last close of each symbol whose bars end before the last bar."""
        close = self.data.bars.close
        known = ~np.isnan(close)
        newest = len(close) - 1 - known[::-1].argmax(axis=0)
        return {
            symbol: (self.first_ms + (int(row) + 1) * self.step_ms, float(close[row, column]))
            for column, (symbol, row) in enumerate(zip(self.symbols, newest, strict=True))
            if row < len(close) - 1 and known[row, column]
        }

    def market_end(self, symbol: str) -> tuple[int, float] | None:
        """Return the end (ms) and last close of a symbol whose bars end early.

        Return None if they end with the dataset, or the symbol has no bars.
        """
        return self._ends.get(symbol)

    def segment(self, from_ms: int, to_ms: int) -> Segment:
        """Return the path over the bars that close in ``(from_ms, to_ms]``.

        If the interval reaches into the next bar, the path ends at that bar's open. ``range_atr``
        is that of the widest bar, because ``StopFillModel`` is about single bars.
        """
        bars = self.data.bars
        count = len(bars.open_ms)
        first = max(0, (from_ms - self.first_ms) // self.step_ms)
        until = min(count, (to_ms - self.first_ms) // self.step_ms)
        into_next = to_ms > self.first_ms + until * self.step_ms and 0 <= until < count
        if until <= first:
            return self._flat(first if into_next else count)
        rows = slice(first, until)
        atr_range = (bars.high[rows] - bars.low[rows]) / self._atr[rows]
        if until - first == 1 and not into_next:
            return Segment(
                open=bars.open[first],
                high=bars.high[first],
                low=bars.low[first],
                close=bars.close[first],
                volume=bars.volume[first].astype(np.float64),
                range_atr=atr_range[0],
            )
        high, low = np.fmax.reduce(bars.high[rows]), np.fmin.reduce(bars.low[rows])
        opened, close = _first_known(bars.open[rows]), _first_known(bars.close[rows][::-1])
        if into_next:
            flat = bars.open[until]
            high, low = np.fmax(high, flat), np.fmin(low, flat)
            opened = np.where(np.isnan(opened), flat, opened)
            close = np.where(np.isnan(flat), close, flat)
        return Segment(
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=np.where(np.isnan(bars.volume[rows]), 0.0, bars.volume[rows]).sum(axis=0),
            range_atr=np.fmax.reduce(atr_range),
        )

    def _flat(self, row: int) -> Segment:
        """Return a segment at the open of bar ``row``; NaN outside the recorded time."""
        if row >= len(self.data.bars.open_ms):
            none = self._no_market
            return Segment(open=none, high=none, low=none, close=none, volume=none, range_atr=none)
        price = self.data.bars.open[row]
        still = np.where(np.isnan(self._atr[row]), np.nan, 0.0)
        return Segment(
            open=price,
            high=price,
            low=price,
            close=price,
            volume=self._no_volume,
            range_atr=still,
        )

    def prices(self, at_ms: int) -> Floats:
        """Return the price of each symbol at ``at_ms``, ``[symbols]``.

        It is the open of the bar at ``at_ms``, NaN without one. After the dataset's last bar it is
        the symbol's last known close.
        """
        row = (at_ms - self.first_ms) // self.step_ms
        if row < 0:
            return self._no_market
        if at_ms >= self.last_ms:
            return self._last_close
        prices: Floats = self.data.bars.open[row]
        return prices

    def half_spread_bps(self, at_ms: int) -> Floats:
        """Return half the spread assumed at ``at_ms``, basis points of mid, ``[symbols]``."""
        return self._contracts.half_spreads_bps(at_ms, self.prices(at_ms))

    def contract_changes(self, since_ms: int, until_ms: int) -> Sequence[ContractChange]:
        """Return the assumed changes of ``(since_ms, until_ms]`` by time.

        Those at time 0 make the instruments that count before the first change.
        """
        intervals = self.funding_calendar.changes(since_ms, until_ms)
        if since_ms < 0:
            intervals = [*self._first_intervals, *intervals]
        assumed = self._contracts.changes_between(since_ms, until_ms)
        if not assumed or not intervals:
            return assumed or intervals
        return sorted([*assumed, *intervals], key=lambda each: (each.at_ms, each.symbol))

    def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Return the complete bars inside ``[since_ms, until_ms]``, aligned to UTC."""
        native = self._native(since_ms, until_ms)
        if period_ms == self.step_ms:
            return attrs.evolve(native, volume=native.volume.astype(np.float64))
        return resample(native, period_ms)

    def _native(self, since_ms: int, until_ms: int) -> Bars:
        bars = len(self.data.bars.open_ms)
        first = min(bars, max(0, -((self.first_ms - since_ms) // self.step_ms)))
        last = min(bars, max(first, (until_ms - self.first_ms) // self.step_ms))
        return _rows(self.data.bars, slice(first, last))

    def open_interest(self, since_ms: int, until_ms: int) -> Series:
        """Return the open interest of ``(since_ms, until_ms]``, contracts or base units."""
        return self.data.open_interest.between(since_ms, until_ms)

    def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        """Return the rates settled in ``(since_ms, until_ms]``, fractions per interval."""
        return self.data.funding.between(since_ms, until_ms)

    def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        """Return the ratios of long to short accounts of ``(since_ms, until_ms]``.

        Without ratios in the dataset the series is empty, and strategies that need them abstain.
        """
        return self._between(self.data.ratios, since_ms, until_ms)

    def premium_index(self, since_ms: int, until_ms: int) -> Series:
        """Return the premium index of ``(since_ms, until_ms]``; empty if there is none."""
        return self._between(self.data.premium, since_ms, until_ms)

    def _between(self, series: Series | None, since_ms: int, until_ms: int) -> Series:
        if series is None:
            return empty_series(self.symbols, self.data.open_interest.period_ms)
        return series.between(since_ms, until_ms)

    def flow_windows(self, _since_ms: int, _until_ms: int) -> FlowWindows:
        """Return no windows, because datasets have no order flow.

        Strategies that need it abstain.
        """
        return empty_flow(self.symbols)

    def restrict(
        self,
        symbols: tuple[str, ...] | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> RecordedMarket:
        """Return the market of fewer symbols or less time.

        Instruments and spreads stay those of the whole dataset at each time.

        Raises:
            InvalidDataError: a symbol is not in the dataset, or no symbol or no bar is left.
        """
        chosen = tuple(sorted(set(self.symbols if symbols is None else symbols)))
        for symbol in chosen:
            if symbol not in self.symbols:
                near = difflib.get_close_matches(symbol, self.symbols, n=3)
                known = ", ".join(near or self.symbols[:3])
                hint = f"nearest: {known}" if near else f"some that it has: {known}"
                raise InvalidDataError(f"dataset {self.name} has no symbol {symbol!r}; {hint}")
        since = self.first_ms if from_ms is None else from_ms
        until = self.last_ms if to_ms is None else to_ms
        native = self._native(since, until)
        if not chosen:
            raise InvalidDataError(f"no symbol of dataset {self.name} is chosen; name at least one")
        if not len(native.open_ms):
            raise InvalidDataError(
                f"dataset {self.name} has no bars between {show_utc(since)} and {show_utc(until)};"
                f" it spans {show_utc(self.first_ms)} to {show_utc(self.last_ms)}, so choose times"
                " in it"
            )
        columns = [self.symbols.index(symbol) for symbol in chosen]
        whole, ratios = self.data, self.data.ratios
        if ratios is not None:
            ratios = _ratio_columns(ratios.between(0, until), chosen, columns)
        premium = whole.premium
        if premium is not None:
            premium = _series_columns(premium.between(0, until), chosen, columns)
        data = attrs.evolve(
            whole,
            bars=_columns(native, chosen, columns),
            funding=_series_columns(whole.funding.between(0, until), chosen, columns),
            open_interest=_series_columns(whole.open_interest.between(0, until), chosen, columns),
            ratios=ratios,
            premium=premium,
        )
        return RecordedMarket(data, contracts=self._contracts.choose(columns))


def _first_known(rows: Floats) -> Floats:
    """Return the first value that is not NaN per column; NaN if there is none."""
    known = ~np.isnan(rows)
    first: Floats = rows[known.argmax(axis=0), np.arange(rows.shape[1])]
    return first


def _rows(bars: Bars, rows: slice) -> Bars:
    return attrs.evolve(
        bars,
        open_ms=bars.open_ms[rows],
        open=bars.open[rows],
        high=bars.high[rows],
        low=bars.low[rows],
        close=bars.close[rows],
        volume=bars.volume[rows],
    )


def _columns(bars: Bars, symbols: tuple[str, ...], columns: list[int]) -> Bars:
    if symbols == bars.symbols:
        return bars
    return attrs.evolve(
        bars,
        symbols=symbols,
        open=bars.open[:, columns],
        high=bars.high[:, columns],
        low=bars.low[:, columns],
        close=bars.close[:, columns],
        volume=bars.volume[:, columns],
    )


def _series_columns(series: Series, symbols: tuple[str, ...], columns: list[int]) -> Series:
    return attrs.evolve(series, symbols=symbols, values=series.values[:, columns])


def _ratio_columns(
    ratios: RatioSeries, symbols: tuple[str, ...], columns: list[int]
) -> RatioSeries:
    return attrs.evolve(
        ratios,
        symbols=symbols,
        values=ratios.values[:, columns],
        top_traders=ratios.top_traders[:, columns],
    )
