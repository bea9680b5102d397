"""One bar close: take the bar and the sources, evaluate six strategies, merge. Prints JSON.

    python benchmarks/scan.py [--peers] [--symbols 200 2000]

One peer is the same scan with nothing incremental: Wilder's indicators recomputed from a window at
every bar, and the figures of other sources, too. With ``--peers`` the other is a kernel in numba
(``numba_scan/``), which computes the same six strategies with the same numerics and no
messages, checks or features; its scores, weights and distances must equal ours. The figures to
compare between machines are the ratios, never the absolute times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import peer_engines
from scan_data import (
    BATCH_BARS,
    BATCHES,
    PERIOD_MS,
    STRATEGIES,
    WARM_BARS,
    Market,
    append_sources,
    make_market,
    warm,
)

from kamou.core.arrays import Floats
from kamou.core.indicators.adx import Adx, directional
from kamou.core.indicators.atr import Atr, atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.rsi import Rsi, rsi
from kamou.core.market.panel import Panel
from kamou.core.ranking.ranking import Ranking, merge_shards
from kamou.core.strategies import make_panel
from kamou.core.strategies.base import StrategyScores
from kamou.core.strategies.evaluation import check_strategies

RECOMPUTED_BARS = 250  # from here back a Wilder average of 14 has forgotten its seed
RECOMPUTED_BATCHES = 1
TOP = 20
SCORED_MIN = 0.9  # of the cells of each strategy
TOLERANCE = 1e-9
COLUMNS = ("score", "weight", "stop_distance", "target_distance")
Evaluate = Callable[[Panel, int], StrategyScores]
CHECKED: Mapping[str, Evaluate] = {
    each.name: each.evaluate for each in check_strategies(STRATEGIES, PERIOD_MS)
}
PLAIN: Mapping[str, Evaluate] = {name: each.evaluate for name, each in STRATEGIES.items()}


class RecomputedPanel(Panel):
    """A panel without incremental states and without figures that are kept."""

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

    def compute_from_interest(self, key: Hashable, now_ms: int, compute: Any) -> Floats:
        return np.asarray(compute(*self.open_interest(now_ms)))

    def compute_from_funding(self, key: Hashable, now_ms: int, compute: Any) -> Floats:
        return np.asarray(compute(*self.funding(now_ms)))

    def compute_from_ratios(self, key: Hashable, now_ms: int, compute: Any) -> Floats:
        return np.asarray(compute(*self.ratios(now_ms)))

    def compute_from_flow(self, key: Hashable, now_ms: int, compute: Any) -> Floats:
        return np.asarray(compute(*self.flow(now_ms)))


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    shard: int
    bar_closed_at_ms: int
    close: Floats
    columns: tuple[StrategyScores, ...]
    regimes: None = None


@attrs.define(kw_only=True, eq=False)
class Scan:
    """The scans of the measured bars, their CPU time, and that of each strategy."""

    market: Market
    panel: Panel
    evaluate: Mapping[str, Evaluate]
    spent_ns: dict[str, int] = attrs.field(factory=dict)

    def run(self, bar: int) -> Ranking:
        market, panel = self.market, self.panel
        now = time.process_time_ns()
        panel.give_market(market.open_ms[bar : bar + 1], market.market[bar : bar + 1])
        prices = tuple(column[bar] for column in market.bars)
        panel.append(int(market.open_ms[bar]), *prices)
        append_sources(panel, market, panel.open_ms, panel.close_ms)
        now = self._add("take", now)
        columns = []
        for name, evaluate in self.evaluate.items():
            columns.append(evaluate(panel, panel.close_ms))
            now = self._add(name, now)
        answer = Answer(
            shard=0, bar_closed_at_ms=panel.close_ms, close=prices[3], columns=tuple(columns)
        )
        ranking = merge_shards(
            [answer],
            universe=[panel.symbols],
            strategies=STRATEGIES,
            period_ms=PERIOD_MS,
            top=TOP,
        )
        self._add("merge", now)
        return ranking

    def _add(self, part: str, since: int) -> int:
        now = time.process_time_ns()
        self.spent_ns[part] = self.spent_ns.get(part, 0) + now - since
        return now


def measure(scan: Scan, batches: int, seen: Callable[[int, Ranking], None]) -> float:
    """CPU microseconds per bar close: the median over batches."""
    warm(scan.panel, scan.market)
    spent = []
    for batch in range(batches):
        first = WARM_BARS + batch * BATCH_BARS
        started = time.process_time_ns()
        rankings = [scan.run(bar) for bar in range(first, first + BATCH_BARS)]
        spent.append((time.process_time_ns() - started) / BATCH_BARS / 1000)
        for at, ranking in enumerate(rankings, batch * BATCH_BARS):
            seen(at, ranking)
    return statistics.median(spent)


@attrs.define(eq=False)
class Cells:
    """What was scored at each measured bar, ``[columns, bars, strategies, symbols]``."""

    values: Floats
    top: np.ndarray[Any, Any]

    @classmethod
    def of(cls, symbols: int) -> Cells:
        bars = BATCHES * BATCH_BARS
        return cls(
            np.full((len(COLUMNS), bars, len(STRATEGIES), symbols), np.nan),
            np.full((bars, len(STRATEGIES), TOP), np.nan),
        )

    def add(self, at: int, ranking: Ranking) -> None:
        for row, scored in enumerate(ranking.scored):
            part = scored.parts[0]
            columns = (scored.score, scored.weight, part.stop_distance, part.target_distance)
            self.values[:, at, row] = np.where(scored.abstain == 0, columns, np.nan)
        for row, name in enumerate(STRATEGIES):
            best = [each.score for each in ranking.top if each.strategy == name]
            self.top[at, row, : len(best)] = best

    def shares(self) -> dict[str, float]:
        """The share of cells with a score, by strategy; at least ``SCORED_MIN``."""
        scored = ~np.isnan(self.values[0])
        shares = dict(zip(STRATEGIES, scored.mean(axis=(0, 2)).tolist(), strict=True))
        assert min(shares.values()) >= SCORED_MIN, shares
        return {name: round(share, 3) for name, share in shares.items()}


def compare_with_kernel(market: Market, cells: Cells) -> dict[str, Any]:
    """Run the kernel on the same market; its time and the largest difference of a score."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        sources = attrs.asdict(market, recurse=False)
        bars = dict(zip(("open", "high", "low", "close"), sources.pop("bars"), strict=False))
        del sources["symbols"]
        np.savez(folder / "market.npz", **sources, **bars)
        shape = {
            "period_ms": PERIOD_MS,
            "warm_bars": WARM_BARS,
            "batches": BATCHES,
            "batch_bars": BATCH_BARS,
            "top": TOP,
            "strategies": list(STRATEGIES),
        }
        found = peer_engines.run_kernel(folder, shape)
        theirs = np.load(folder / "scores.npz")
    differences = [
        find_difference(cells.values, theirs["values"]),
        find_difference(cells.top, theirs["top"]),
    ]
    return {**found, "largest_difference": max(differences)}


