"""Making and reading of the tables of a dataset that this store wrote.

These tables are read without checks of their rows. ``file_layouts.py`` and ``wide_tables.py`` read
files from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kamou.core.arrays import Floats
from kamou.core.market.bars import Bars, Dataset, RatioSeries, Series
from kamou.store.dataset_description import (
    AVAILABLE,
    BAR_FIELDS,
    BARS_FILE,
    FUNDING_FILE,
    META,
    OPEN_INTEREST_FILE,
    PREMIUM_FILE,
    RATIOS_FILE,
    TOP_RATIOS_FILE,
    StoredMeta,
    data_files,
)


def make_table(data: Dataset, file: str) -> pa.Table:
    """Return the table of one of a dataset's ``data_files``."""
    if file == BARS_FILE:
        return make_bar_table(data.bars)
    return make_series_table(_series_of_files(data)[file])


def _series_of_files(data: Dataset) -> dict[str, Series]:
    series = {FUNDING_FILE: data.funding, OPEN_INTEREST_FILE: data.open_interest}
    if data.ratios is not None:
        series |= {RATIOS_FILE: data.ratios}
        series |= {TOP_RATIOS_FILE: attrs.evolve(data.ratios, values=data.ratios.top_traders)}
    if data.premium is not None:
        series |= {PREMIUM_FILE: data.premium}
    assert {*series, BARS_FILE} >= set(data_files(data))
    return series


def read_dataset(path: Path, meta: StoredMeta) -> Dataset:
    """Read a dataset that ``make_table`` made; its hashes are those in ``meta``."""

    def read(file: str, period_ms: int | None) -> Series | None:
        if file not in meta.files:
            return None
        assert period_ms is not None, f"{META} has {file} without a period"
        return read_series(path / file, meta.symbols, period_ms)

    ratios = read(RATIOS_FILE, meta.ratio_period_ms)
    return Dataset(
        name=path.name,
        bars=read_bars(path / BARS_FILE, meta),
        funding=read_series(path / FUNDING_FILE, meta.symbols, meta.funding_period_ms),
        open_interest=read_series(
            path / OPEN_INTEREST_FILE, meta.symbols, meta.open_interest_period_ms
        ),
        ratios=None
        if ratios is None
        else join_ratios(ratios, read(TOP_RATIOS_FILE, meta.ratio_period_ms)),
        premium=read(PREMIUM_FILE, meta.premium_period_ms),
        ratio_source=meta.ratio_source,
    )


def join_ratios(accounts: Series, top: Series | None) -> RatioSeries:
    """Return the ratios of all accounts with those of top traders at the same times.

    A ratio of top traders at a time without one of all accounts of any symbol is left out.
    """
    top_traders = np.full(accounts.values.shape, np.nan)
    if top is not None and len(top.available_ms):
        times = top.available_ms
        row = np.minimum(np.searchsorted(times, accounts.available_ms), len(times) - 1)
        same = times[row] == accounts.available_ms
        top_traders[same] = top.values[row[same]]
        top_traders[np.isnan(accounts.values)] = np.nan
    return RatioSeries(
        symbols=accounts.symbols,
        available_ms=accounts.available_ms,
        values=accounts.values,
        period_ms=accounts.period_ms,
        top_traders=top_traders,
    )


def make_bar_table(bars: Bars) -> pa.Table:
    """Return bars as rows, sorted by symbol and time; a missing bar has no row.

    The columns are symbol, ts (open in ms UTC), open, high, low, close and volume (float32).
    """
    present = ~np.isnan(bars.close).T
    code, row = np.nonzero(present)
    arrays = {
        "symbol": pa.DictionaryArray.from_arrays(
            pa.array(code.astype(np.int32)), pa.array(bars.symbols, pa.string())
        ),
        "ts": pa.array(bars.open_ms[row]),
    }
    for name in BAR_FIELDS:
        kind = np.float32 if name == "volume" else np.float64
        arrays[name] = pa.array(getattr(bars, name).T[present].astype(kind))
    return pa.table(arrays)


def make_series_table(series: Series) -> pa.Table:
    """Return a series as columns: ``available_ms``, then one for each symbol."""
    columns = {AVAILABLE: pa.array(series.available_ms)}
    for column, symbol in enumerate(series.symbols):
        columns[symbol] = pa.array(np.ascontiguousarray(series.values[:, column]))
    return pa.table(columns)


def read_bars(path: Path, meta: StoredMeta) -> Bars:
    """Read bars that ``make_bar_table`` made; a bar without a row is NaN.

    The columns are read one at a time, so that they are not in memory twice.
    """
    symbols, period, first = meta.symbols, meta.period_ms, meta.first_ms
    bars = (meta.last_ms - first) // period
    place_of = {symbol: at for at, symbol in enumerate(symbols)}

    def column(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = pq.read_table(path, columns=[name])[name].to_numpy()
        return values

    cell = (column("ts") - first) // period * len(symbols)
    done = 0
    names = pq.read_table(path, columns=["symbol"], read_dictionary=["symbol"])["symbol"]
    for chunk in names.chunks:
        place = np.array([place_of[name] for name in chunk.dictionary.to_pylist()])
        cell[done : done + len(chunk)] += place[chunk.indices.to_numpy()]
        done += len(chunk)

    def grid(name: str) -> Floats:
        kind = np.float32 if name == "volume" else np.float64
        values = np.full(bars * len(symbols), np.nan, dtype=kind)
        values[cell] = column(name)
        shaped: npt.NDArray[Any] = values.reshape(bars, len(symbols))
        return shaped

    return Bars(
        symbols=symbols,
        period_ms=period,
        open_ms=first + period * np.arange(bars, dtype=np.int64),
        open=grid("open"),
        high=grid("high"),
        low=grid("low"),
        close=grid("close"),
        volume=grid("volume"),
    )


def read_series(path: Path, symbols: tuple[str, ...], period_ms: int) -> Series:
    """Read a series that ``make_series_table`` made."""
    table = pq.read_table(path)
    values = [table[symbol].to_numpy() for symbol in symbols]
    return Series(
        symbols=symbols,
        available_ms=table[AVAILABLE].to_numpy(),
        values=np.column_stack(values) if symbols else np.empty((table.num_rows, 0)),
        period_ms=period_ms,
    )
