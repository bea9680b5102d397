"""Checks between the settings of vetoes and regimes."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kamou.core.indicators.regime_terms import RegimeTerms, Trend, Volatility, parse_label
from kamou.core.risk.limits import LATER_VETOES, VETOES_OF_BACKTESTS, VetoLimits

Failed = tuple[tuple[str, ...], str]  # keys and the violated condition

LABEL_EXPECTED = (
    f"expects labels such as {Trend.RANGE}, {Trend.UP}/{Volatility.HIGH} or btc:{Trend.DOWN}: one"
    f" of {', '.join(Trend)}, with or without one of /{Volatility.LOW}, /{Volatility.NORMAL},"
    f" /{Volatility.HIGH}"
)


def find_veto_contradictions(veto: VetoLimits, regime: RegimeTerms) -> Iterator[Failed]:
    """Yield the keys and the violated condition of each failed check."""
    known = sorted((*VETOES_OF_BACKTESTS, *LATER_VETOES))
    for key, names in (("veto.enabled", veto.enabled), ("veto.backtest", veto.backtest)):
        unknown = [name for name in names if name not in known]
        if unknown:
            what = f"names no veto: {', '.join(unknown)}; the vetoes are {', '.join(known)}"
            yield (key,), what
    for field in attrs.fields(type(veto.regimes)):
        labels = getattr(veto.regimes, field.name)
        wrong = [text for text in labels if parse_label(text) is None]
        if wrong:
            yield (f"veto.regimes.{field.name}",), f"{LABEL_EXPECTED}; got {', '.join(wrong)}"
    yield from _find_disorder(regime)


def _find_disorder(regime: RegimeTerms) -> Iterator[Failed]:
    """Yield the thresholds of the regime that are not in their order."""
    ordered = (
        ("adx_range", "adx_trend"),
        ("efficiency_range", "efficiency_trend"),
        ("volatility_low", "volatility_high"),
        ("volatility_high", "volatility_shock"),
        ("days_min", "days_max"),
    )
    for low, high in ordered:
        found = getattr(regime, low), getattr(regime, high)
        if found[0] > found[1]:
            keys = (f"regime.{low}", f"regime.{high}")
            yield keys, f"{low} must be at most {high}, got {found[0]:g} and {found[1]:g}"
