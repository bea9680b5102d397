"""The six strategies as one kernel in numba: the limit of a scan in one thread of Python's world.

    python scan.py FOLDER SHAPE

It reads ``market.npz`` and writes ``scores.npz``, and prints JSON. Each symbol's history is
contiguous and complete in memory. Per bar it takes the bar, updates Wilder's states, computes the
figures of a source when the source has news, evaluates, ranks and sorts the best candidates. Window
statistics are recomputed in two passes, medians come from windows that are kept in order, and sums
may be reassociated for SIMD. There are no messages, checks of columns, features, texts or codes of
abstentions, and no bar may lack.

Run by the interpreter of numba's own environment.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
from fades import fade_funding, fade_ratios, flow_with
from macro import spread_market
from medians import NAN, kernel, select
from prices import SCORE, WEIGHT, efficiencies, follow, rank, revert, take
from sources import DAY_MS, HOUR_MS, find_flow, find_funding, find_interest_z, find_ratios


@kernel
def merge(out, strengths, top):
    """The strengths of each strategy's best candidates, ``[strategies, top]``."""
    most = top.shape[1]
    for row in range(len(out)):
        count = 0
        for s in range(out.shape[2]):
            score = out[row, SCORE, s]
            if not np.isnan(score) and score != 0:
                strengths[count] = -abs(score * out[row, WEIGHT, s])
                count += 1
        if count > most:
            select(strengths, 0, count - 1, most - 1)
            count = most
        top[row] = NAN
        top[row, :count] = -np.sort(strengths[:count])


class Kernel:
    """The arrays of one run."""

    def __init__(self, market: Any, shape: dict[str, Any]) -> None:
        self.bars = np.stack([market[name].T for name in ("open", "high", "low", "close")])
        self.close_ms = market["open_ms"] + shape["period_ms"]
        self.times = {name: market[f"{name}_ms"] for name in self.names()}
        self.market = market["market"]
        self.interest = np.ascontiguousarray(np.log(market["interest"]).T)
        self.funding = np.ascontiguousarray(market["funding"].T)
        self.ratios = np.ascontiguousarray(np.log(market["ratios"]).transpose(1, 2, 0))
        self.flow = np.ascontiguousarray(market["flow"].transpose(1, 2, 0))
        self.period_ms = shape["period_ms"]
        width, bars = self.bars.shape[1:]
        self.logs, self.returns = np.full((2, width, bars), np.nan)
        self.states = np.zeros((width, 7))
        self.efficiency, self.raws, self.ratio_z = np.full((3, width), np.nan)
        self.interest_figures, self.funding_figures = np.full((2, 2, width), np.nan)
        self.flow_figures = np.full((4, width), np.nan)
        self.per_hour = HOUR_MS // self.period_ms
        self.rows = (30 * DAY_MS // self.period_ms - 1) // self.per_hour
        self.past = np.empty(4_096)
        self.flow_orders = np.zeros((3, width, 300))
        self.ratio_orders = np.zeros((width, 336))
        self.strengths = np.empty(width)
        self.seen = dict.fromkeys(self.times, 0)
        self.order = shape["strategies"]

    @staticmethod
    def names() -> tuple[str, ...]:
        return "interest", "funding", "ratio", "flow"

    def learn(self, t: int) -> None:
        """Compute the figures of each source that has news."""
        for name, times in self.times.items():
            known = int(np.searchsorted(times, self.close_ms[t], side="right"))
            held = self.seen[name]
            if known == held:
                continue
            self.seen[name] = known
            if name == "interest":
                first = max(0, known - (32 * DAY_MS // (4 * HOUR_MS) + 2))
                find_interest_z(
                    self.interest_figures,
                    times[first:known],
                    known - first,
                    self.interest[:, first:],
                    self.past,
                )
            elif name == "funding":
                find_funding(self.funding_figures, known - 1, times, self.funding, self.past)
            elif name == "ratio":
                find_ratios(
                    self.ratio_z, held - 1, known - 1, self.ratios, self.ratio_orders, self.past
                )
            else:
                find_flow(
                    self.flow_figures, held - 1, known - 1, self.flow, self.flow_orders, self.past
                )

    def take(self, t: int) -> None:
        take(t, self.bars, self.logs, self.returns, self.states)

    def scan(self, t: int, out: Any, top: Any) -> None:
        self.take(t)
        self.learn(t)
        out[:] = NAN
        closes, states = self.bars[3], self.states
        efficiencies(self.efficiency, closes, t)
        of = {name: out[row] for row, name in enumerate(self.order)}
        revert(of["mean_reversion"], t, closes, self.logs, states, self.efficiency)
        follow(
            of["oi_momentum"],
            t,
            closes,
            self.logs,
            self.returns,
            states,
            self.efficiency,
            self.interest_figures,
            self.raws,
            DAY_MS // self.period_ms,
        )
        rank(of["oi_momentum"], self.raws)
        spread_market(
            of["macro"],
            t,
            closes,
            self.logs,
            states,
            self.market,
            self.past,
            self.per_hour,
            self.rows,
        )
        near = np.sqrt(900_000 / self.period_ms)
        flow_with(of["order_flow"], t, closes, states, self.flow_figures, near)
        fade_ratios(of["ratio_fade"], t, self.bars, states, self.efficiency, self.ratio_z)
        hourly = np.sqrt(HOUR_MS / self.period_ms)
        fade_funding(
            of["funding_fade"],
            t,
            self.bars,
            states,
            self.efficiency,
            self.funding_figures,
            self.interest_figures[1],
            hourly,
        )
        merge(out, self.strengths, top)


def main() -> None:
    folder, shape = Path(sys.argv[1]), json.loads(sys.argv[2])
    market = np.load(folder / "market.npz")
    market = {name: market[name] for name in market.files}
    width, warm = market["close"].shape[1], shape["warm_bars"]
    bars = shape["batches"] * shape["batch_bars"]
    out = np.full((bars, 6, 4, width), NAN)
    top = np.full((bars, 6, shape["top"]), NAN)
    for measured in (False, True):  # the first run compiles
        run = Kernel(market, shape)
        for t in range(warm):
            run.take(t)
        spent = []
        for batch in range(shape["batches"] if measured else 1):
            started = time.process_time_ns()
            for at in range(batch * shape["batch_bars"], (batch + 1) * shape["batch_bars"]):
                run.scan(warm + at, out[at], top[at])
            spent.append((time.process_time_ns() - started) / shape["batch_bars"] / 1000)
    np.savez(folder / "scores.npz", values=out.transpose(2, 0, 1, 3), top=top)
    found = {"us": round(float(np.median(spent)), 1), "version": numba.__version__}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
