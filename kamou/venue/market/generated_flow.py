"""The order flow of the generated market, a series of windows.

A window's figures are drawn by its own number, so that no window needs another and a run of 120
days need not walk its quotes. ``tape`` makes the quotes and market trades of a stretch, which have
these figures. The flow is independent of all prices, so no strategy can gain by it, unless the
market has the edge of the order flow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

import attrs
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.indicators.order_flow import (
    LEVELS,
    SPREAD,
    TRADE_IMBALANCE,
    WINDOW_FIGURES,
)
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows, empty_flow
from kamou.core.model import BPS_PER_UNIT
from kamou.venue.market.edges import Edge
from kamou.venue.market.generated_day import Moves, day_rng
from kamou.venue.market.universe import Universe

FLOW = 20  # random stream, so that the draws of flow change no price
FORESIGHT = 0.8  # of a market with the edge of the order flow


@attrs.frozen(kw_only=True)
class FlowSettings:
    """Settings of generated order flow."""

    imbalance_sd: float = 3.0  # of the OFI, in mean depths
    levels_follow: float = 0.8  # correlation of a deeper level's OFI with that of the best level
    trades_follow: float = 0.6  # the same of the trade imbalance, before its tanh
    trade_width: float = 0.4  # of the trade imbalance, before its tanh
    spread_log_sd: float = 0.35
    # Correlation of the best level's OFI with the return of the hour after the window, as far as it
    # is in the same UTC day. Above 0 the flow has an edge, while all prices stay as they are.
    foresight: float = 0.0


def choose_flow_settings(edges: Collection[Edge]) -> FlowSettings:
    """Return the settings of flow in a market with these planted edges."""
    return FlowSettings(foresight=FORESIGHT if Edge.ORDER_FLOW in edges else 0.0)


class FlowMarket(Protocol):
    """What the flow needs of a generated market."""

    @property
    def seed(self) -> int: ...
    @property
    def first_ms(self) -> int: ...
    @property
    def step_ms(self) -> int: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def universe(self) -> Universe: ...
    @property
    def flow_settings(self) -> FlowSettings: ...

    def prices(self, at_ms: int) -> Floats: ...


def make_flow_windows(
    market: FlowMarket, since_ms: int, until_ms: int, moves_of: Callable[[int], Moves]
) -> FlowWindows:
    """Return the windows that ended in ``(since_ms, until_ms]``, from the origin on.

    Args:
        market: the generated market.
        since_ms, until_ms: the interval.
        moves_of: the moves of a day since the origin; called only with foresight.
    """
    first = max(0, (since_ms - market.first_ms) // FLOW_WINDOW_MS)
    last = (until_ms - market.first_ms) // FLOW_WINDOW_MS
    if last <= first:
        return empty_flow(market.symbols)
    windows = np.arange(first, last, dtype=np.int64)
    return FlowWindows(
        symbols=market.symbols,
        end_ms=market.first_ms + FLOW_WINDOW_MS * (windows + 1),
        values=np.stack([_make_window(market, each, moves_of) for each in windows.tolist()]),
    )


def _draw(market: FlowMarket, window: int) -> Floats:
    """Return the normal draws of a window, ``[WINDOW_FIGURES, symbols]``."""
    shape = (WINDOW_FIGURES, len(market.symbols))
    return day_rng(market.seed, window, FLOW).standard_normal(shape)


def _make_window(market: FlowMarket, window: int, moves_of: Callable[[int], Moves]) -> Floats:
    """Return the figures of a window, ``[WINDOW_FIGURES, symbols]``."""
    settings, draws = market.flow_settings, _draw(market, window)
    best = draws[0]
    if settings.foresight:
        best = _mix(settings.foresight, _measure_next_hour(market, window, moves_of), best)
    values = np.empty_like(draws)
    values[0] = settings.imbalance_sd * best
    values[1:LEVELS] = settings.imbalance_sd * _mix(settings.levels_follow, best, draws[1:LEVELS])
    trades = _mix(settings.trades_follow, best, draws[TRADE_IMBALANCE])
    values[TRADE_IMBALANCE] = np.tanh(settings.trade_width * trades)
    price = market.prices(market.first_ms + window * FLOW_WINDOW_MS)
    ticks = _round_spread(market, price, draws[SPREAD])
    values[SPREAD] = ticks / market.universe.scale / price * float(BPS_PER_UNIT)
    return values


def count_spread_ticks(market: FlowMarket, window: int) -> Floats:
    """Return the spread of a window in ticks, ``[symbols]``; it is constant."""
    price = market.prices(market.first_ms + window * FLOW_WINDOW_MS)
    return _round_spread(market, price, _draw(market, window)[SPREAD])


def _round_spread(market: FlowMarket, price: Floats, draw: Floats) -> Floats:
    universe = market.universe
    wide = 2.0 * universe.half_spread_bps * np.exp(market.flow_settings.spread_log_sd * draw)
    ticks: Floats = np.maximum(1.0, np.rint(wide / float(BPS_PER_UNIT) * price * universe.scale))
    return ticks


def _mix(correlation: float, leader: Floats, own: Floats) -> Floats:
    """Return values of unit variance that have this correlation with ``leader``."""
    mixed: Floats = correlation * leader + np.sqrt(1.0 - correlation**2) * own
    return mixed


def _measure_next_hour(market: FlowMarket, window: int, moves_of: Callable[[int], Moves]) -> Floats:
    """Return the log return of the hour after a window, in standard deviations.

    It is that of the bars from the first one that opens at the window's end or later. It ends at
    midnight, and is 0 without such a bar.
    """
    day, end_ms = divmod(window * FLOW_WINDOW_MS, DAY_MS)
    end_ms += FLOW_WINDOW_MS
    moves = moves_of(day)
    first = -(-end_ms // market.step_ms)
    last = min(len(moves.log_close), first + HOUR_MS // market.step_ms)
    if last <= first:
        return np.zeros(len(market.symbols))
    variance = moves.variance[first * market.step_ms // HOUR_MS] * (last - first)
    returns: Floats = (moves.log_close[last - 1] - moves.log_close[first - 1]) / np.sqrt(variance)
    return returns
