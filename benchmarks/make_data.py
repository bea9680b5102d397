"""Generated bars as a dataset: what the backtest benchmark runs on.

    python benchmarks/make_data.py --data-dir DIR [--symbols 200] [--days 10] [--step-s 60]

Prints one JSON line: the set's name, symbols, bars, and what making it cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from kamou.core.day import DAY_MS
from kamou.store.market_data import DatasetSummary, write_dataset
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.made_dataset import materialise

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01: any midnight will do, but always the same one


def expand(
    data_dir: Path,
    *,
    name: str,
    symbols: int = 200,
    days: int = 10,
    step_ms: int = 60_000,
    seed: int = 7,
) -> DatasetSummary:
    """Store ``days`` of the generated market under ``data_dir``; the same call, the same set."""
    market = GeneratedMarket(seed=seed, origin_ms=ORIGIN_MS, symbols=symbols, step_ms=step_ms)
    data = materialise(market, name, ORIGIN_MS, ORIGIN_MS + days * DAY_MS)
    summary, _ = write_dataset(data, data_dir, source=f"generator seed {seed}")
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--name", default="generated")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--step-s", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    started = time.process_time()
    summary = expand(
        given.data_dir,
        name=given.name,
        symbols=given.symbols,
        days=given.days,
        step_ms=given.step_s * 1000,
        seed=given.seed,
    )
    report = {
        "name": summary.name,
        "symbols": summary.symbols,
        "bars": summary.bars,
        "first_ms": summary.first_ms,
        "last_ms": summary.last_ms,
        "cpu_s": round(time.process_time() - started, 2),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
