"""Small directories of market data files, for the tests of imports and datasets."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HOUR_MS = 3_600_000
START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
BARS = 48
END_MS = START_MS + BARS * HOUR_MS
NOW_MS = END_MS + HOUR_MS
SYMBOLS = ("ETHUSDT", "BTCUSDT", "DOGEUSDT")  # not sorted, as in files

Rows = list[dict[str, Any]]


def bar_rows(symbols: tuple[str, ...] = SYMBOLS, bars: int = BARS, start: int = START_MS) -> Rows:
    """Return hourly bars with a tick size of 0.01, sorted by symbol and time."""
    rng = np.random.default_rng(1)
    rows: Rows = []
    for at, symbol in enumerate(symbols):
        close = np.round(100 * (at + 1) * np.exp(np.cumsum(0.01 * rng.standard_normal(bars))), 2)
        open_prices = np.concatenate([close[:1], close[:-1]])
        for bar in range(bars):
            rows.append(
                {
                    "symbol": symbol,
                    "ts": start + bar * HOUR_MS,
                    "open": float(open_prices[bar]),
                    "high": float(np.round(max(open_prices[bar], close[bar]) + 0.5, 2)),
                    "low": float(np.round(min(open_prices[bar], close[bar]) - 0.5, 2)),
                    "close": float(close[bar]),
                    "volume": float(10.0 * (at + 1)),
                }
            )
    return rows


def funding_rows(every_h: int = 8, jitter_ms: int = 7) -> Rows:
    return [
        {
            "symbol": symbol,
            "ts": START_MS + hour * HOUR_MS + (jitter_ms if hour % 16 else 0),
            "funding_rate": 0.0001 * (1 + hour / 100),
        }
        for symbol in SYMBOLS
        for hour in range(0, BARS, every_h)
    ]


def open_interest_rows(every_h: int = 4) -> Rows:
    return [
        {
            "ts": START_MS + hour * HOUR_MS,
            "symbol": symbol,
            "sum_open_interest": 1000.0 + hour,
            "sum_open_interest_value": 1e6,
        }
        for symbol in SYMBOLS
        for hour in range(0, BARS, every_h)
    ]


def write_csv(path: Path, rows: Rows) -> Path:
    lines = [",".join(rows[0])]
    lines += [",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows]
    text = "\n".join(lines) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_valid_files(directory: Path) -> Path:
    """Write valid bars, funding and open interest into a directory; return it."""
    write_parquet(directory / "bars_1h.parquet", bar_rows())
    write_csv(directory / "funding.csv.gz", funding_rows())
    write_csv(directory / "open_interest_4h.csv.gz", open_interest_rows())
    return directory
