"""The order flow, which trades in the direction of an unusual imbalance of quotes.

A signal needs two conditions: the newest window's order-flow imbalance (OFI) has a robust z-score
of at least ``z_min`` in absolute value, and its spread is at most ``spread_ratio_max`` times the
median spread. The score is tanh(z / 2): long if demand at the best quotes grew.

Where the OFI or its z-score is unknown, the trade imbalance ``(2 bought - volume) / volume``
replaces it, with the weight ``trade_weight`` and the proxy ``tfi``.

Stop and take-profit are in ATR of 15 minutes: the ATR of the trade timeframe times the square root
of 15 minutes over that timeframe, because ranges grow with the square root of time. Entries rest as
post-only orders for ``entry_deadline_s``, or take if it is 0; vetoes count the cost of either.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from kamou.core.arrays import Ints
from kamou.core.codes import Abstain
from kamou.core.day import MINUTE_MS
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.order_flow import LEVELS, FlowRead, FlowZ, split_flow_figures
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.strategies.base import (
    ENTRY_REST_MAX_MS,
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

TFI = 1  # index into ``proxies``
ATR_TIME_MS = 15 * MINUTE_MS
FEATURES = (
    "ofi",
    "ofi_z",
    "trade_imbalance",
    "trade_z",
    "spread_bps",
    "spread_median_bps",
    "flow_windows",
    "flow_age_min",
    "atr",
)


@attrs.frozen(kw_only=True)
class OrderFlowParameters(Parameters):
    """Parameters of the order flow."""

    windows: int = parameter(
        300,
        "number of known past windows for the z-score and for the median of the spread; a symbol"
        " with fewer has no score",
        unit="windows",
        low=10,
        high=2_000,
    )
    missing_max: int = parameter(
        30,
        "number of unknown windows that may lie among the known ones",
        unit="windows",
        low=0,
        high=2_000,
    )
    levels: int = parameter(
        1, "number of price levels whose imbalances are averaged", low=1, high=LEVELS
    )
    z_min: float = parameter(
        2.0, "minimum absolute z-score of the imbalance for a signal", low=0, high=10
    )
    deviation_min: float = parameter(
        0.01,
        "minimum deviation by which a z-score divides, in mean depths for the imbalance of quotes",
        low="0.000001",
        high=100,
    )
    trade_weight: float = parameter(
        0.7,
        "factor of a score that is made from the trade imbalance instead of the imbalance of"
        " quotes",
        low=0,
        high=1,
    )
    spread_ratio_max: float = parameter(
        3.0,
        "spread of the newest window, in medians of past windows, above which the strategy"
        " abstains",
        low=1,
        high=100,
    )
    atr_period: int = parameter(14, "period of ATR", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        1.5,
        "distance of the stop from the quote's ask (long) or bid (short), in ATR of 15 minutes;"
        " from the limit of an entry that rests",
        unit="ATR",
        low="0.1",
        high=20,
    )
    target_atr: float = parameter(
        3.0,
        "distance of the take-profit from the quote's ask (long) or bid (short), in ATR of 15"
        " minutes",
        unit="ATR",
        low="0.1",
        high=100,
    )
    hold_minutes: int = parameter(
        60, "maximum age of a position; then it is closed", unit="min", low=1, high=60
    )
    entry_deadline_s: int = parameter(
        120,
        "time for which a post-only entry rests at the quote's bid (long) or ask (short); then it"
        " is canceled. 0: the entry takes",
        unit="s",
        low=0,
        high=ENTRY_REST_MAX_MS // 1_000,
    )


class OrderFlow:
    """The order flow strategy; its module describes the conditions and the score."""

    name: ClassVar[str] = "order_flow"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("", "tfi")
    open_interest_span_ms: ClassVar[int] = 0
    parameter_class: ClassVar[type[Parameters]] = OrderFlowParameters

    def __init__(self, parameters: OrderFlowParameters | None = None) -> None:
        self.parameters = p = parameters or OrderFlowParameters()
        self._atr = Atr(p.atr_period)
        self.indicators: tuple[Indicator, ...] = (self._atr,)
        self._z = FlowZ(
            past=p.windows,
            missing_max=p.missing_max,
            levels=p.levels,
            deviation_min=p.deviation_min,
        )
        self.flow_windows = self._z.windows

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(wanted="prices that move", figures=("atr",)),
            Abstain.SOURCE_MISSING: Requirement(
                wanted="order flow of the newest window, with its spread if past windows have one",
                figures=("ofi", "trade_imbalance", "spread_bps"),
            ),
            Abstain.SOURCE_STALE: Requirement(
                wanted=f"order flow that ended at most {STALE_PERIODS} windows ago",
                figures=("flow_age_min",),
            ),
            Abstain.SOURCE_WARMING_UP: Requirement(
                wanted=f"{p.windows} past windows of order flow among the newest"
                f" {p.windows + p.missing_max}",
                figures=("flow_windows",),
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted=f"a spread of at most {p.spread_ratio_max:g} medians",
                figures=("spread_bps", "spread_median_bps"),
                found="wide spread",
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"an imbalance with a z-score of at least {p.z_min:g} or at most"
                f" {-p.z_min:g}",
                figures=("ofi_z", "trade_z"),
            ),
        }

    @property
    def entry_rest_ms(self) -> int:
        return self.parameters.entry_deadline_s * 1_000

    def hold_ms(self, _period_ms: int) -> int:
        return self.parameters.hold_minutes * MINUTE_MS

    def lookback_bars(self, _period_ms: int) -> int:
        return 2

    def warmup_bars(self, period_ms: int) -> int:
        # As long as the order flow may need, so that a score after a gap needs none from before it.
        flow = -(-self.flow_windows * FLOW_WINDOW_MS // period_ms)
        return max(flow + 1, 2 * self.parameters.atr_period)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        flow = panel.compute_from_flow(self._z, now_ms, self._z.read)
        return self._score(panel, now_ms, split_flow_figures(flow))

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        flow = block.compute_from_flow(self._z, now_ms, self._z.read)
        return self._score(block, now_ms, split_flow_figures(flow))

    def _score(
        self, panel: Panel | PanelBlock, now_ms: int | Ints, flow: FlowRead
    ) -> StrategyScores:
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        atr = panel.indicator(self._atr)
        verdicts.abstain(~(atr > FLAT_RELATIVE * panel.row("close")), Abstain.DATA_DEGENERATE)
        self._check_flow(verdicts, flow, now_ms)
        by_trades = np.isnan(flow.ofi_z)
        z = np.where(by_trades, flow.trade_z, flow.ofi_z)
        verdicts.abstain(np.isnan(z), Abstain.SOURCE_WARMING_UP)
        wide = flow.spread_bps > p.spread_ratio_max * flow.spread_median_bps
        verdicts.abstain(wide, Abstain.REGIME_WRONG)
        verdicts.abstain(np.abs(z) < p.z_min, Abstain.NO_TRIGGER)
        near_atr = atr * np.sqrt(ATR_TIME_MS / panel.period_ms)
        age_min = (now_ms - flow.end_ms) / MINUTE_MS
        return StrategyScores(
            strategy=self.name,
            score=np.tanh(z / 2.0),
            raw=np.full_like(atr, np.nan),
            weight=np.where(by_trades, p.trade_weight, 1.0),
            stop_distance=p.stop_atr * near_atr,
            target_distance=p.target_atr * near_atr,
            abstain=verdicts.codes,
            proxy=np.where(by_trades, TFI, 0).astype(np.uint8),
            feature_names=FEATURES,
            features=np.array(
                (
                    flow.ofi,
                    flow.ofi_z,
                    flow.trade_imbalance,
                    flow.trade_z,
                    flow.spread_bps,
                    flow.spread_median_bps,
                    flow.known,
                    age_min,
                    near_atr,
                )
            ),
        )

    def _check_flow(self, verdicts: Verdicts, flow: FlowRead, now_ms: int | Ints) -> None:
        """Abstain from symbols whose order flow is missing or stale."""
        verdicts.abstain(np.isnan(flow.end_ms), Abstain.SOURCE_MISSING)
        stale = flow.end_ms < now_ms - STALE_PERIODS * FLOW_WINDOW_MS
        verdicts.abstain(stale, Abstain.SOURCE_STALE)
        unknown = np.isnan(flow.ofi) & np.isnan(flow.trade_imbalance)
        # A venue may have trades and no quotes. Where it has quotes, one must say the spread.
        unknown |= np.isnan(flow.spread_bps) & ~np.isnan(flow.spread_median_bps)
        verdicts.abstain(unknown, Abstain.SOURCE_MISSING)


strategy: type[Strategy] = OrderFlow
