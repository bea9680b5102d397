"""A generated market in which all six strategies score nearly every symbol at every bar.

Thresholds are open, windows and warm-ups are the defaults. Closes revert to a mean, so that the
mean reversion scores; the bars of all symbols move with Bitcoin's from open to close, so that the
breadth agrees with it; funding rates change their side at each settlement, so that their z-scores
have their side.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.order_flow import LEVELS, SPREAD, WINDOW_FIGURES
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.core.market.market_rows import find_market_rows
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.market.ratios import RATIO_PERIOD_MS
from kamou.core.strategies import make_strategies
from kamou.core.strategies.funding_fade import FundingFadeParameters
from kamou.core.strategies.macro import MacroParameters
from kamou.core.strategies.mean_reversion import MeanReversionParameters
from kamou.core.strategies.oi_momentum import MomentumParameters
from kamou.core.strategies.order_flow import OrderFlowParameters
from kamou.core.strategies.ratio_fade import RatioFadeParameters

PERIOD_MS = 900_000
WARM_DAYS = 40
BATCHES, BATCH_BARS = 5, 32  # a batch is as long as an interval of funding
WARM_BARS = WARM_DAYS * DAY_MS // PERIOD_MS
BARS = WARM_BARS + BATCHES * BATCH_BARS
ANY = 1_000.0  # a limit that no figure reaches
PARAMETERS: Mapping[str, object] = {
    "mean_reversion": MeanReversionParameters(
        z_entry=0.0, rsi_low=100.0, rsi_high=0.0, half_life_min=0.0, efficiency_max=ANY, adx_max=ANY
    ),
    "oi_momentum": MomentumParameters(efficiency_min=-1.0, adx_min=-1.0, rank_min=0.0),
    "macro": MacroParameters(z_entry=0.0),
    "order_flow": OrderFlowParameters(z_min=0.0, spread_ratio_max=ANY),
    "ratio_fade": RatioFadeParameters(z_entry=0.0, efficiency_max=ANY, adx_max=ANY),
    "funding_fade": FundingFadeParameters(apr_min_pct=0.0, efficiency_max=ANY, adx_max=ANY),
}
STRATEGIES = make_strategies(PARAMETERS, PARAMETERS)


@attrs.frozen(kw_only=True, eq=False)
class Market:
    """Bars ``[bars, symbols]``, and the other sources with the times at which they are known."""

    symbols: tuple[str, ...]
    open_ms: Ints
    bars: tuple[Floats, ...]  # open, high, low, close, volume
    market: Floats  # [bars, MARKET_FIGURES]
    interest_ms: Ints
    interest: Floats  # [rows, symbols]
    funding_ms: Ints
    funding: Floats
    ratio_ms: Ints
    ratios: Floats  # [rows, 2, symbols]
    flow_ms: Ints
    flow: Floats  # [windows, WINDOW_FIGURES, symbols]

    def known(self, times: Ints, after_ms: int, at_ms: int) -> slice:
        """The rows that become known in ``(after_ms, at_ms]``."""
        first, end = np.searchsorted(times, (after_ms, at_ms), side="right")
        return slice(int(first), int(end))


def make_bars(chance: np.random.Generator, width: int) -> tuple[Floats, ...]:
    noise = chance.standard_t(4, (BARS, width)) * 0.003
    logs = np.empty((BARS, width))
    level = np.zeros(width)
    for row, shock in zip(logs, noise, strict=True):
        level = level * 0.7 + shock
        row[:] = level
    close = 100.0 * np.exp(logs)
    # The last bars are around a maximum of a wave of 7 days.
    at = np.arange(BARS)[:, np.newaxis] - (WARM_BARS + BARS) / 2
    common = 0.002 * np.cos(2 * np.pi * at / (7 * DAY_MS / PERIOD_MS))
    moved = common + chance.standard_normal((BARS, width)) * 0.001
    open_ = close / np.exp(moved)
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return open_, high, low, close, np.ones((BARS, width))


def make_market(width: int) -> Market:
    chance = np.random.default_rng(7)
    symbols = ("BTCUSDT", "ETHUSDT", *(f"S{each:04}" for each in range(2, width)))
    bars = make_bars(chance, width)
    end_ms = BARS * PERIOD_MS
    interest_ms = np.arange(INTEREST_PERIOD_MS, end_ms + 1, INTEREST_PERIOD_MS)
    interest = np.exp(np.cumsum(chance.standard_normal((len(interest_ms), width)) * 0.01, axis=0))
    funding_ms = np.arange(FUNDING_PERIOD_MS, end_ms + 1, FUNDING_PERIOD_MS)
    sides = (-1.0) ** np.add.outer(np.arange(len(funding_ms)), np.arange(width))
    funding = sides * chance.uniform(3e-4, 9e-4, sides.shape)
    ratio_ms = np.arange(RATIO_PERIOD_MS, end_ms + 1, RATIO_PERIOD_MS)
    ratios = np.exp(chance.standard_normal((len(ratio_ms), 2, width)) * 0.2)
    # Order flow of the newest two days before the measured bars is more than its windows need.
    flow_ms = np.arange((WARM_DAYS - 2) * DAY_MS, end_ms + 1, FLOW_WINDOW_MS)
    flow = np.clip(chance.standard_normal((len(flow_ms), WINDOW_FIGURES, width)) * 0.3, -1, 1)
    assert SPREAD == LEVELS + 1
    flow[:, SPREAD] = chance.uniform(1.0, 3.0, (len(flow_ms), width))
    return Market(
        symbols=symbols,
        open_ms=np.arange(BARS) * PERIOD_MS,
        bars=bars,
        market=find_market_rows(symbols, bars[0], bars[3]),
        interest_ms=interest_ms,
        interest=interest * 1e6,
        funding_ms=funding_ms,
        funding=funding,
        ratio_ms=ratio_ms,
        ratios=ratios,
        flow_ms=flow_ms,
        flow=flow,
    )


def append_sources(panel: Panel, market: Market, after_ms: int, at_ms: int) -> None:
    """Give the panel what becomes known in ``(after_ms, at_ms]``."""
    rows = market.known(market.interest_ms, after_ms, at_ms)
    for row in range(rows.start, rows.stop):
        panel.append_interest(int(market.interest_ms[row]), market.interest[row])
    rows = market.known(market.funding_ms, after_ms, at_ms)
    for row in range(rows.start, rows.stop):
        panel.append_funding(int(market.funding_ms[row]), market.funding[row])
    rows = market.known(market.ratio_ms, after_ms, at_ms)
    for row in range(rows.start, rows.stop):
        panel.append_ratios(int(market.ratio_ms[row]), *market.ratios[row])
    rows = market.known(market.flow_ms, after_ms, at_ms)
    panel.append_flow(market.flow_ms[rows], market.flow[rows])


def warm(panel: Panel, market: Market) -> None:
    """Append the bars before the measured ones, and the sources known by then."""
    before = slice(0, WARM_BARS)
    panel.give_market(market.open_ms[before], market.market[before])
    panel.extend(market.open_ms[before], *(column[before] for column in market.bars))
    append_sources(panel, market, 0, panel.close_ms)


assert HOUR_MS == RATIO_PERIOD_MS
