"""The ratio fade, which trades against the side on which most accounts are.

The figure is ln(ratio of long to short accounts), less that of the top traders where both exist. A
signal needs two conditions: the robust z-score of the newest figure is extreme, and the market is
in a range or exhausted. In a range the efficiency ratio and ADX are low. It is exhausted if the
efficiency ratio is low, ADX still is not, and the newest bar makes no new extreme in the crowd's
direction. The score is -tanh(z / 2): short if unusually many accounts are long.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.codes import Abstain
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.adx import Adx
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.efficiency import efficiency_of
from kamou.core.indicators.long_short_ratio import RatioRead, RatioZ, split_ratios
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.market.ratios import RATIO_PERIOD_MS
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    STALE_PERIODS,
    Parameters,
    Requirement,
    Strategy,
    StrategyScores,
    Verdicts,
    check_data,
    parameter,
)

NO_TOP_TRADERS = 1  # index into ``proxies``
STALE_MS = STALE_PERIODS * RATIO_PERIOD_MS


@attrs.frozen(kw_only=True)
class RatioFadeParameters(Parameters):
    """Parameters of the ratio fade."""

    window_days: int = parameter(
        14,
        "period of the past ratios for the z-score, which are hourly",
        unit="days",
        low=1,
        high=90,
    )
    warmup_hours: int = parameter(
        200,
        "minimum number of past hours with a ratio, and minimum history of a symbol's bars, before"
        " its first score",
        unit="h",
        low=6,
        high=2_000,
    )
    deviation_min: float = parameter(
        0.01,
        "minimum deviation by which the z-score divides, so that a ratio that hardly changes gets"
        " no extreme z-score",
        unit="of the ratio",
        low="0.00001",
        high=1,
    )
    z_entry: float = parameter(
        2.0, "minimum absolute z-score of the ratio for a signal", low=0, high=10
    )
    extreme_bars: int = parameter(
        24,
        "number of bars before the newest one that it must not exceed in an exhausted market: in"
        " its high if the crowd is long, in its low if it is short",
        unit="bars",
        low=1,
        high=1_000,
    )
    efficiency_max: float = parameter(
        0.3, "efficiency ratio at or above which the ratio fade abstains", low=0, high=1
    )
    efficiency_period: int = parameter(
        10, "period of the efficiency ratio", unit="bars", low=2, high=1_000
    )
    adx_max: float = parameter(20.0, "ADX below which the market is in a range", low=0, high=100)
    atr_period: int = parameter(14, "period of ATR and ADX", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        1.5,
        "distance of the stop from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=20,
    )
    target_atr: float = parameter(
        3.0,
        "distance of the take-profit from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=100,
    )
    hold_hours: int = parameter(
        24, "maximum age of a position; then it is closed", unit="h", low=1, high=10_000
    )

    def contradictions(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        if self.warmup_hours <= self.window_hours:
            return ()
        what = (
            f"the warm-up must be at most the window, got {self.warmup_hours} and"
            f" {self.window_hours} hours"
        )
        return ((("warmup_hours", "window_days"), what),)

    @property
    def window_hours(self) -> int:
        return self.window_days * DAY_MS // RATIO_PERIOD_MS


class RatioFade:
    """The ratio fade strategy; its module describes the conditions and the score."""

    name: ClassVar[str] = "ratio_fade"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("", "no_top_traders")
    open_interest_span_ms: ClassVar[int] = 0
    parameter_class: ClassVar[type[Parameters]] = RatioFadeParameters

    def __init__(self, parameters: RatioFadeParameters | None = None) -> None:
        self.parameters = p = parameters or RatioFadeParameters()
        self._atr, self._adx = Atr(p.atr_period), Adx(p.atr_period)
        self.indicators: tuple[Indicator, ...] = (self._atr, self._adx)
        self._z = RatioZ(
            past=p.window_hours, known_min=p.warmup_hours, deviation_min=p.deviation_min
        )
        # The newest ratio may be as old as STALE_MS, and its hour may have just begun.
        self.ratio_hours = p.window_hours + STALE_PERIODS + 2

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(wanted="prices that move", figures=FEATURES),
            Abstain.SOURCE_MISSING: Requirement(
                wanted="ratios of long to short accounts", figures=("ratio_hours",)
            ),
            Abstain.SOURCE_STALE: Requirement(
                wanted=f"a ratio of long to short accounts that is at most {STALE_PERIODS} h old",
                figures=("ratio_age_h",),
            ),
            Abstain.SOURCE_WARMING_UP: Requirement(
                wanted=f"{p.warmup_hours} hours with a ratio of long to short accounts",
                figures=("ratio_hours",),
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"a z-score of the ratio of at least {p.z_entry:g}, or at most"
                f" {-p.z_entry:g}",
                figures=("ratio_z",),
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted=f"a range or an exhausted trend: efficiency ratio below"
                f" {p.efficiency_max:g}; and ADX below {p.adx_max:g}, or no new extreme of"
                f" {p.extreme_bars} bars in the crowd's direction",
                figures=("efficiency", "adx"),
                found="trend",
            ),
        }

    def hold_ms(self, _period_ms: int) -> int:
        return self.parameters.hold_hours * HOUR_MS

    def lookback_bars(self, _period_ms: int) -> int:
        return max(self.parameters.extreme_bars, self.parameters.efficiency_period) + 1

    def warmup_bars(self, period_ms: int) -> int:
        p = self.parameters
        asked = -(-p.warmup_hours * HOUR_MS // period_ms)
        return max(asked, self.lookback_bars(period_ms), 2 * p.atr_period)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        ratios = panel.compute_from_ratios(self._z, now_ms, self._z.read)
        return self._score(panel, now_ms, split_ratios(ratios))

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        ratios = block.compute_from_ratios(self._z, now_ms, self._z.read)
        return self._score(block, now_ms, split_ratios(ratios))

    def _score(
        self, panel: Panel | PanelBlock, now_ms: int | Ints, ratios: RatioRead
    ) -> StrategyScores:
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        atr, adx = panel.indicator(self._atr), panel.indicator(self._adx)
        efficiency = efficiency_of(panel.view("close", p.efficiency_period + 1))
        known = (atr > FLAT_RELATIVE * panel.row("close")) & np.isfinite(adx + efficiency)
        verdicts.abstain(~known, Abstain.DATA_DEGENERATE)
        self._check_ratios(verdicts, ratios, now_ms)
        verdicts.abstain(~(np.abs(ratios.z) >= p.z_entry), Abstain.NO_TRIGGER)
        exhausted = ~self._is_new_extreme(panel, ratios.z)
        calm = (efficiency < p.efficiency_max) & ((adx < p.adx_max) | exhausted)
        verdicts.abstain(~calm, Abstain.REGIME_WRONG)
        age_h = (now_ms - ratios.available_ms) / HOUR_MS
        rows = (ratios.z, ratios.log_ratio, ratios.spread, age_h, ratios.known)
        return StrategyScores(
            strategy=self.name,
            score=-np.tanh(ratios.z / 2.0),
            raw=np.full_like(atr, np.nan),
            weight=np.ones_like(atr),
            stop_distance=p.stop_atr * atr,
            target_distance=p.target_atr * atr,
            abstain=verdicts.codes,
            proxy=np.where(np.isnan(ratios.spread), NO_TOP_TRADERS, 0).astype(np.uint8),
            feature_names=FEATURES,
            features=np.array((*rows, efficiency, adx, atr)),
        )

    def _check_ratios(self, verdicts: Verdicts, ratios: RatioRead, now_ms: int | Ints) -> None:
        """Abstain from symbols whose ratios are missing, stale or too few."""
        # A panel that is loaded again has no older ratio.
        oldest_ms = now_ms - self.parameters.window_hours * HOUR_MS
        verdicts.abstain(~(ratios.available_ms >= oldest_ms), Abstain.SOURCE_MISSING)
        verdicts.abstain(ratios.available_ms < now_ms - STALE_MS, Abstain.SOURCE_STALE)
        verdicts.abstain(np.isnan(ratios.z), Abstain.SOURCE_WARMING_UP)

    def _is_new_extreme(self, panel: Panel | PanelBlock, crowd: Floats) -> Mask:
        """Return True where the newest bar is the crowd's new high (> 0) or low."""
        bars = self.parameters.extreme_bars
        rising = panel.row("high") > panel.view("high", bars, back=1).max(axis=0)
        falling = panel.row("low") < panel.view("low", bars, back=1).min(axis=0)
        return np.asarray(np.where(crowd > 0, rising, falling))


FEATURES = (
    "ratio_z",
    "log_ratio",
    "ratio_spread",
    "ratio_age_h",
    "ratio_hours",
    "efficiency",
    "adx",
    "atr",
)

strategy: type[Strategy] = RatioFade
