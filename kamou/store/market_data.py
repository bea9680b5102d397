"""Stored market data: one folder per set, under ``market/`` of the data folder.

``market/NAME/`` holds ``candles.parquet`` (``symbol, ts, open, high, low, close, volume``, by
symbol and time: itself a layout that can be imported), ``funding.parquet``,
``open_interest.parquet`` and ``meta.json`` (symbols, period, ranges, gaps, counts, and the
SHA-256 of each file, checked on every load). A set is written beside its place and renamed:
it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kamou.core.bar_checks import Gap
from kamou.core.bars import Candles, Floats, MarketSet, Series
from kamou.errors import DataRefusedError, DiskFullError, StoreError
from kamou.store.recorded import RecordedMarket

FORMAT = 1
META = "meta.json"
CANDLES, FUNDING, INTEREST = "candles.parquet", "funding.parquet", "open_interest.parquet"
FILES = (CANDLES, FUNDING, INTEREST)
GAPS_LISTED_MAX = 100  # in meta.json; all are counted
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FIELDS = ("open", "high", "low", "close", "volume")


@attrs.frozen(kw_only=True)
class SymbolRange:
    symbol: str
    first_ms: int  # open of its first bar
    last_ms: int  # close of its last bar
    bars: int


@attrs.frozen(kw_only=True)
class SetSummary:
    """What ``data list`` shows of one set."""

    name: str
    path: Path
    symbols: int
    bars: int  # recorded, over all symbols
    period_ms: int
    first_ms: int
    last_ms: int  # close of the last bar
    ranges: tuple[SymbolRange, ...]
    gaps: tuple[Gap, ...]  # the first GAPS_LISTED_MAX
    gaps_total: int
    funding_rows: int
    interest_rows: int
    source: str  # name of the folder it came from
    sha256: str  # over the three files


def market_folder(data_dir: Path) -> Path:
    return data_dir / "market"


def set_path(data_dir: Path, name: str) -> Path:
    """Where a set of this name lives.

    Raises:
        DataRefusedError: the name cannot be a folder's name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise DataRefusedError(
            f"{name!r} cannot name a set: use letters, digits, '.', '_' and '-', at most 64"
        )
    return market_folder(data_dir) / name


def list_sets(data_dir: Path) -> tuple[SetSummary, ...]:
    """All stored sets, by name. Reads their ``meta.json`` only.

    Raises:
        DataRefusedError: a set's ``meta.json`` is unreadable.
    """
    folder = market_folder(data_dir)
    if not folder.is_dir():
        return ()
    return tuple(
        read_summary(path)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    )


def load_set(path: Path) -> RecordedMarket:
    """A stored set as a market. Its files' hashes are checked; its rows were, at import.

    Raises:
        DataRefusedError: a file is missing, was changed, or is of another format.
    """
    meta = _read_meta(path)
    for name in FILES:
        if _sha256(path / name) != meta["files"][name]:
            raise DataRefusedError(
                f"{path / name}: not the file that was imported (its SHA-256 differs); "
                "delete the set's folder and import it again"
            )
    symbols = tuple(meta["symbols"])
    return RecordedMarket(
        MarketSet(
            name=path.name,
            candles=_read_candles(path / CANDLES, symbols, meta),
            funding=_read_series(path / FUNDING, symbols, meta["funding_period_ms"]),
            interest=_read_series(path / INTEREST, symbols, meta["interest_period_ms"]),
        )
    )


def read_summary(path: Path) -> SetSummary:
    """The set's summary, from its ``meta.json``.

    Raises:
        DataRefusedError: it is missing or unreadable.
    """
    meta = _read_meta(path)
    return SetSummary(
        name=path.name,
        path=path,
        symbols=len(meta["symbols"]),
        bars=meta["bars"],
        period_ms=meta["period_ms"],
        first_ms=meta["first_ms"],
        last_ms=meta["last_ms"],
        ranges=tuple(SymbolRange(**each) for each in meta["ranges"]),
        gaps=tuple(Gap(**each) for each in meta["gaps"]),
        gaps_total=meta["gaps_total"],
        funding_rows=meta["funding_rows"],
        interest_rows=meta["interest_rows"],
        source=meta["source"],
        sha256=meta["sha256"],
    )


def write_set(
    data: MarketSet,
    data_dir: Path,
    *,
    source: str,
    gaps: tuple[Gap, ...] = (),
    replace: bool = False,
) -> tuple[SetSummary, bool]:
    """Store a validated set under its name; ``(summary, True)`` when the same one was there.

    Raises:
        DataRefusedError: another set has this name and ``replace`` is not set.
        DiskFullError: no room; nothing is left behind.
        StoreError: the data folder cannot be written.
    """
    target = set_path(data_dir, data.name)
    temporary = target.with_name(f".{data.name}.{os.getpid()}")
    with _write_errors(target):
        try:
            temporary.mkdir(parents=True)
            pq.write_table(_candle_table(data.candles), temporary / CANDLES, compression="zstd")
            _write_series(data.funding, temporary / FUNDING)
            _write_series(data.interest, temporary / INTEREST)
            meta = _meta(data, source, gaps, {name: _sha256(temporary / name) for name in FILES})
            if (target / META).exists() and not replace:
                if _read_meta(target)["sha256"] == meta["sha256"]:
                    return read_summary(target), True
                raise DataRefusedError(
                    f"a different set named {data.name!r} is already stored; choose another "
                    f"name with --name, or delete {target}"
                )
            (temporary / META).write_text(json.dumps(meta, indent=1))
            _sync(temporary)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return read_summary(target), False


