"""A strategy with scripted scores, for tests that need a trade at a known minute."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kamou.core.codes import Abstain
from kamou.core.day import MINUTE_MS
from kamou.core.indicators.base import Indicator
from kamou.core.market.panel import Panel
from kamou.core.strategies.base import Requirement, StrategyScores, check_data
from tests.actors.scripted_market import HOLD_MS, LINES, START_MS


class Scripted:
    name: ClassVar[str] = "scripted"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("",)
    open_interest_span_ms: ClassVar[int] = 0
    indicators: ClassVar[tuple[Indicator, ...]] = ()
    requirements: ClassVar[dict[Abstain, Requirement]] = {
        Abstain.NO_TRIGGER: Requirement(wanted="a line of the script", figures=("script",))
    }

    def hold_ms(self, period_ms: int) -> int:
        return HOLD_MS

    def lookback_bars(self, period_ms: int) -> int:
        return 2

    def warmup_bars(self, period_ms: int) -> int:
        return 2

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        width = len(panel.symbols)
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        score, stop, target = np.zeros((3, width))
        lines = LINES.get((panel.close_ms - START_MS) // MINUTE_MS, ())
        for line in lines:
            if line.symbol in panel.symbols:
                at = panel.symbols.index(line.symbol)
                score[at], stop[at], target[at] = line.score, line.stop, line.target
        verdicts.abstain(score == 0, Abstain.NO_TRIGGER)
        return StrategyScores(
            strategy=self.name,
            score=score,
            raw=np.full(width, np.nan),
            weight=np.ones(width),
            stop_distance=stop,
            target_distance=target,
            abstain=verdicts.codes,
            proxy=np.zeros(width, np.uint8),
            feature_names=("script",),
            features=score[np.newaxis],
        )


strategy = Scripted
