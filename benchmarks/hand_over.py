"""Bars of a dataset in a file that engines of other projects read.

    python benchmarks/hand_over.py --data-dir DIR --name NAME [--symbols N] [--bars N] FILE.npz

Columns are ``[bar, symbol]`` of float64, NaN where a symbol has no bar; ``decimals`` is how many
digits a symbol's prices have.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from kamou.store.importer import open_market

NOW_MS = 4_102_444_800_000  # 2100: generated bars are never in the future
COLUMNS = ("open", "high", "low", "close", "volume")
DECIMALS_MAX = 9


def decimals_of(prices: np.ndarray) -> int:
    """The fewest digits after the point that keep every price."""
    known = prices[~np.isnan(prices)]
    for decimals in range(DECIMALS_MAX):
        if np.allclose(np.round(known, decimals), known, rtol=1e-10, atol=0):
            return decimals
    return DECIMALS_MAX


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--symbols", type=int, help="only so many, the first ones")
    parser.add_argument("--bars", type=int, help="only so many of each, the last ones")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    bars = open_market(given.data_dir, given.name, now_ms=NOW_MS).data.bars
    width, length = given.symbols, len(bars.open_ms)
    skipped = max(0, length - (given.bars or length))
    columns = {
        name: np.asarray(getattr(bars, name)[skipped:, :width], np.float64) for name in COLUMNS
    }
    prices = np.stack([columns[name] for name in COLUMNS[:4]])
    symbols = list(bars.symbols[:width])
    np.savez(
        given.file,
        symbols=np.array(symbols),
        open_ms=bars.open_ms[skipped:],
        period_ms=np.int64(bars.period_ms),
        decimals=np.array([decimals_of(prices[:, :, at]) for at in range(len(symbols))]),
        **cast(dict[str, Any], columns),
    )
    shape = {
        "symbols": len(symbols),
        "bars": int(np.count_nonzero(~np.isnan(columns["close"]))),
        "period_s": int(bars.period_ms) // 1000,
    }
    sys.stdout.write(json.dumps(shape) + "\n")


if __name__ == "__main__":
    main()
