"""The regime of one symbol, written from its definition with loops over plain lists.

It shares no code with ``kamou.core.indicators.regime``. ADX and directional indices are TA-Lib's.
"""

from __future__ import annotations

import math
from itertools import pairwise

import attrs
import numpy as np
import talib

from kamou.core.indicators.regime_terms import RegimeTerms

DAY_MS = 86_400_000


@attrs.frozen(kw_only=True)
class Bar:
    close_ms: int
    high: float
    low: float
    close: float  # NaN: no valid bar


def label_by_definition(bars: list[Bar], period_ms: int, terms: RegimeTerms) -> list[str]:
    """Return the label after each bar, such as ``trend+/normal``; ``?`` for an unknown part."""
    trends = _trends(bars, terms, period_ms)
    volatilities = [_volatility(each, terms) for each in percentiles(bars, period_ms, terms)]
    held = zip(_hold(trends, terms), _hold(volatilities, terms), strict=True)
    return [f"{trend}/{volatility}" for trend, volatility in held]


def _stretch(bars: list[Bar], at: int, period_ms: int) -> list[Bar]:
    """Return the valid bars without a gap that end at ``at``, oldest first."""
    found: list[Bar] = []
    while at >= 0 and not math.isnan(bars[at].close):
        if found and found[-1].close_ms - bars[at].close_ms != period_ms:
            break
        found.append(bars[at])
        at -= 1
    return found[::-1]


def _trends(bars: list[Bar], terms: RegimeTerms, period_ms: int) -> list[str]:
    seen: list[str] = []
    mode = direction = "?"
    for at in range(len(bars)):
        stretch = _stretch(bars, at, period_ms)
        if len(stretch) < 2 * terms.adx_period:
            mode = direction = "?"
            seen.append("?")
            continue
        high, low, close = np.array([(b.high, b.low, b.close) for b in stretch]).T.copy()
        adx, plus, minus = (
            float(function(high, low, close, terms.adx_period)[-1])
            for function in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)
        )
        closes = [b.close for b in stretch[-terms.efficiency_period - 1 :]]
        path = sum(abs(b - a) for a, b in pairwise(closes))
        efficiency = abs(closes[-1] - closes[0]) / path
        if adx > terms.adx_trend and efficiency > terms.efficiency_trend:
            mode = "trend"
        elif adx < terms.adx_range and efficiency < terms.efficiency_range:
            mode = "range"
        if plus != minus:
            direction = "trend+" if plus > minus else "trend-"
        seen.append(direction if mode == "trend" else mode)
    return seen


def percentiles(bars: list[Bar], period_ms: int, terms: RegimeTerms) -> list[float | None]:
    per_day = DAY_MS // period_ms
    moves: list[float | None] = []
    for at in range(len(bars)):
        stretch = _stretch(bars, at, period_ms)[-per_day - 1 :]
        if len(stretch) <= per_day:
            moves.append(None)
            continue
        returns = [math.log(b.close / a.close) for a, b in pairwise(stretch)]
        moves.append(math.sqrt(math.fsum(each * each for each in returns)))
    found: list[float | None] = []
    for bar, move in zip(bars, moves, strict=True):
        today = (bar.close_ms - 1) // DAY_MS
        past = [
            other
            for each, other in zip(bars, moves, strict=True)
            if each.close_ms % DAY_MS == 0
            and today - terms.days_max <= each.close_ms // DAY_MS - 1 < today
            and other is not None
        ]
        if move is None or len(past) < terms.days_min:
            found.append(None)
            continue
        below = sum(1.0 for other in past if other < move)
        found.append(100 * (below + 0.5 * past.count(move)) / len(past))
    return found


def _volatility(percentile: float | None, terms: RegimeTerms) -> str:
    if percentile is None:
        return "?"
    if percentile > terms.volatility_shock:
        return "shock"
    if percentile > terms.volatility_high:
        return "high"
    return "low" if percentile < terms.volatility_low else "normal"


def _hold(seen: list[str], terms: RegimeTerms) -> list[str]:
    held: list[str] = []
    label, since = "?", -1
    for at, new in enumerate(seen):
        row = seen[max(0, at - terms.confirm_bars + 1) : at + 1]
        confirmed = len(row) == terms.confirm_bars and set(row) == {new}
        dwelt = label == "?" or at - since >= terms.dwell_bars
        if new != label and (new in ("?", "shock") or (confirmed and dwelt)):
            label, since = new, at
        held.append(label)
    return held