# --- writing ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"{target}: no space left; nothing was stored") from error
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    """Flush a folder's files and the folder itself to the disk."""
    for each in [*(path.iterdir() if path.name.startswith(".") else ()), path]:
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _candle_table(candles: Candles) -> pa.Table:
    """Long rows by symbol and time; a missing bar has no row."""
    there = ~np.isnan(candles.close).T
    code, row = np.nonzero(there)
    arrays = {
        "symbol": pa.DictionaryArray.from_arrays(
            pa.array(code.astype(np.int32)), pa.array(candles.symbols, pa.string())
        ),
        "ts": pa.array(candles.open_ms[row]),
    }
    for name in FIELDS:
        kind = np.float32 if name == "volume" else np.float64
        arrays[name] = pa.array(getattr(candles, name).T[there].astype(kind))
    return pa.table(arrays)


def _write_series(series: Series, path: Path) -> None:
    """Wide: ``available_ms`` and one column per symbol."""
    columns = {"available_ms": pa.array(series.available_ms)}
    for column, symbol in enumerate(series.symbols):
        columns[symbol] = pa.array(np.ascontiguousarray(series.values[:, column]))
    pq.write_table(pa.table(columns), path, compression="zstd")


def _meta(
    data: MarketSet, source: str, gaps: tuple[Gap, ...], files: dict[str, str]
) -> dict[str, Any]:
    candles = data.candles
    there = ~np.isnan(candles.close)
    first = there.argmax(axis=0)
    last = len(there) - 1 - there[::-1].argmax(axis=0)
    counts = there.sum(axis=0)
    ranges = [
        SymbolRange(
            symbol=symbol,
            first_ms=int(candles.open_ms[first[at]]),
            last_ms=int(candles.open_ms[last[at]]) + candles.period_ms,
            bars=int(counts[at]),
        )
        for at, symbol in enumerate(candles.symbols)
    ]
    return {
        "format": FORMAT,
        "source": source,
        "period_ms": candles.period_ms,
        "first_ms": int(candles.open_ms[0]),
        "last_ms": int(candles.open_ms[-1]) + candles.period_ms,
        "bars": int(counts.sum()),
        "funding_rows": int(np.count_nonzero(~np.isnan(data.funding.values))),
        "interest_rows": int(np.count_nonzero(~np.isnan(data.interest.values))),
        "funding_period_ms": data.funding.period_ms,
        "interest_period_ms": data.interest.period_ms,
        "symbols": list(candles.symbols),
        "ranges": [attrs.asdict(each) for each in ranges],
        "gaps": [attrs.asdict(each) for each in gaps[:GAPS_LISTED_MAX]],
        "gaps_total": len(gaps),
        "files": files,
        "sha256": hashlib.sha256("".join(files[name] for name in FILES).encode()).hexdigest(),
    }


# --- reading ---------------------------------------------------------------------------------


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((path / META).read_text())
        if meta["format"] != FORMAT:
            raise DataRefusedError(
                f"{path}: stored in format {meta['format']}, this Kamou reads {FORMAT}; "
                "delete the set's folder and import it again"
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataRefusedError(
            f"{path}: no readable {META} ({type(error).__name__}); "
            "delete the set's folder and import it again"
        ) from error
    return meta


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataRefusedError(
            f"{path}: cannot be read: {error.strerror}; import the set again"
        ) from error


def _read_candles(path: Path, symbols: tuple[str, ...], meta: dict[str, Any]) -> Candles:
    """One column at a time: a set of millions of bars is never in memory twice."""
    period, first = meta["period_ms"], meta["first_ms"]
    bars = (meta["last_ms"] - first) // period

    def column(name: str) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = pq.read_table(path, columns=[name])[name].to_numpy()
        return values

    cell = (column("ts") - first) // period * len(symbols)
    done = 0
    names = pq.read_table(path, columns=["symbol"], read_dictionary=["symbol"])["symbol"]
    for chunk in names.chunks:
        place = np.array([symbols.index(name) for name in chunk.dictionary.to_pylist()])
        cell[done : done + len(chunk)] += place[chunk.indices.to_numpy()]
        done += len(chunk)

    def grid(name: str) -> Floats:
        kind = np.float32 if name == "volume" else np.float64
        values = np.full(bars * len(symbols), np.nan, dtype=kind)
        values[cell] = column(name)
        return values.reshape(bars, len(symbols))

    return Candles(
        symbols=symbols,
        period_ms=period,
        open_ms=first + period * np.arange(bars, dtype=np.int64),
        open=grid("open"),
        high=grid("high"),
        low=grid("low"),
        close=grid("close"),
        volume=grid("volume"),
    )


def _read_series(path: Path, symbols: tuple[str, ...], period_ms: int) -> Series:
    table = pq.read_table(path)
    values = [table[symbol].to_numpy() for symbol in symbols]
    return Series(
        symbols=symbols,
        available_ms=table["available_ms"].to_numpy(),
        values=np.column_stack(values) if symbols else np.empty((table.num_rows, 0)),
        period_ms=period_ms,
    )
