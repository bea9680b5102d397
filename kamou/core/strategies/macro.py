"""The macro strategy, which trades with the moves of Bitcoin and Ether.

The expected move of a symbol, in deviations, is its beta to Bitcoin times the mean of the robust
z-scores of Bitcoin's move and of the market's breadth, plus its beta to Ether times the z-score of
the part of Ether's move that does not follow Bitcoin. A signal needs an expected move that is
large, and Bitcoin and the breadth on the same side: risk-on above 0, risk-off below. The score is
tanh(z / 2) of the expected move z.

Betas and moves are of hourly returns, or of bars that are longer. Series from outside of the
market, such as DXY and SPX, are not read yet; one would be a further figure of the whole market,
without weight while it is stale.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.codes import Abstain
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.base import Indicator
from kamou.core.indicators.macro_beta import MacroBeta
from kamou.core.market.panel import Panel
from kamou.core.market.panel_block import PanelBlock
from kamou.core.strategies.base import (
    FLAT_RELATIVE,
    Parameters,
    Requirement,
    Strategy,
    StrategyScores,
    check_data,
    parameter,
)


@attrs.frozen(kw_only=True)
class MacroParameters(Parameters):
    """Parameters of the macro strategy."""

    window_days: int = parameter(
        30,
        "period of the returns for betas and z-scores, and minimum history of a symbol before its"
        " first score",
        unit="days",
        low=2,
        high=90,
    )
    half_life_days: float = parameter(
        10.0,
        "age at which a return has half the weight of the newest one in a beta",
        unit="days",
        low="0.1",
        high=365,
    )
    return_limit: float = parameter(
        4.0,
        "size to which a return is limited before betas and moves, in deviations",
        low=1,
        high=100,
    )
    beta_deviation: float = parameter(
        0.5,
        "assumed standard deviation of the true betas of all symbols; the smaller, the more a beta"
        " is shrunk to the mean of all",
        low="0.001",
        high=10,
    )
    horizon_hours: int = parameter(
        24, "period of the moves of Bitcoin, Ether and breadth", unit="h", low=1, high=168
    )
    z_entry: float = parameter(
        2.0, "minimum absolute expected move for a signal, in deviations", low=0, high=10
    )
    atr_period: int = parameter(14, "period of ATR", unit="bars", low=2, high=1_000)
    stop_atr: float = parameter(
        2.0,
        "distance of the stop from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=20,
    )
    target_atr: float = parameter(
        4.0,
        "distance of the take-profit from the quote's ask (long) or bid (short)",
        unit="ATR",
        low="0.1",
        high=100,
    )
    hold_hours: int = parameter(
        48, "maximum age of a position; then it is closed", unit="h", low=1, high=10_000
    )

    def contradictions(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        if self.horizon_hours * 4 <= self.window_days * 24:
            return ()
        what = (
            "the horizon must be at most a quarter of the window, got"
            f" {self.horizon_hours} h and {self.window_days} days"
        )
        return ((("horizon_hours", "window_days"), what),)


class Macro:
    """The macro strategy; its module describes the conditions and the score."""

    name: ClassVar[str] = "macro"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("",)
    open_interest_span_ms: ClassVar[int] = 0
    reads_market: ClassVar[bool] = True
    parameter_class: ClassVar[type[Parameters]] = MacroParameters

    def __init__(self, parameters: MacroParameters | None = None) -> None:
        self.parameters = p = parameters or MacroParameters()
        self._atr = Atr(p.atr_period)
        self.indicators: tuple[Indicator, ...] = (self._atr,)

    @property
    def requirements(self) -> dict[Abstain, Requirement]:
        p = self.parameters
        return {
            Abstain.DATA_DEGENERATE: Requirement(wanted="prices that move", figures=FEATURES),
            Abstain.SOURCE_MISSING: Requirement(
                wanted="bars of Bitcoin and Ether that move, for at least half of the window",
                figures=("btc_z", "eth_z", "breadth_z"),
            ),
            Abstain.NO_TRIGGER: Requirement(
                wanted=f"an expected move of at least {p.z_entry:g} deviations, or at most"
                f" {-p.z_entry:g}",
                figures=("macro_z",),
            ),
            Abstain.REGIME_WRONG: Requirement(
                wanted="Bitcoin and the market's breadth that move to the same side",
                figures=("btc_z", "breadth_z"),
                found="mixed market",
            ),
        }

    def hold_ms(self, _period_ms: int) -> int:
        return self.parameters.hold_hours * HOUR_MS

    def _bars_per_row(self, period_ms: int) -> int:
        return max(1, HOUR_MS // period_ms)

    def _rows(self, period_ms: int) -> int:
        """Return the number of returns; they need one close more than bars."""
        bars = max(1, self.parameters.window_days * DAY_MS // period_ms)
        return max(2, (bars - 1) // self._bars_per_row(period_ms))

    def lookback_bars(self, period_ms: int) -> int:
        return self._rows(period_ms) * self._bars_per_row(period_ms) + 1

    def warmup_bars(self, period_ms: int) -> int:
        p = self.parameters
        asked = -(-p.window_days * DAY_MS // period_ms)
        return max(asked, self.lookback_bars(period_ms), p.atr_period + 1)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        bars = self.lookback_bars(panel.period_ms)
        closes, market = panel.view("log_close", bars), panel.market(bars - 1)
        return self._score(panel, now_ms, self._read(closes, market, panel.period_ms))

    def evaluate_block(self, block: PanelBlock, now_ms: Ints) -> StrategyScores:
        bars = self.lookback_bars(block.period_ms)
        closes, market = block.view("log_close", bars), block.market(bars - 1)
        # One bar after the other: a copy of all windows would need hundreds of MB.
        figures = [
            self._read(closes[:, bar], market[:, bar], block.period_ms)
            for bar in range(len(block.close_ms))
        ]
        return self._score(block, now_ms, np.stack(figures, axis=1))

    def _read(self, log_closes: Floats, market: Floats, period_ms: int) -> Floats:
        """Return the six figures before the last of ``FEATURES``, ``[figures, symbols]``."""
        p, bars = self.parameters, self._bars_per_row(period_ms)
        rows, row_hours = self._rows(period_ms), bars * period_ms / HOUR_MS
        spec = MacroBeta(
            half_life=p.half_life_days * 24 / row_hours,
            limit=p.return_limit,
            beta_deviation=p.beta_deviation,
            horizon=min(rows // 2, max(1, round(p.horizon_hours / row_hours))),
        )
        summed = np.ascontiguousarray(market).reshape(rows, bars, -1).sum(axis=1)
        read = spec.read_levels(log_closes[::bars], summed)
        moves = np.array((read.bitcoin_z, read.ether_z, read.breadth_z))
        if 2 * read.known < rows:
            moves[:] = np.nan
        bitcoin_z, ether_z, breadth_z = moves
        expected = read.beta_bitcoin * (bitcoin_z + breadth_z) / 2 + read.beta_ether * ether_z
        wide = np.broadcast_to(moves[:, np.newaxis], (3, log_closes.shape[1]))
        return np.stack((expected, read.beta_bitcoin, read.beta_ether, *wide))

    def _score(
        self, panel: Panel | PanelBlock, now_ms: int | Ints, figures: Floats
    ) -> StrategyScores:
        p = self.parameters
        verdicts = check_data(panel, now_ms, self.warmup_bars(panel.period_ms))
        atr = panel.indicator(self._atr)
        expected, _, _, bitcoin_z, _, breadth_z = figures
        moving = atr > FLAT_RELATIVE * panel.row("close")
        verdicts.abstain(~moving, Abstain.DATA_DEGENERATE)
        verdicts.abstain(~np.isfinite(expected), Abstain.SOURCE_MISSING)
        verdicts.abstain(~(np.abs(expected) >= p.z_entry), Abstain.NO_TRIGGER)
        verdicts.abstain(~(bitcoin_z * breadth_z > 0), Abstain.REGIME_WRONG)
        return StrategyScores(
            strategy=self.name,
            score=np.tanh(expected / 2.0),
            raw=np.full_like(atr, np.nan),
            weight=np.ones_like(atr),
            stop_distance=p.stop_atr * atr,
            target_distance=p.target_atr * atr,
            abstain=verdicts.codes,
            proxy=np.zeros(atr.shape, np.uint8),
            feature_names=FEATURES,
            features=np.array((*figures, atr)),
        )


FEATURES = ("macro_z", "beta_btc", "beta_eth", "btc_z", "eth_z", "breadth_z", "atr")

strategy: type[Strategy] = Macro
