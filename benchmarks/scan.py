"""One bar close: take the bar, evaluate both strategies, merge. Prints JSON.

The peer is the same scan with nothing incremental: Wilder's indicators recomputed from a
window at every bar and the reversion statistics computed for every symbol. The figure to
compare between machines is ``ratio`` (peer over ours), never the absolute time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.indicators.adx import Adx, directional
from kamou.core.indicators.atr import Atr, atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.half_life import half_life
from kamou.core.indicators.rsi import Rsi, rsi
from kamou.core.indicators.variance_ratio import variance_ratio
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.ranking.ranking import merge_shards
from kamou.core.strategies import make_panel, make_strategies
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.oi_momentum import MomentumParameters

PERIOD_MS = 900_000
WARM_BARS = 1_000
BATCHES, BATCH_BARS = 9, 20
RECOMPUTED_BARS = 250  # from here back a Wilder average of 14 has forgotten its seed
STRATEGIES = make_strategies(
    ("mean_reversion", "oi_momentum"), {"oi_momentum": MomentumParameters(warmup_days=8)}
)


class RecomputedPanel(Panel):
    """A panel without incremental states."""

    def indicator(self, spec: Indicator) -> Floats:
        high, low, close = (self.view(field, RECOMPUTED_BARS) for field in ("high", "low", "close"))
        if isinstance(spec, Atr):
            values = atr(high, low, close, spec.period)
        elif isinstance(spec, Adx):
            values = directional(high, low, close, spec.period)[2]
        else:
            assert isinstance(spec, Rsi)
            values = rsi(close, spec.period)
        return np.asarray(values[-1])


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    shard: int
    bar_closed_at_ms: int
    close: Floats
    columns: tuple[StrategyScores, ...]
    regimes: None = None


class Market:
    """A random walk of ``symbols`` prices, one bar at a time."""

    def __init__(self, symbols: int) -> None:
        self.chance = np.random.default_rng(7)
        self.close = np.full(symbols, 100.0)

    def bar(self) -> tuple[Floats, ...]:
        width = len(self.close)
        open_ = self.close
        self.close = close = open_ * np.exp(self.chance.standard_t(4, width) * 0.003)
        high = np.maximum(open_, close) * 1.001
        return open_, high, np.minimum(open_, close) * 0.999, close, np.ones(width)


def scan(panel: Panel, bar: tuple[Floats, ...], *, everywhere: bool) -> int:
    """One bar close; the number of candidates."""
    panel.append(panel.open_ms + PERIOD_MS, *bar)
    if panel.close_ms % INTEREST_PERIOD_MS == 0:
        panel.append_interest(panel.close_ms, bar[3] * 1e4)
    columns = tuple(s.evaluate(panel, panel.close_ms) for s in STRATEGIES.values())
    if everywhere:
        levels = panel.view("log_close", 101)
        variance_ratio(levels, 5)
        half_life(levels)
    answer = Answer(shard=0, bar_closed_at_ms=panel.close_ms, close=bar[3], columns=columns)
    ranking = merge_shards(
        [answer], universe=[panel.symbols], strategies=STRATEGIES, period_ms=PERIOD_MS, top=20
    )
    return ranking.candidates


def median_us(symbols: int, made: Callable[[list[str]], Panel], *, everywhere: bool) -> float:
    """CPU microseconds per bar close: the median over batches."""
    market = Market(symbols)
    panel = made([f"S{s:04}" for s in range(symbols)])
    panel.append(0, *market.bar())
    for _ in range(WARM_BARS):
        panel.append(panel.open_ms + PERIOD_MS, *market.bar())
        if panel.close_ms % INTEREST_PERIOD_MS == 0:
            panel.append_interest(panel.close_ms, market.close * 1e4)
    spent = []
    for _ in range(BATCHES):
        bars = [market.bar() for _ in range(BATCH_BARS)]
        started = time.process_time_ns()
        for bar in bars:
            scan(panel, bar, everywhere=everywhere)
        spent.append((time.process_time_ns() - started) / BATCH_BARS / 1000)
    return statistics.median(spent)


def ours(symbols: list[str]) -> Panel:
    return make_panel(STRATEGIES.values(), symbols, PERIOD_MS)


def recomputed(symbols: list[str]) -> Panel:
    depth = max(RECOMPUTED_BARS, *(s.lookback_bars(PERIOD_MS) for s in STRATEGIES.values()))
    rows = max(s.open_interest_span_ms for s in STRATEGIES.values()) // INTEREST_PERIOD_MS
    return RecomputedPanel(symbols, PERIOD_MS, depth, open_interest_rows=rows + 2)


def main() -> None:
    report: dict[str, object] = {"benchmark": "scan", "unit": "us CPU per bar close"}
    for symbols in (200, 2000):
        incremental = median_us(symbols, ours, everywhere=False)
        plain = median_us(symbols, recomputed, everywhere=True)
        report[str(symbols)] = {
            "incremental": round(incremental, 1),
            "recomputed": round(plain, 1),
            "ratio": round(plain / incremental, 2),
        }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
