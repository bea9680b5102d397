"""The z-score reversion in vectorbt: arrays in, one simulation over all symbols with shared cash.

    python -P vectorbt.py run BARS.npz FOLDER RULE

Run by the interpreter of vectorbt's own environment; prints JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

DOES = (
    "z-score and true range in pandas, over whole columns",
    "stop and take-profit within the bar, fees",
    "one account: all symbols share its cash",
    "the figures of Portfolio.stats()",
)
DOES_NOT = (
    "orders, their states, or a book of them: a position is opened and closed within the kernel",
    "a limit of positions held at once",
    "funding, margin, contract sizes, ticks",
    "a journal, or anything between the bars of one symbol and those of another",
)


def prepare(_bars: Path, _folder: Path) -> None:
    """Nothing: it reads the bars as they are handed over."""


def run(bars: Path, _folder: Path, rule: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd
    import vectorbt as vbt

    warnings.simplefilter("ignore")
    held = np.load(bars)
    index = pd.to_datetime(held["open_ms"], unit="ms")
    opened, high, low, close = (
        pd.DataFrame(held[name], index=index, columns=held["symbols"])
        for name in ("open", "high", "low", "close")
    )
    rolled = close.rolling(rule["window"])
    z = (close - rolled.mean()) / rolled.std(ddof=0)
    before = close.shift()
    ranges = np.fmax(high - low, np.fmax((high - before).abs(), (low - before).abs()))
    reach = ranges.rolling(rule["atr_period"]).mean() / close
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries=z <= -rule["z_entry"],
        short_entries=z >= rule["z_entry"],
        open=opened,
        high=high,
        low=low,
        sl_stop=rule["stop_atr"] * reach,
        tp_stop=rule["target_atr"] * reach,
        size=rule["stake"],
        size_type="value",
        upon_long_conflict="ignore",
        upon_short_conflict="ignore",
        upon_opposite_entry="ignore",
        fees=rule["fee"],
        init_cash=rule["equity"],
        group_by=True,
        cash_sharing=True,
        freq=pd.Timedelta(int(held["period_ms"]), unit="ms"),
    )
    stats = portfolio.stats()
    return {
        "version": vbt.__version__,
        "symbols": close.shape[1],
        "bars": int(close.notna().to_numpy().sum()),
        "trades": int(stats["Total Trades"]),
        "does": DOES,
        "does_not": DOES_NOT,
    }


if __name__ == "__main__":
    verb, bars_file, work_folder, rule_text = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(bars_file), Path(work_folder))
    else:
        found = run(Path(bars_file), Path(work_folder), json.loads(rule_text))
        sys.stdout.write(json.dumps(found) + "\n")