def find_difference(ours: Floats, theirs: Floats) -> float:
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert (np.isnan(ours) == np.isnan(theirs)).all(), "other cells are scored"
    worst = float(np.nanmax(np.abs(ours - theirs) / np.maximum(1.0, np.abs(ours))))
    assert worst <= TOLERANCE, worst
    return worst


def compare(symbols: int, *, kernel: bool) -> dict[str, Any]:
    market, cells = make_market(symbols), Cells.of(symbols)
    panel = make_panel(STRATEGIES.values(), market.symbols, PERIOD_MS)
    scan = Scan(market=market, panel=panel, evaluate=CHECKED)
    incremental = measure(scan, BATCHES, cells.add)
    report: dict[str, Any] = {
        "incremental": round(incremental, 1),
        "parts": {
            part: round(spent / 1000 / BATCHES / BATCH_BARS, 1)
            for part, spent in scan.spent_ns.items()
        },
        "scored": cells.shares(),
    }
    del scan, panel
    plain = RecomputedPanel.__new__(RecomputedPanel)
    vars(plain).update(vars(make_panel(STRATEGIES.values(), market.symbols, PERIOD_MS)))
    scan = Scan(market=market, panel=plain, evaluate=PLAIN)
    recomputed = measure(scan, RECOMPUTED_BATCHES, lambda at, ranking: None)
    report |= {
        "recomputed": round(recomputed, 1),
        "ratio": round(recomputed / incremental, 2),
    }
    if kernel:
        found = compare_with_kernel(market, cells)
        report |= {"kernel": found, "to_kernel": round(incremental / found["us"], 2)}
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="the kernel in numba, too")
    parser.add_argument("--symbols", type=int, nargs="+", default=[200, 2000])
    given = parser.parse_args(arguments)
    report: dict[str, object] = {"benchmark": "scan", "unit": "us CPU per bar close"}
    skip = peer_engines.reason_to_skip(peer_engines.KERNEL) if given.peers else None
    if skip is not None:
        report["skipped"] = {peer_engines.KERNEL: skip}
    for symbols in given.symbols:
        report[str(symbols)] = compare(symbols, kernel=given.peers and skip is None)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
