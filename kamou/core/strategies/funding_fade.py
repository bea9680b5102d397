"""The funding fade, which trades against a crowd that pays extreme funding.

A signal needs four conditions: the funding rate that settled last is above ``apr_min_pct`` per year
in absolute value; the z-score has the sign of the rate; the market has no strong trend; and the
fade is confirmed, because the newest bar makes no new extreme in the crowd's direction, or because
open interest falls. The score is -tanh(z / 2): short if longs pay.

The z-score is that of the premium index over the newest 8 hours. A venue's formula makes the rate
from it, and pins the rate to the interest rate while the premium index is inside the clamp. Outside
the clamp the rate is the premium index plus or minus a constant. So for a symbol without a premium
index the z-score of a rate outside its clamp replaces it, with the weight ``no_premium_weight`` and
the proxy ``rate``. A premium index that is stale or warming up is an abstention.

Stop and take-profit are in ATR of 1 hour: the ATR of the trade timeframe times the square root of
1 hour over that timeframe, because ranges grow with the square root of time.
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
from kamou.core.indicators.funding import FundingRead, FundingZ, split_figures
from kamou.core.indicators.open_interest import find_newest_change
from kamou.core.indicators.premium import PERIOD_HOURS, PremiumRead, PremiumZ, split_premium
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.market.settlements import find_funding_span_ms
from kamou.core.model import BPS
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    STALE_PERIODS,
    Parameters,
    Requirement,
    Strategy,
    StrategyScores,
    Verdicts,
    check_data,
    find_stale_interest_ms,
    parameter,
)

RATE = 1  # index into ``proxies``
PREMIUM_STALE_MS = STALE_PERIODS * HOUR_MS  # a panel keeps a premium index per hour
CLAMP_WIDTH_BPS = 0.001  # per 8 h; venues publish rates with 8 decimals, 0.0001 bps
INTEREST_LAG_MS = DAY_MS


@attrs.frozen(kw_only=True)
class FundingFadeParameters(Parameters):
    """Parameters of the funding fade."""

    settlements: int = parameter(
        60,
        "number of past settlements for the z-score, and minimum before a symbol's first score",
        unit="settlements",
        low=6,
        high=1_000,
    )
    apr_min_pct: float = parameter(
        20.0,
        "funding per year, in absolute value and without compounding, that a signal must exceed",
        unit="%",
        low=0,
        high=10_000,
    )
    deviation_min_bps: float = parameter(
        0.2,
        "minimum deviation by which the z-score divides, per 8 h, because a rate inside its clamp"
        " does not change",
        unit="bps",
        low="0.001",
        high=100,
    )
    interest_bps: float = parameter(
        1.0,
        "interest rate in the venue's formula, per 8 h, to which a rate inside its clamp is pinned",
        unit="bps",
        low=0,
        high=100,
    )
    no_premium_weight: float = parameter(
        0.7,
        "factor of a score that is made from the funding rate instead of the premium index",
        low=0,
        high=1,
    )
    extreme_bars: int = parameter(
        24,
        "number of bars before the newest one that it must not exceed to confirm a signal: in its"
        " high if longs pay, in its low if shorts pay",
        unit="bars",
        low=1,
        high=1_000,
    )
    efficiency_max: float = parameter(
        0.35, "efficiency ratio above which a trend is strong if its ADX is", low=0, high=1
    )
    efficiency_period: int = parameter(
        10, "period of the efficiency ratio", unit="bars", low=2, high=1_000
    )
    adx_max: float = parameter(
        25.0, "ADX above which a trend is strong if its efficiency ratio is", low=0, high=100
    )
    atr_period: int = parameter(14, "period of ATR and ADX", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        2.0,
        "distance of the stop from the quote's ask (long) or bid (short), in ATR of 1 hour",
        unit="ATR",
        low="0.1",
        high=20,
    )
    target_atr: float = parameter(
        3.5,
        "distance of the take-profit from the quote's ask (long) or bid (short), in ATR of 1 hour",
        unit="ATR",
        low="0.1",
        high=100,
    )
    hold_hours: int = parameter(
        48, "maximum age of a position; then it is closed", unit="h", low=1, high=10_000
    )


@attrs.frozen(kw_only=True)
class _Paid:
    """What a crowd pays: the figures of the funding and of the premium index."""

    funding: FundingRead
    premium: PremiumRead

    def explain(self, now_ms: int | Ints) -> tuple[Floats, ...]:
        """Return the first ``FEATURES``, of the funding and of the premium index."""
        funding, premium = self.funding, self.premium
        return (
            100.0 * funding.per_year,
            premium.z,
            premium.mean / BPS,
            (now_ms - premium.available_ms) / HOUR_MS,
            premium.periods,
            funding.z,
            (now_ms - funding.settled_ms) / HOUR_MS,
            funding.settled,
        )


class FundingFade:
    """The funding fade strategy; its module describes the conditions and the score."""

    name: ClassVar[str] = "funding_fade"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("", "rate")
    open_interest_span_ms: ClassVar[int] = 2 * INTEREST_LAG_MS
    parameter_class: ClassVar[type[Parameters]] = FundingFadeParameters

    def __init__(self, parameters: FundingFadeParameters | None = None) -> None:
        self.parameters = p = parameters or FundingFadeParameters()
        self._atr, self._adx = Atr(p.atr_period), Adx(p.atr_period)
        self.indicators: tuple[Indicator, ...] = (self._atr, self._adx)
        self._z = FundingZ(
            past=p.settlements,
            # One settlement of 8 h after the other, with room for the newest and its interval.
            span_ms=find_funding_span_ms(p.settlements + 3),
            known_min=p.settlements // 2,
            deviation_min=p.deviation_min_bps * BPS / PERIOD_HOURS,
        )
        self.funding_settlements = self._z.settlements
        self._premium_z = PremiumZ(
            past=p.settlements,
            known_min=p.settlements,
            deviation_min=p.deviation_min_bps * BPS,
        )
        # The newest one may be as old as PREMIUM_STALE_MS, and its hour may have just begun.
        self.premium_hours = self._premium_z.hours + STALE_PERIODS + 2

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(wanted="prices that move", figures=FEATURES),
            Abstain.SOURCE_MISSING: Requirement(
                wanted="a funding rate with a known interval", figures=("settlements",)
            ),
            Abstain.SOURCE_STALE: Requirement(
                wanted=f"funding that settled at most {STALE_PERIODS} intervals ago, and a premium"
                f" index, if there is one, that is at most {STALE_PERIODS} h old",
                figures=("funding_age_h", "premium_age_h"),
            ),
            Abstain.SOURCE_WARMING_UP: Requirement(
                wanted=f"{p.settlements} settlements of funding, and {p.settlements + 1} times 8 h"
                " of the premium index if there is one",
                figures=("settlements", "premium_periods"),
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"funding above {p.apr_min_pct:g} % per year, or below {-p.apr_min_pct:g} %,"
                " with a z-score of the premium index of the same sign; without a premium index, a"
                " rate outside its clamp with such a z-score",
                figures=("apr", "premium_z", "funding_z"),
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted=f"no strong trend: efficiency ratio at most {p.efficiency_max:g}, or ADX at"
                f" most {p.adx_max:g}",
                figures=("efficiency", "adx"),
                found="strong trend",
            ),
            Abstain.NOT_CONFIRMED: Requirement(
                wanted=f"no new extreme of {p.extreme_bars} bars in the crowd's direction, or"
                " falling open interest",
                figures=("oi_change",),
            ),
        }

    def hold_ms(self, _period_ms: int) -> int:
        return self.parameters.hold_hours * HOUR_MS

    def lookback_bars(self, _period_ms: int) -> int:
        return max(self.parameters.extreme_bars, self.parameters.efficiency_period) + 1

    def warmup_bars(self, period_ms: int) -> int:
        # As long as the funding may need, so that a score after a gap needs none from before it.
        funded = -(-self._z.span_ms // period_ms)
        return max(funded, self.lookback_bars(period_ms), 2 * self.parameters.atr_period)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        funding = panel.compute_from_funding(self._z, now_ms, self._z.read)
        premium = panel.compute_from_premium(self._premium_z, now_ms, self._premium_z.read)
        change = panel.compute_from_interest("day", now_ms, _find_interest_change)
        stale_ms = panel.compute_from_interest("stale_ms", now_ms, find_stale_interest_ms)
        change = np.where(now_ms <= stale_ms, change, np.nan)
        paid = _Paid(funding=split_figures(funding), premium=split_premium(premium))
        return self._score(panel, now_ms, paid, change)

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        funding = block.compute_from_funding(self._z, now_ms, self._z.read)
        premium = block.compute_from_premium(self._premium_z, now_ms, self._premium_z.read)
        change = block.compute_from_interest("day", now_ms, _find_interest_change)
        stale_ms = block.compute_from_interest("stale_ms", now_ms, find_stale_interest_ms)
        change = np.where(now_ms <= stale_ms, change, np.nan)
        paid = _Paid(funding=split_figures(funding), premium=split_premium(premium))
        return self._score(block, now_ms, paid, change)

    def _score(
        self,
        panel: Panel | PanelBlock,
        now_ms: int | Ints,
        paid: _Paid,
        interest_change: Floats,
    ) -> StrategyScores:
        """Return the scores.

        ``interest_change`` is that of ln(open interest) over a day; NaN: unknown or stale.
        """
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        atr, adx = panel.indicator(self._atr), panel.indicator(self._adx)
        efficiency = efficiency_of(panel.view("close", p.efficiency_period + 1))
        known = (atr > FLAT_RELATIVE * panel.row("close")) & np.isfinite(adx + efficiency)
        verdicts.abstain(~known, Abstain.DATA_DEGENERATE)
        # A panel that is loaded again has no older premium index.
        oldest_ms = now_ms - self._premium_z.hours * HOUR_MS
        listed = paid.premium.available_ms >= oldest_ms
        self._check_funding(verdicts, paid.funding, now_ms)
        self._check_premium(verdicts, paid, listed, now_ms)
        z = np.where(listed, paid.premium.z, paid.funding.z)
        crowd = self._find_crowd(paid.funding, z, listed)
        verdicts.abstain(crowd == 0, Abstain.NO_TRIGGER)
        strong = (efficiency > p.efficiency_max) & (adx > p.adx_max)
        verdicts.abstain(strong, Abstain.REGIME_WRONG)
        confirmed = ~self._is_new_extreme(panel, crowd) | (interest_change < 0)
        verdicts.abstain(~confirmed, Abstain.NOT_CONFIRMED)
        hourly_atr = atr * np.sqrt(HOUR_MS / panel.period_ms)
        return StrategyScores(
            strategy=self.name,
            score=-np.tanh(z / 2.0),
            raw=np.full_like(atr, np.nan),
            weight=np.where(listed, 1.0, p.no_premium_weight),
            stop_distance=p.stop_atr * hourly_atr,
            target_distance=p.target_atr * hourly_atr,
            abstain=verdicts.codes,
            proxy=np.where(listed, 0, RATE).astype(np.uint8),
            feature_names=FEATURES,
            features=np.array(
                (*paid.explain(now_ms), interest_change, efficiency, adx, hourly_atr)
            ),
        )

    def _check_funding(self, verdicts: Verdicts, funding: FundingRead, now_ms: int | Ints) -> None:
        """Abstain from symbols whose funding is missing, stale or too short."""
        # A panel that is loaded again has no older funding.
        missing = ~(funding.settled_ms >= now_ms - self._z.span_ms)
        verdicts.abstain(missing, Abstain.SOURCE_MISSING)
        longest_ms = find_funding_span_ms(1)
        interval_ms = np.where(np.isnan(funding.interval_ms), longest_ms, funding.interval_ms)
        stale = funding.settled_ms < now_ms - STALE_PERIODS * interval_ms
        verdicts.abstain(stale, Abstain.SOURCE_STALE)
        verdicts.abstain(funding.settled < self.parameters.settlements, Abstain.SOURCE_WARMING_UP)
        verdicts.abstain(np.isnan(funding.hourly), Abstain.SOURCE_MISSING)

    @staticmethod
    def _check_premium(verdicts: Verdicts, paid: _Paid, listed: Mask, now_ms: int | Ints) -> None:
        """Abstain from symbols whose premium index is stale, or whose z-score is unknown.

        ``listed`` is True where there is a premium index.
        """
        stale = listed & (paid.premium.available_ms < now_ms - PREMIUM_STALE_MS)
        verdicts.abstain(stale, Abstain.SOURCE_STALE)
        z = np.where(listed, paid.premium.z, paid.funding.z)
        verdicts.abstain(np.isnan(z), Abstain.SOURCE_WARMING_UP)

    def _find_crowd(self, funding: FundingRead, z: Floats, listed: Mask) -> Floats:
        """Return 1 where longs pay extreme funding, -1 where shorts do, otherwise 0.

        Where no premium index is listed, a rate inside its clamp is not extreme.
        """
        p = self.parameters
        apr_pct = 100.0 * funding.per_year
        bps = funding.hourly * PERIOD_HOURS / BPS
        outside = np.abs(bps - p.interest_bps) > CLAMP_WIDTH_BPS
        extreme = (np.abs(apr_pct) > p.apr_min_pct) & (listed | outside) & (z * apr_pct > 0)
        return np.where(extreme, np.sign(apr_pct), 0.0)

    def _is_new_extreme(self, panel: Panel | PanelBlock, crowd: Floats) -> Mask:
        """Return True where the newest bar is the crowd's new high or low."""
        bars = self.parameters.extreme_bars
        rising = panel.row("high") > panel.view("high", bars, back=1).max(axis=0)
        falling = panel.row("low") < panel.view("low", bars, back=1).min(axis=0)
        return np.asarray(np.where(crowd > 0, rising, falling))


def _find_interest_change(times: Ints, logs: Floats) -> Floats:
    return find_newest_change(times, logs, INTEREST_LAG_MS)


FEATURES = (
    "apr",
    "premium_z",
    "premium_bps",
    "premium_age_h",
    "premium_periods",
    "funding_z",
    "funding_age_h",
    "settlements",
    "oi_change",
    "efficiency",
    "adx",
    "atr",
)

strategy: type[Strategy] = FundingFade
