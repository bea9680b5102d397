"""The z-score reversion in freqtrade: its backtesting over its own feather files, as futures.

    python -P freqtrade.py prepare BARS.npz FOLDER RULE
    python -P freqtrade.py run BARS.npz FOLDER RULE

Run by the interpreter of its own environment; prints JSON. There is no network: the exchange's
markets and leverage tiers are handed over, instead of read from the exchange. Everything else is
the command ``freqtrade backtesting``. Chosen in favor of speed: nothing is exported, and the
brackets' distances stand in the entry's tag, so that no callback looks into a frame.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

DOES = (
    "indicators and signals of a strategy in pandas, over whole columns",
    "trades bar by bar, stop and take-profit (custom_stoploss, custom_roi) within the bar, fees",
    "one account, isolated margin, a limit of positions held at once, funding at a rate of 0",
    "its report with all tables",
)
DOES_NOT = (
    "orders that rest at a venue: stop and take-profit are compared with the bar",
    "a limit of money at risk",
    "a journal",
)
STRATEGY = """
import numpy as np
from freqtrade.strategy import IStrategy


class Reversion(IStrategy):
    INTERFACE_VERSION = 3
    can_short = True
    startup_candle_count = {window}
    minimal_roi = {{}}
    stoploss = -0.99
    use_custom_stoploss = True
    use_custom_roi = True
    use_exit_signal = False

    def populate_indicators(self, dataframe, metadata):
        high, low, close = dataframe["high"], dataframe["low"], dataframe["close"]
        rolled = close.rolling({window})
        dataframe["z"] = (close - rolled.mean()) / rolled.std(ddof=0)
        before = close.shift()
        ranges = np.fmax(high - low, np.fmax((high - before).abs(), (low - before).abs()))
        dataframe["reach"] = ranges.rolling({atr_period}).mean() / close
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        z, reach = dataframe["z"], dataframe["reach"].clip(lower=0.001)
        known = reach * {target_atr} < 1
        long, short = known & (z <= -{z_entry}), known & (z >= {z_entry})
        dataframe.loc[long, "enter_long"] = 1
        dataframe.loc[short, "enter_short"] = 1
        entries = long | short
        dataframe.loc[entries, "enter_tag"] = reach[entries].map("{{:.3f}}".format)
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe

    def custom_stoploss(
        self, pair, trade, current_time, current_rate, current_profit, after_fill, **kwargs
    ):
        return {stop_atr} * float(trade.enter_tag) if after_fill else None

    def custom_roi(self, pair, trade, current_time, trade_duration, entry_tag, side, **kwargs):
        return {target_atr} * float(entry_tag)
