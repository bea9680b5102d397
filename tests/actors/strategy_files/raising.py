"""A strategy that raises at one minute, in the shard that has AAA."""

from __future__ import annotations

from kamou.core.day import MINUTE_MS
from kamou.core.market.panel import Panel
from kamou.core.strategies.base import StrategyScores
from tests.actors.scripted_market import RAISES_AT_MINUTE, START_MS
from tests.actors.strategy_files.scripted import Scripted


class Raising(Scripted):
    name = "raising"  # of this file

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        minute = (panel.close_ms - START_MS) // MINUTE_MS
        if minute == RAISES_AT_MINUTE and "AAA" in panel.symbols:
            raise ZeroDivisionError("a strategy's own mistake")
        return super().evaluate(panel, now_ms)


strategy = Raising
