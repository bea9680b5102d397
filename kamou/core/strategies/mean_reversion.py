"""The mean reversion strategy, which trades extreme prices in ranges.

Its take-profit is as far from bid or ask as the moving average is from the close. A signal needs
five conditions: efficiency ratio and ADX are below their limits; the z-score of the close against
its SMA is extreme; the RSI is extreme to the same side; the variance ratio is below one (Lo and
MacKinlay 1988); and the Ornstein-Uhlenbeck half-life is within its limits. The score is
-tanh(z / 2) of the z-score z.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.codes import Abstain
from kamou.core.indicators.adx import Adx
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.efficiency import efficiency_of
from kamou.core.indicators.half_life import half_life
from kamou.core.indicators.rsi import Rsi
from kamou.core.indicators.variance_ratio import variance_ratio
from kamou.core.indicators.window import mean_and_deviation
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock, pick_columns
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    Parameters,
    Requirement,
    Strategy,
    StrategyScores,
    check_data,
    parameter,
)

HALF_LIFE_SHARE = 3  # the longest half-life that n bars can show is n / 3
RANDOM_WALK = 1.0  # the variance ratio of a random walk


@attrs.frozen(kw_only=True)
class MeanReversionParameters(Parameters):
    """Parameters of mean reversion. Windows are in bars of the trade timeframe."""

    window: int = parameter(
        100,
        "number of bars for the z-score, the variance ratio and the half-life",
        unit="bars",
        low=10,
        high=5_000,
    )
    warmup: int = parameter(
        200,
        "minimum history of a symbol before its first score; the indicators' periods may need more",
        unit="bars",
        low=10,
        high=10_000,
    )
    z_entry: float = parameter(
        1.5, "minimum absolute z-score of the close for a signal", low=0, high=10
    )
    rsi_period: int = parameter(2, "period of the RSI", unit="bars", low=2, high=100)
    rsi_low: float = parameter(10.0, "maximum RSI for a long signal", low=0, high=50)
    rsi_high: float = parameter(90.0, "minimum RSI for a short signal", low=50, high=100)
    variance_ratio_q: int = parameter(
        5,
        "length of the longer returns of the variance ratio, which compares their variance with"
        " that of one-bar returns",
        unit="bars",
        low=2,
        high=100,
    )
    half_life_min: float = parameter(
        2.0,
        "minimum half-life of the price's deviations for a signal; the maximum is a third of the"
        " window",
        unit="bars",
        low=0,
        high=1_000,
    )
    efficiency_max: float = parameter(
        0.3, "efficiency ratio at or above which mean reversion abstains", low=0, high=1
    )
    efficiency_period: int = parameter(
        10, "period of the efficiency ratio", unit="bars", low=2, high=1_000
    )
    adx_max: float = parameter(
        20.0, "ADX at or above which mean reversion abstains", low=0, high=100
    )
    atr_period: int = parameter(14, "period of ATR and ADX", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        1.5,
        "distance of the stop from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=20,
    )
    hold_bars: int = parameter(
        96, "maximum age of a position; then it is closed", unit="bars", low=1, high=10_000
    )

    def contradictions(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        if self.warmup >= self.window:
            return ()
        what = f"the warm-up must be at least the window, got {self.warmup} and {self.window} bars"
        return ((("warmup", "window"), what),)


class MeanReversion:
    """The mean reversion strategy; its module describes the conditions and the score."""

    name: ClassVar[str] = "mean_reversion"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0  # z_entry is the threshold
    proxies: ClassVar[tuple[str, ...]] = ("",)
    open_interest_span_ms: ClassVar[int] = 0
    parameter_class: ClassVar[type[Parameters]] = MeanReversionParameters

    def __init__(self, parameters: MeanReversionParameters | None = None) -> None:
        self.parameters = p = parameters or MeanReversionParameters()
        self._atr, self._adx, self._rsi = Atr(p.atr_period), Adx(p.atr_period), Rsi(p.rsi_period)
        self.indicators: tuple[Indicator, ...] = (self._atr, self._adx, self._rsi)

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(
                wanted=f"prices that move within {p.window} bars", figures=FEATURES
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted=f"a range: efficiency ratio below {p.efficiency_max:g}, ADX below"
                f" {p.adx_max:g}",
                figures=("efficiency", "adx"),
                found="no range",
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"z-score at most {-p.z_entry:g} and RSI at most {p.rsi_low:g}, or z-score"
                f" at least {p.z_entry:g} and RSI at least {p.rsi_high:g}",
                figures=("z", "rsi"),
            ),
            Abstain.NOT_MEAN_REVERTING: Requirement(
                wanted=f"variance ratio below {RANDOM_WALK:g}, half-life from"
                f" {p.half_life_min:g} to {p.window / HALF_LIFE_SHARE:.3g} bars",
                figures=("variance_ratio", "half_life"),
            ),
        }

    def hold_ms(self, period_ms: int) -> int:
        return self.parameters.hold_bars * period_ms

    def lookback_bars(self, _period_ms: int) -> int:
        return max(self.parameters.window, self.parameters.efficiency_period) + 1

    def warmup_bars(self, period_ms: int) -> int:
        p = self.parameters
        states = max(2 * p.atr_period, p.rsi_period + 1)
        return max(p.warmup, self.lookback_bars(period_ms), states)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        return self._score(panel, now_ms)

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        return self._score(block, now_ms)

    def _score(self, panel: Panel | PanelBlock, now_ms: int | Ints) -> StrategyScores:
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        closes = panel.view("close", p.window)
        close = closes[-1]
        mean, deviation = mean_and_deviation(closes)
        atr, adx, rsi = (panel.indicator(spec) for spec in self.indicators)
        efficiency = efficiency_of(panel.view("close", p.efficiency_period + 1))
        flat = FLAT_RELATIVE * close
        known = (deviation > flat) & (atr > flat) & np.isfinite(adx + rsi + efficiency)
        verdicts.abstain(~known, Abstain.DATA_DEGENERATE)
        ranging = (efficiency < p.efficiency_max) & (adx < p.adx_max)
        verdicts.abstain(~ranging, Abstain.REGIME_WRONG)
        stretch = close - mean
        z = np.divide(stretch, deviation, out=np.full_like(stretch, np.nan), where=known)
        high = (z >= p.z_entry) & (rsi >= p.rsi_high)
        low = (z <= -p.z_entry) & (rsi <= p.rsi_low)
        verdicts.abstain(~(high | low), Abstain.NO_TRIGGER)
        ratio, life = self._reversion(panel, verdicts.scored)
        reverting = (ratio < RANDOM_WALK) & (life >= p.half_life_min)
        reverting &= life <= p.window / HALF_LIFE_SHARE
        verdicts.abstain(~reverting, Abstain.NOT_MEAN_REVERTING)
        return StrategyScores(
            strategy=self.name,
            score=-np.tanh(z / 2.0),
            raw=np.full_like(z, np.nan),
            weight=np.ones_like(z),
            stop_distance=p.stop_atr * atr,
            target_distance=np.abs(stretch),
            abstain=verdicts.codes,
            proxy=np.zeros(z.shape, np.uint8),
            feature_names=FEATURES,
            features=np.array((z, rsi, efficiency, adx, ratio, life, atr)),
        )

    def _reversion(self, panel: Panel | PanelBlock, where: Mask) -> tuple[Floats, Floats]:
        """Return variance ratio and half-life in bars of the symbols in the mask.

        Both have the shape of the mask and are NaN outside of it.
        """
        ratio, life = np.full((2, *where.shape), np.nan)
        if where.any():
            levels = pick_columns(panel.view("log_close", self.parameters.window + 1), where)
            ratio[where] = variance_ratio(levels, self.parameters.variance_ratio_q)
            life[where] = half_life(levels)
        return ratio, life


FEATURES = ("z", "rsi", "efficiency", "adx", "variance_ratio", "half_life", "atr")

strategy: type[Strategy] = MeanReversion
