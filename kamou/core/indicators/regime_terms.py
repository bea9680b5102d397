"""Regime labels of a symbol, and the terms by which they are given.

A label has two parts: the direction of prices and the size of their moves. This module has no
arrays, so that settings can use it.
"""

from __future__ import annotations

from enum import StrEnum

import attrs


class Trend(StrEnum):
    """The direction of a symbol's prices."""

    RANGE = "range"
    UP = "trend+"
    DOWN = "trend-"


class Volatility(StrEnum):
    """The size of a symbol's moves, compared with its own past days."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    SHOCK = "shock"  # no strategy may enter


TRENDS = tuple(Trend)
"""The trends in the order of their numbers in columns."""

VOLATILITIES = tuple(Volatility)
"""The volatilities in the order of their numbers in columns."""

UNKNOWN = -1  # number of an unknown part in columns


@attrs.frozen(kw_only=True)
class RegimeTerms:
    """Periods and thresholds of the regime. Volatility is in percentiles, 0 to 100.

    A trend begins above both ``adx_trend`` and ``efficiency_trend``, a range below both
    ``adx_range`` and ``efficiency_range``. Between them the last of the two lasts.
    """

    adx_period: int = 14  # bars
    adx_range: float = 20.0
    adx_trend: float = 25.0
    efficiency_period: int = 10  # bars
    efficiency_range: float = 0.3
    efficiency_trend: float = 0.35
    days_max: int = 90  # past UTC days
    days_min: int = 20
    volatility_low: float = 20.0
    volatility_high: float = 80.0
    volatility_shock: float = 97.0
    confirm_bars: int = 3
    dwell_bars: int = 6


@attrs.frozen(kw_only=True)
class AllowedLabel:
    """An entry of the table of regimes."""

    of_bitcoin: bool  # False: of the candidate's symbol
    trend: Trend
    volatility: Volatility | None  # None: every one but a shock

    def allows(self, regime: SymbolRegime) -> bool:
        """Return True if the regime has this label."""
        return regime.trend is self.trend and self.volatility in (None, regime.volatility)


OF_BITCOIN = "btc:"


def parse_label(text: str) -> AllowedLabel | None:
    """Return the label ``[btc:]TREND[/VOLATILITY]``.

    Examples are ``btc:trend+`` and ``range/low``. Return None if the text is no such label, or
    names a shock, in which nothing is allowed.
    """
    trend, slash, size = text.removeprefix(OF_BITCOIN).partition("/")
    known = trend in set(Trend) and (size in set(Volatility) or not slash)
    if not known or size == Volatility.SHOCK:
        return None
    return AllowedLabel(
        of_bitcoin=text.startswith(OF_BITCOIN),
        trend=Trend(trend),
        volatility=Volatility(size) if slash else None,
    )


@attrs.frozen(kw_only=True)
class SymbolRegime:
    """The regime of one symbol with its figures, at its newest bar.

    A part or a figure is None while it is not known.
    """

    trend: Trend | None = None
    volatility: Volatility | None = None
    adx: float | None = None
    efficiency: float | None = None
    percentile: float | None = None  # of the newest day's moves among the past days, 0 to 100
    days: int = 0  # past days that count
    day_volatility: float | None = None  # root of the sum of squared log returns of a day

    @property
    def label(self) -> str:
        """Both parts, such as ``trend+/normal``; ``unknown`` if one is not known."""
        if self.trend is None or self.volatility is None:
            return "unknown"
        return f"{self.trend}/{self.volatility}"
