"""The z-score reversion in nautilus_trader: one strategy, bracket orders, one margin account.

    python -P nautilus_trader.py run BARS.npz FOLDER RULE

Run by the interpreter of its own environment; prints JSON. Chosen in favor of speed: bars are made
by the bulk constructor, logging is off, one strategy subscribes to all symbols, and the z-score
stands on running sums, because the engine's own Bollinger bands read the whole window at every bar.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import Any

import nautilus_trader
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import AverageTrueRange
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

DOES = (
    "one strategy, called at every bar of every symbol",
    "bracket orders: market entry, stop and limit as one-cancels-other, with all their events",
    "one netting margin account in one currency, risk engine, portfolio, positions, fees",
    "the figures of the portfolio analyzer",
)
DOES_NOT = (
    "funding",
    "a journal: its cache is in memory",
    "a check of the result against the venue's records",
)
SIZE_DECIMALS = 3


def prepare(_bars: Path, _folder: Path) -> None:
    """Nothing: it reads the bars as they are handed over."""


class Reversion(Strategy):
    def __init__(self, instruments: list[Any], step: str, rule: dict[str, Any]) -> None:
        super().__init__()
        self.rule, self.window, self.entry = rule, rule["window"], rule["z_entry"]
        self.states = {}
        for each in instruments:
            kind = BarType.from_str(f"{each.id}-{step}-LAST-EXTERNAL")
            atr = AverageTrueRange(rule["atr_period"])
            self.states[kind] = [each, atr, deque(), 0.0, 0.0]

    def on_start(self) -> None:
        for kind, (_, atr, *_rest) in self.states.items():
            self.register_indicator_for_bars(kind, atr)
            self.subscribe_bars(kind)

    def on_bar(self, bar: Any) -> None:
        rule, window = self.rule, self.window
        state = self.states[bar.bar_type]
        instrument, atr, closes, total, squares = state
        close = bar.close.as_double()
        closes.append(close)
        total, squares = total + close, squares + close * close
        if len(closes) > window:
            gone = closes.popleft()
            total, squares = total - gone, squares - gone * gone
        state[3], state[4] = total, squares
        if len(closes) < window:
            return
        mean = total / window
        variance = squares / window - mean * mean
        if variance <= 1e-12 * mean * mean or abs(close - mean) < self.entry * sqrt(variance):
            return
        if not self.portfolio.is_flat(instrument.id):
            return
        if self.cache.positions_open_count() >= rule["positions_max"]:
            return
        direction = 1 if close < mean else -1
        stop, target = rule["stop_atr"] * atr.value, rule["target_atr"] * atr.value
        if direction < 0 and target >= close:
            return
        bracket = self.order_factory.bracket(
            instrument_id=instrument.id,
            order_side=OrderSide.BUY if direction > 0 else OrderSide.SELL,
            quantity=instrument.make_qty(max(rule["stake"] / close, 10**-SIZE_DECIMALS)),
            sl_trigger_price=instrument.make_price(close - direction * stop),
            tp_price=instrument.make_price(close + direction * target),
        )
        self.submit_order_list(bracket)


def make_instrument(name: str, venue: Venue, decimals: int, fee: Decimal) -> CryptoPerpetual:
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(name), venue),
        raw_symbol=Symbol(name),
        base_currency=Currency(name.removesuffix("USDT") or name, 8, 0, name, 1),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=decimals,
        size_precision=SIZE_DECIMALS,
        price_increment=Price(Decimal(1).scaleb(-decimals), decimals),
        size_increment=Quantity(Decimal(1).scaleb(-SIZE_DECIMALS), SIZE_DECIMALS),
        margin_init=Decimal("0.1"),
        margin_maint=Decimal("0.05"),
        maker_fee=fee,
        taker_fee=fee,
        ts_event=0,
        ts_init=0,
    )


def run(bars: Path, _folder: Path, rule: dict[str, Any]) -> dict[str, Any]:
    held = np.load(bars)
    venue = Venue("SIM")
    minutes = int(held["period_ms"]) // 60_000
    step = f"{minutes // 60}-HOUR" if minutes % 60 == 0 else f"{minutes}-MINUTE"

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[Money(rule["equity"], USDT)],
        default_leverage=Decimal(10),
    )
    instruments, everything = [], []
    opened_ns = held["open_ms"].astype(np.uint64) * 1_000_000
    closed_ns = opened_ns + int(held["period_ms"]) * 1_000_000
    columns = [held[name] for name in ("open", "high", "low", "close", "volume")]
    for column, name in enumerate(held["symbols"].tolist()):
        decimals = int(held["decimals"][column])
        instrument = make_instrument(name, venue, decimals, Decimal(str(rule["fee"])))
        engine.add_instrument(instrument)
        instruments.append(instrument)
        kept = ~np.isnan(columns[3][:, column])
        made = Bar.from_raw_arrays_to_list(
            BarType.from_str(f"{instrument.id}-{step}-LAST-EXTERNAL"),
            decimals,
            SIZE_DECIMALS,
            *(np.ascontiguousarray(values[kept, column], dtype=np.float64) for values in columns),
            closed_ns[kept],
            closed_ns[kept],
        )
        everything += made
    everything.sort(key=lambda bar: bar.ts_init)
    engine.add_data(everything, sort=False)
    engine.add_strategy(Reversion(instruments, step, rule))
    engine.run()
    result = engine.get_result()
    trades = engine.cache.positions_closed_count() + len(engine.cache.position_snapshots())
    engine.dispose()
    return {
        "version": nautilus_trader.__version__,
        "symbols": len(instruments),
        "bars": len(everything),
        "trades": trades,
        "orders": result.total_orders,
        "events": result.total_events,
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
