"""The momentum strategy, which follows trends and weighs them by open interest.

A score has its full weight only if the z-score of the newest change of open interest is at least
``oi_z_min``. The raw value is the mean over the horizons of the log return, without the newest bar,
in units of the realized volatility over as many bars. The score is the raw value's rank among all
symbols with good data. The merge of the shards computes the rank.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.codes import Abstain
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.adx import Adx
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.efficiency import efficiency_of
from kamou.core.indicators.open_interest import InterestChange
from kamou.core.indicators.window import sum_products
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    Parameters,
    Requirement,
    Strategy,
    StrategyScores,
    check_data,
    find_stale_interest_ms,
    parameter,
)

SKIPPED_BARS = 1  # newest bars without effect: a bounce between bid and ask is not momentum
NO_OI = 1  # index into ``proxies``


@attrs.frozen(kw_only=True)
class MomentumParameters(Parameters):
    """Parameters of momentum. Horizons are in days, whatever the trade timeframe."""

    horizons_days: tuple[int, ...] = parameter(
        (1, 7),
        "list of the horizons whose returns, in units of volatility, are averaged",
        unit="days",
        low=1,
        high=365,
    )
    warmup_days: int = parameter(
        30,
        "minimum history of a symbol before its first score (the longest horizon may need more),"
        " and period of the past open-interest changes for a z-score",
        unit="days",
        low=1,
        high=1_000,
    )
    efficiency_min: float = parameter(
        0.35, "efficiency ratio at or below which momentum abstains", low=0, high=1
    )
    efficiency_period: int = parameter(
        10, "period of the efficiency ratio", unit="bars", low=2, high=1_000
    )
    adx_min: float = parameter(25.0, "ADX at or below which momentum abstains", low=0, high=100)
    atr_period: int = parameter(14, "period of ATR and ADX", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        2.0,
        "distance of the stop from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=20,
    )
    target_atr: float = parameter(
        4.6,
        "distance of the take-profit from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=100,
    )
    hold_hours: int = parameter(
        72, "maximum age of a position; then it is closed", unit="h", low=1, high=10_000
    )
    no_confirmation_weight: float = parameter(
        0.3,
        "factor of a score whose z-score of open interest is below oi_z_min or unknown",
        low=0,
        high=1,
    )
    oi_z_min: float = parameter(
        0.5,
        "minimum robust z-score of the change in ln(open interest), over the shortest horizon, that"
        " confirms a score",
        low=0,
        high=10,
    )
    oi_changes_min: int = parameter(
        20,
        "minimum number of past open-interest changes for a z-score of open interest",
        unit="changes",
        low=3,
        high=100,
    )
    oi_deviation_min: float = parameter(
        0.001,
        "minimum deviation by which the z-score of open interest divides, so that a series that"
        " hardly changes gets no extreme z-score",
        unit="of open interest",
        low=0,
        high=1,
    )
    rank_min: float = parameter(
        0.8,
        "minimum absolute rank among all symbols, from -1 to 1, for a signal",
        low=0,
        high=1,
    )


class OiMomentum:
    """The momentum strategy; its module describes the score."""

    name: ClassVar[str] = "oi_momentum"
    cross_sectional: ClassVar[bool] = True
    proxies: ClassVar[tuple[str, ...]] = ("", "no_oi")
    parameter_class: ClassVar[type[Parameters]] = MomentumParameters

    def __init__(self, parameters: MomentumParameters | None = None) -> None:
        self.parameters = p = parameters or MomentumParameters()
        self.score_min = p.rank_min
        self._atr, self._adx = Atr(p.atr_period), Adx(p.atr_period)
        self.indicators: tuple[Indicator, ...] = (self._atr, self._adx)
        self._change = InterestChange(
            lag_ms=min(p.horizons_days) * DAY_MS,
            span_ms=p.warmup_days * DAY_MS,
            known_min=p.oi_changes_min,
            deviation_min=p.oi_deviation_min,
        )
        # At least 1 ms, because 0 declares that no open interest is read.
        self.open_interest_span_ms = max(1, self._change.span_ms + 2 * self._change.lag_ms)

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(
                wanted="prices that move over every horizon", figures=FEATURES
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted=f"a trend: efficiency ratio above {p.efficiency_min:g}, ADX above"
                f" {p.adx_min:g}",
                figures=("efficiency", "adx"),
                found="no trend",
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted="a rank among all symbols (score) with the sign of the symbol's momentum",
                figures=("score", "momentum"),
            ),
        }

    def hold_ms(self, _period_ms: int) -> int:
        return self.parameters.hold_hours * HOUR_MS

    def lookback_bars(self, period_ms: int) -> int:
        moved = max(self._horizons(period_ms)) + SKIPPED_BARS + 1
        return max(moved, self.parameters.efficiency_period + 1)

    def warmup_bars(self, period_ms: int) -> int:
        p = self.parameters
        asked = -(-p.warmup_days * DAY_MS // period_ms)
        # One bar more than the lookback is a reserve: the lookback has the first return's bars.
        return max(asked, self.lookback_bars(period_ms) + 1, 2 * p.atr_period)

    def _horizons(self, period_ms: int) -> tuple[int, ...]:
        return tuple(max(1, days * DAY_MS // period_ms) for days in self.parameters.horizons_days)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        interest_z = panel.compute_from_interest(self._change, now_ms, self._change.z)
        stale_ms = panel.compute_from_interest("stale_ms", now_ms, find_stale_interest_ms)
        return self._score(panel, now_ms, np.where(now_ms <= stale_ms, interest_z, np.nan))

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        interest_z = block.compute_from_interest(self._change, now_ms, self._change.z)
        stale_ms = block.compute_from_interest("stale_ms", now_ms, find_stale_interest_ms)
        return self._score(block, now_ms, np.where(now_ms <= stale_ms, interest_z, np.nan))

    def _score(
        self, panel: Panel | PanelBlock, now_ms: int | Ints, open_interest_z: Floats
    ) -> StrategyScores:
        """Return the scores, given the z-score of the newest change of open interest.

        The z-score is NaN where open interest is unknown, stale or has too few rows.
        """
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        atr, adx = panel.indicator(self._atr), panel.indicator(self._adx)
        efficiency = efficiency_of(panel.view("close", p.efficiency_period + 1))
        raw, volatility = self._scaled_return(panel)
        known = (atr > FLAT_RELATIVE * panel.row("close")) & (volatility > FLAT_RELATIVE)
        known &= np.isfinite(raw + adx + efficiency)
        verdicts.abstain(~known, Abstain.DATA_DEGENERATE)
        # The rank is among all symbols with good data, with and without a trend.
        raw = np.where(verdicts.scored, raw, np.nan)
        trending = (efficiency > p.efficiency_min) & (adx > p.adx_min)
        verdicts.abstain(~trending, Abstain.REGIME_WRONG)
        confirmed = open_interest_z >= p.oi_z_min
        return StrategyScores(
            strategy=self.name,
            score=np.zeros_like(raw),
            raw=raw,
            weight=np.where(confirmed, 1.0, p.no_confirmation_weight),
            stop_distance=p.stop_atr * atr,
            target_distance=p.target_atr * atr,
            abstain=verdicts.codes,
            proxy=np.where(np.isnan(open_interest_z), NO_OI, 0).astype(np.uint8),
            feature_names=FEATURES,
            features=np.array((raw, open_interest_z, efficiency, adx, volatility, atr)),
        )

    def _scaled_return(self, panel: Panel | PanelBlock) -> tuple[Floats, Floats]:
        """Return the raw value and the realized volatility per bar of each symbol.

        The volatility is the root mean square of the log returns over the longest horizon.
        """
        horizons = self._horizons(panel.period_ms)
        returns = panel.view("log_return", max(horizons), back=SKIPPED_BARS)
        volatility = np.sqrt(sum_products(returns, returns) / len(returns))
        newest = panel.row("log_close", back=SKIPPED_BARS)
        total = np.zeros_like(newest)
        for bars in horizons:
            moved = newest - panel.row("log_close", back=SKIPPED_BARS + bars)
            total += moved / np.sqrt(bars)
        with np.errstate(invalid="ignore", divide="ignore"):
            return total / (len(horizons) * volatility), volatility


FEATURES = ("momentum", "oi_z", "efficiency", "adx", "volatility", "atr")

strategy: type[Strategy] = OiMomentum
