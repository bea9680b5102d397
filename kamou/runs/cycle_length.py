"""The length of cycles over a market's bars."""

from __future__ import annotations

import attrs

from kamou.core.kinds import RunMode
from kamou.errors import ConfigurationError
from kamou.settings.config import Settings


def fit_cycle(settings: Settings, native_ms: int) -> Settings:
    """Return the settings, with a cycle that is at least as long as the market's bars.

    Args:
        settings: the settings.
        native_ms: length of the market's bars.

    Raises:
        ConfigurationError: the timeframe is longer than the market's bars and no multiple of them.
    """
    if settings.cycle.trade_period_ms(native_ms) % native_ms:
        raise ConfigurationError(
            f"cycle.timeframe_s = {settings.cycle.timeframe_s} does not fit this data, whose bars "
            f"are of {native_ms // 1000} s: choose a multiple of {native_ms // 1000}"
        )
    period_s = max(settings.cycle.period_s, native_ms // 1000)
    return attrs.evolve(settings, cycle=attrs.evolve(settings.cycle, period_s=period_s))


def fit_to_bars(settings: Settings, step_ms: int) -> Settings:
    """Return the settings of a backtest over bars of ``step_ms``.

    The mode is that of a backtest. A cycle is at least as long as a bar, and an account read stays
    valid until that of the next cycle: between two bars no price is known, so another read would
    only find the same account.

    Raises:
        ConfigurationError: as ``fit_cycle``.
    """
    settings = fit_cycle(settings, step_ms)
    age_max_s = max(settings.risk.account_age_max_s, settings.cycle.period_s)
    return attrs.evolve(
        settings,
        mode=RunMode.BACKTEST,
        risk=attrs.evolve(settings.risk, account_age_max_s=age_max_s),
    )
