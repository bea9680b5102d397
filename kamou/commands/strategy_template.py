"""Texts of a new strategy's file and of its test, for `kamou strategy new`."""

from __future__ import annotations

STRATEGY = '''\
"""The NAME strategy, which follows a price that leaves its range.

A close above the highest high of the window is a long signal, a close below the lowest low a short
one. The score is tanh of the distance beyond the range in units of ATR, so it is within -1 to 1.
"""

from __future__ import annotations

import attrs
import numpy as np

from kamou.core.codes import Abstain
from kamou.core.indicators.atr import Atr
from kamou.core.market.panel import Panel
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    Parameters,
    Requirement,
    StrategyScores,
    check_data,
    parameter,
)

ATR_BARS = 14
FEATURES = ("beyond", "atr")  # figures that `kamou why` shows


@attrs.frozen(kw_only=True)
class CLASSParameters(Parameters):
    """Each field is a setting: strategies.NAME.window is the first."""

    window: int = parameter(
        48, "number of bars whose range a close must leave", unit="bars", low=2, high=5_000
    )
    stop_atr: float = parameter(
        2.0, "distance of the stop from the entry price", unit="ATR", low="0.1", high=20
    )
    target_atr: float = parameter(
        5.0, "distance of the take-profit from the entry price", unit="ATR", low="0.1", high=100
    )
    hold_bars: int = parameter(
        48, "maximum age of a position; then it is closed", unit="bars", low=1, high=10_000
    )


class CLASS:
    """The NAME strategy; see the module for its signal."""

    name = "NAME"  # the file's name
    cross_sectional = False  # True: fill `raw`, and Kamou ranks it over all symbols
    score_min = 0.0  # a smaller absolute score gives no signal
    proxies = ("",)
    open_interest_span_ms = 0  # this strategy reads no open interest
    parameter_class = CLASSParameters

    def __init__(self, parameters: CLASSParameters | None = None) -> None:
        self.parameters = parameters or CLASSParameters()
        self._atr = Atr(ATR_BARS)
        self.indicators = (self._atr,)

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        """Return what `kamou why` says if the strategy abstains, by reason."""
        bars = self.parameters.window
        return {
            Abstain.DATA_DEGENERATE: Requirement(wanted="prices that move", figures=("atr",)),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"a close outside of the range of {bars} bars", figures=("beyond",)
            ),
        }

    def hold_ms(self, period_ms: int) -> int:
        return self.parameters.hold_bars * period_ms

    def lookback_bars(self, period_ms: int) -> int:
        return self.parameters.window + 1  # the range, and the newest bar

    def warmup_bars(self, period_ms: int) -> int:
        return max(self.lookback_bars(period_ms), 2 * ATR_BARS)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        close, atr = panel.row("close"), panel.indicator(self._atr)
        highest = panel.view("high", p.window, back=1).max(axis=0)
        lowest = panel.view("low", p.window, back=1).min(axis=0)
        moving = atr > FLAT_RELATIVE * close  # False where a price is unknown or flat
        verdicts.abstain(~moving, Abstain.DATA_DEGENERATE)
        outside = np.maximum(close - highest, 0.0) - np.maximum(lowest - close, 0.0)
        verdicts.abstain(outside == 0.0, Abstain.NO_TRIGGER)
        beyond = np.divide(outside, atr, out=np.full_like(close, np.nan), where=moving)
        return StrategyScores(
            strategy=self.name,
            score=np.tanh(beyond),
            raw=np.full_like(close, np.nan),
            weight=np.ones_like(close),
            stop_distance=p.stop_atr * atr,
            target_distance=p.target_atr * atr,
            abstain=verdicts.codes,
            proxy=np.zeros(len(close), np.uint8),
            feature_names=FEATURES,
            features=np.stack((beyond, atr)),
        )


strategy = CLASS
'''

TEST = '''\
"""The strategy NAME keeps the rules of strategies; add tests of its signals here."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core.strategies.conformance import (
    CONFORMANCE_CHECKS,
    count_scores,
    make_bench,
    run_check,
)
from kamou.settings.strategy_files import load_file

BENCH = make_bench("NAME", load_file(Path(__file__).parent.parent / "NAME.py").factory())


@pytest.mark.parametrize("check", CONFORMANCE_CHECKS)
def test_the_strategy_passes_the_check(check: str) -> None:
    assert run_check(BENCH, check).problems == ()


def test_the_strategy_scores_some_symbols_of_the_generated_market() -> None:
    scored, _ = count_scores(BENCH)
    assert scored > 0
'''


def fill_template(text: str, name: str) -> str:
    """Return a template's text for a strategy's name."""
    class_name = "".join(part.capitalize() for part in name.split("_"))
    return text.replace("NAME", name).replace("CLASS", class_name)
