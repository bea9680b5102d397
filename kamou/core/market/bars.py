"""Bars, series, segments and datasets as columns, and computations from bars.

The functions resample and concatenate bars and compute their trailing ATR. A bar is identified by
its **open** time and is usable from ``open_ms + period_ms``. Arrays of bars are ``[bars, symbols]``
floats, NaN where a symbol has no bar.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.indicators.atr import true_range
from kamou.errors import InvalidDataError

ATR_PERIOD = 14  # bars, Wilder's window


@attrs.frozen(kw_only=True, eq=False)
class Bars:
    """Closed bars as columns ``[bars, symbols]``; NaN where a symbol had no bar.

    ``open_ms[i]`` is the open time of bar i (shape ``[bars]``). The bar was usable from
    ``open_ms[i] + period_ms``. Prices are in the quote currency, volume is in base units.
    """

    symbols: tuple[str, ...]
    period_ms: int
    open_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@attrs.frozen(kw_only=True, eq=False)
class Series:
    """Sparse observations as columns ``[rows, symbols]``, with their available times.

    The observations are open interest (contracts or base units), funding rates (fractions per
    interval), premium indices or ratios of long to short accounts. NaN: unknown. ``available_ms``
    is ``[rows]``. ``period_ms`` is the most frequent time between two rows.
    """

    symbols: tuple[str, ...]
    available_ms: Ints
    values: Floats
    period_ms: int

    def between(self, since_ms: int, until_ms: int) -> Series:
        """Return the rows with ``since_ms < available_ms <= until_ms``, as views."""
        first, last = np.searchsorted(self.available_ms, (since_ms, until_ms), side="right")
        return attrs.evolve(
            self, available_ms=self.available_ms[first:last], values=self.values[first:last]
        )


@attrs.frozen(kw_only=True, eq=False)
class RatioSeries(Series):
    """Ratios of long to short accounts, with those of the top traders.

    ``values`` are the ratios of all accounts. ``top_traders`` is ``[rows, symbols]``; NaN: unknown.
    """

    top_traders: Floats

    def between(self, since_ms: int, until_ms: int) -> RatioSeries:
        """Return the rows with ``since_ms < available_ms <= until_ms``, as views."""
        first, last = np.searchsorted(self.available_ms, (since_ms, until_ms), side="right")
        return attrs.evolve(
            self,
            available_ms=self.available_ms[first:last],
            values=self.values[first:last],
            top_traders=self.top_traders[first:last],
        )


def get_top_ratios(ratios: Series) -> Floats:
    """Return the top traders' ratios, ``[rows, symbols]``; NaN in a plain ``Series``."""
    if isinstance(ratios, RatioSeries):
        return ratios.top_traders
    return np.full(ratios.values.shape, np.nan)


@attrs.frozen(kw_only=True, eq=False)
class Segment:
    """Prices and volume over ``(from_ms, to_ms]``, each ``[symbols]``; NaN: no price."""

    open: Floats  # first tradable price
    high: Floats
    low: Floats
    close: Floats  # last tradable price
    volume: Floats  # in base units
    range_atr: Floats  # (high - low) in units of the trailing ATR(14); NaN: unknown


@attrs.frozen(kw_only=True, eq=False)
class Dataset:
    """Validated market data that is imported, stored and replayed.

    ``bars`` is a time grid without gaps; a missing bar of a symbol is NaN. ``premium`` is a
    fraction of the index price. ``ratio_source`` is the name of the exchange whose accounts
    ``ratios`` count; empty: unknown.
    """

    name: str
    bars: Bars
    funding: Series
    open_interest: Series
    ratios: RatioSeries | None = None
    premium: Series | None = None
    ratio_source: str = ""


def empty_series(symbols: tuple[str, ...], period_ms: int) -> Series:
    """Return a series without observations."""
    return Series(
        symbols=symbols,
        available_ms=np.empty(0, dtype=np.int64),
        values=np.empty((0, len(symbols))),
        period_ms=period_ms,
    )


def resample(bars: Bars, period_ms: int) -> Bars:
    """Return coarser bars from complete buckets of finer ones, aligned to UTC.

    A bucket in which a symbol lacks a bar is NaN for that symbol, because a bar of a part of the
    time would look complete. Incomplete buckets at the start and the end are left out.

    Raises:
        InvalidDataError: ``period_ms`` is not a multiple of the bars' own period.
    """
    if period_ms == bars.period_ms:
        return bars
    factor, rest = divmod(period_ms, bars.period_ms)
    if rest or factor < 1:
        raise InvalidDataError(
            f"bars of {bars.period_ms // 1000} s cannot make bars of {period_ms // 1000} s: "
            "choose a timeframe that is a multiple of the data's period"
        )
    rows_total, columns = bars.open.shape
    skip = 0
    if rows_total:
        skip = int(-bars.open_ms[0] % period_ms) // bars.period_ms
    count = max(0, (rows_total - skip) // factor)
    rows = slice(skip, skip + count * factor)
    shape = (count, factor, columns)
    high = bars.high[rows].reshape(shape).max(axis=1)
    absent = np.isnan(high)  # max is NaN if any bar of the bucket is
    parts = {
        "open": bars.open[rows].reshape(shape)[:, 0],
        "low": bars.low[rows].reshape(shape).min(axis=1),
        "close": bars.close[rows].reshape(shape)[:, -1],
        "volume": bars.volume[rows].reshape(shape).sum(axis=1, dtype=np.float64),
    }
    if absent.any():
        parts = {name: np.where(absent, np.nan, part) for name, part in parts.items()}
    return Bars(
        symbols=bars.symbols,
        period_ms=period_ms,
        open_ms=bars.open_ms[rows][::factor],
        high=high,
        **parts,
    )


def concatenate(parts: list[Bars]) -> Bars:
    """Return consecutive bars of the same symbols as one ``Bars``.

    ``parts`` has at least one element.
    """
    if len(parts) == 1:
        return parts[0]
    return Bars(
        symbols=parts[0].symbols,
        period_ms=parts[0].period_ms,
        open_ms=np.concatenate([part.open_ms for part in parts]),
        open=np.concatenate([part.open for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        close=np.concatenate([part.close for part in parts]),
        volume=np.concatenate([part.volume for part in parts]),
    )


def trailing_atr(high: Floats, low: Floats, close: Floats, window: int = ATR_PERIOD) -> Floats:
    """Return the mean of the ``window`` true ranges before each bar.

    The mean replaces Wilder's recursion so that a bar needs only the ``window + 1`` bars before
    it. The mean is NaN until there are that many, also after a gap. Arrays are ``[bars, symbols]``.
    """
    ranges = true_range(high, low, close)
    result = np.full(high.shape, np.nan)
    if len(high) > window:
        total = ranges[:-window].copy()
        for lag in range(1, window):
            total += ranges[lag : lag - window]
        result[window:] = total / window
    return result
