"""Invariant 16: a gathered window of order flow is true or unknown.

Figures are summed again one row after the other, from what the venue knows and not from its stream.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import attrs

from kamou.app import Tree
from kamou.clock import Clock, next_ms
from kamou.core.day import MINUTE_MS
from kamou.core.indicators.order_flow import LEVELS, SPREAD, TRADE_IMBALANCE, WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.core.market.flow_stream import FlowUpdates
from kamou.simulator.invariants.observed import ReportViolation
from kamou.venue.violations import HardRule

STANDING_MS = 5_000  # a quote of the venue comes at least so often

ReadRows = Callable[[int, int, int], FlowUpdates]
"""A function of a column and the two ends of an interval: the quotes and trades at the venue."""


@attrs.define(kw_only=True)
class GatheredWindows:
    """The checks of the windows that gatherers handed over."""

    report: ReportViolation
    coverage: Counter[str]
    read: ReadRows
    _truth: dict[tuple[int, int], list[float]] = attrs.Factory(dict)
    _seen: set[tuple[int, int, bool]] = attrs.Factory(set)

    async def watch(self, tree: Tree, clock: Clock) -> None:
        """Check each minute what the gatherers of a process handed over, until cancelled."""
        while tree.gathered is not None:
            await clock.sleep_until(next_ms(clock.now_ms(), MINUTE_MS) + MINUTE_MS // 2)
            now_ms = clock.now_ms()
            self.check(tree.gathered.list_gathered(0, now_ms + FLOW_WINDOW_MS), now_ms)

    def check(self, windows: FlowWindows, now_ms: int) -> None:
        """Check windows of all symbols of the market, in its order."""
        for end_ms, values in zip(windows.end_ms.tolist(), windows.values, strict=True):
            for column, symbol in enumerate(windows.symbols):
                found = values[:, column].tolist()
                self._count(end_ms, column, known=not math.isnan(found[0]))
                for figure, (one, true) in enumerate(
                    zip(found, self._find_truth(end_ms, column), strict=True)
                ):
                    if not math.isnan(one) and not math.isclose(
                        one, true, rel_tol=1e-9, abs_tol=1e-9
                    ):
                        detail = f"figure {figure} of the window to {end_ms} is {one}, not {true}"
                        self.report(HardRule.ORDER_FLOW, now_ms, symbol, detail)

    def _count(self, end_ms: int, column: int, *, known: bool) -> None:
        if (end_ms, column, known) not in self._seen:
            self._seen.add((end_ms, column, known))
            self.coverage["windows known" if known else "windows unknown"] += 1

    def _find_truth(self, end_ms: int, column: int) -> list[float]:
        if (end_ms, column) not in self._truth:
            start_ms = end_ms - FLOW_WINDOW_MS
            rows = self.read(column, start_ms - STANDING_MS, end_ms)
            self._truth[end_ms, column] = measure_window(rows, start_ms)
        return self._truth[end_ms, column]


def measure_window(rows: FlowUpdates, start_ms: int) -> list[float]:
    """Return a symbol's figures; the first row is the quote that stood at the start."""
    figures = [math.nan] * WINDOW_FIGURES
    book = rows.book
    for level in range(LEVELS):
        total = 0.0
        bids, asks = book.bid[:, level].tolist(), book.ask[:, level].tolist()
        bought, sold = book.bid_qty[:, level].tolist(), book.ask_qty[:, level].tolist()
        for now in range(1, len(bids)):
            before = now - 1
            total += bought[now] if bids[now] >= bids[before] else 0.0
            total -= bought[before] if bids[now] <= bids[before] else 0.0
            total -= sold[now] if asks[now] <= asks[before] else 0.0
            total += sold[before] if asks[now] >= asks[before] else 0.0
        figures[level] = total * 2.0 * len(bids) / (sum(bought) + sum(sold))
    volume = signed = 0.0
    for at_ms, quantity, buying in zip(
        rows.trade_ms.tolist(), rows.quantity.tolist(), rows.bought.tolist(), strict=True
    ):
        if at_ms > start_ms:
            volume += quantity
            signed += quantity if buying else -quantity
    figures[TRADE_IMBALANCE] = signed / volume
    spreads = [
        20_000.0 * (ask - bid) / (ask + bid)
        for bid, ask in zip(book.bid[1:, 0].tolist(), book.ask[1:, 0].tolist(), strict=True)
    ]
    figures[SPREAD] = sum(spreads) / len(spreads)
    return figures