"""


def pair_of(symbol: str) -> str:
    return f"{symbol.removesuffix('USDT') or symbol}/USDT:USDT"


def timeframe_of(period_ms: int) -> str:
    minutes = period_ms // 60_000
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def prepare(bars: Path, folder: Path, rule: dict[str, Any]) -> None:
    """Write its files: bars, marks, funding, the strategy, the configuration."""
    import numpy as np
    import pandas as pd

    held = np.load(bars)
    futures, strategies = folder / "data" / "futures", folder / "strategies"
    futures.mkdir(parents=True)
    strategies.mkdir()
    (strategies / "reversion.py").write_text(STRATEGY.format(**rule))
    index = pd.to_datetime(held["open_ms"], unit="ms", utc=True).astype("datetime64[ms, UTC]")
    columns = {name: held[name] for name in ("open", "high", "low", "close", "volume")}
    symbols = held["symbols"].tolist()
    timeframe = timeframe_of(int(held["period_ms"]))
    for column, symbol in enumerate(symbols):
        frame = pd.DataFrame({name: values[:, column] for name, values in columns.items()})
        frame.insert(0, "date", index)
        frame = frame.dropna().reset_index(drop=True)
        hourly = frame[frame["date"].dt.minute == 0].reset_index(drop=True)
        funding = hourly.assign(open=0.0, high=0.0, low=0.0, close=0.0, volume=0.0)
        stem = pair_of(symbol).replace("/", "_").replace(":", "_")
        for name, content in (
            (f"{timeframe}-futures", frame),
            ("1h-mark", hourly),
            ("1h-funding_rate", funding),
        ):
            content.to_feather(futures / f"{stem}-{name}.feather", compression="lz4")
    configuration = {
        "max_open_trades": rule["positions_max"],
        "stake_currency": "USDT",
        "stake_amount": rule["stake"],
        "dry_run": True,
        "dry_run_wallet": rule["equity"],
        "fee": rule["fee"],
        "timeframe": timeframe,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "dataformat_ohlcv": "feather",
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exchange": {"name": "binance", "pair_whitelist": [pair_of(name) for name in symbols]},
        "pairlists": [{"method": "StaticPairList"}],
    }
    (folder / "config.json").write_text(json.dumps(configuration))


def market(pair: str, decimals: int) -> dict[str, Any]:
    """A market as ccxt would read it from the exchange."""
    base = pair.partition("/")[0]
    return {
        "id": f"{base}USDT",
        "symbol": pair,
        "base": base,
        "quote": "USDT",
        "settle": "USDT",
        "baseId": base,
        "quoteId": "USDT",
        "settleId": "USDT",
        "type": "swap",
        "spot": False,
        "margin": False,
        "swap": True,
        "future": False,
        "option": False,
        "contract": True,
        "linear": True,
        "inverse": False,
        "active": True,
        "contractSize": 1.0,
        "taker": 0.0005,
        "maker": 0.0002,
        "precision": {"price": 10.0**-decimals, "amount": 0.001},
        "limits": {
            name: {"min": None, "max": None} for name in ("amount", "price", "cost", "leverage")
        },
        "info": {},
    }


def run(bars: Path, folder: Path, rule: dict[str, Any]) -> dict[str, Any]:
    import freqtrade
    import numpy as np
    from freqtrade.commands import Arguments
    from freqtrade.commands.optimize_commands import setup_optimize_configuration
    from freqtrade.enums import RunMode
    from freqtrade.exchange import Exchange
    from freqtrade.exchange.binance import Binance
    from freqtrade.optimize.backtesting import Backtesting

    held = np.load(bars)
    pairs = [pair_of(name) for name in held["symbols"].tolist()]
    markets = [market(*each) for each in zip(pairs, held["decimals"].tolist(), strict=True)]
    tier = {"minNotional": 0.0, "maxNotional": 1e9}
    tier |= {"maintenanceMarginRate": 0.005, "maxLeverage": 20.0, "info": {"cum": "0"}}

    def load_markets(self: Any, reload: bool = False) -> None:
        self._api_async.set_markets(markets)

    Exchange._load_async_markets = load_markets
    Binance.load_leverage_tiers = lambda self: {pair: [tier] for pair in pairs}
    words = ["backtesting", "--config", str(folder / "config.json"), "--userdir", str(folder)]
    words += ["--datadir", str(folder / "data"), "--strategy", "Reversion"]
    words += ["--cache", "none", "--export", "none"]
    arguments = Arguments(words).get_parsed_arg()
    test = Backtesting(setup_optimize_configuration(arguments, RunMode.BACKTEST))
    logging.disable(logging.INFO)
    test.start()
    return {
        "version": freqtrade.__version__,
        "symbols": len(pairs),
        "bars": int(np.count_nonzero(~np.isnan(held["close"]))),
        "trades": test.results["strategy"]["Reversion"]["total_trades"],
        "does": DOES,
        "does_not": DOES_NOT,
    }


if __name__ == "__main__":
    verb, bars_file, work_folder, rule_text = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(bars_file), Path(work_folder), json.loads(rule_text))
    else:
        found = run(Path(bars_file), Path(work_folder), json.loads(rule_text))
        sys.stdout.write("\n" + json.dumps(found) + "\n")
