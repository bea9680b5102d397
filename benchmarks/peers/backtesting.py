"""The z-score reversion in backtesting.py: one symbol at a time, each with an account of its own.

    python -P backtesting.py run BARS.npz FOLDER RULE

Run by the interpreter of its own environment; prints JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

DOES = (
    "one symbol after the other, each with an account of its own",
    "z-score and true range in pandas, over whole columns",
    "orders with stop and take-profit attached, filled at the next open or within the bar, fees",
    "the figures of Backtest.run()",
)
DOES_NOT = (
    "a portfolio: no symbol knows of another",
    "a limit of positions held at once",
    "funding, contract sizes, ticks",
    "a journal",
)


def prepare(_bars: Path, _folder: Path) -> None:
    """Nothing: it reads the bars as they are handed over."""


def run(bars: Path, _folder: Path, rule: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import pandas as pd
    from backtesting import Backtest, Strategy

    warnings.simplefilter("ignore")

    def zscore(close: Any) -> Any:
        series = pd.Series(close)
        rolled = series.rolling(rule["window"])
        return (series - rolled.mean()) / rolled.std(ddof=0)

    def true_range(high: Any, low: Any, close: Any) -> Any:
        before = pd.Series(close).shift()
        ranges = np.fmax(high - low, np.fmax((high - before).abs(), (low - before).abs()))
        return ranges.rolling(rule["atr_period"]).mean()

    class Reversion(Strategy):
        def init(self) -> None:
            data = self.data
            self.z = self.I(zscore, data.Close, plot=False)
            self.atr = self.I(true_range, data.High, data.Low, data.Close, plot=False)

        def next(self) -> None:
            z = self.z[-1]
            if self.position or self.orders or not abs(z) >= rule["z_entry"]:
                return
            price, atr = self.data.Close[-1], self.atr[-1]
            stop, target = rule["stop_atr"] * atr, rule["target_atr"] * atr
            if z < 0:
                self.buy(size=SHARE, sl=price - stop, tp=price + target)
            elif target < price:
                self.sell(size=SHARE, sl=price + stop, tp=price - target)

    SHARE = rule["stake"] / rule["equity"]
    held = np.load(bars)
    index = pd.to_datetime(held["open_ms"], unit="ms")
    columns = {name: held[name.lower()] for name in ("Open", "High", "Low", "Close", "Volume")}
    trades = total = 0
    for column in range(len(held["symbols"])):
        frame = pd.DataFrame(
            {name: values[:, column] for name, values in columns.items()}, index=index
        ).dropna()
        # Whole units only: with this much money a share of any symbol is many units.
        test = Backtest(frame, Reversion, cash=1e9, commission=rule["fee"])
        trades += int(test.run()["# Trades"])
        total += len(frame)
    return {
        "version": metadata.version("backtesting"),
        "symbols": len(held["symbols"]),
        "bars": total,
        "trades": trades,
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
