"""Strategies (T1), one file each: how they are found and made, and their panel.

A file registers its strategy by the variable ``strategy``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, cast

from kamou.core.indicators.regime import RegimeIndicator
from kamou.core.market.panel import Panel
from kamou.core.strategies.base import Parameters, Strategy
from kamou.core.strategies.evaluation import (
    count_flow_windows,
    count_interest_rows,
    count_premium_hours,
    count_ratio_hours,
    count_settlements,
    need_market,
)
from kamou.errors import ConfigurationError, summarize_error

# After 500 bars a Wilder average of 14 no longer depends on its seed, (13/14)^500 < 2^-53, so a
# panel that is loaded again equals one that never stopped.
SEED_MEMORY_BARS = 500
# A panel keeps so many settlements more than a strategy reads, so that funding which is newer than
# the time of an evaluation takes no row from it.
LATER_SETTLEMENTS = 3
LATER_WINDOWS = 12  # the same of order flow: one hour
LATER_HOURS = 2  # the same of long/short ratios and of the premium index
# Modules of this package that are not strategies.
PARTS = frozenset({"base", "conformance", "declarations", "evaluation"})


class StrategyFactory(Protocol):
    """A callable that makes a strategy from frozen parameters, or from defaults."""

    def __call__(self, parameters: object = ..., /) -> Strategy: ...


def discover_strategies() -> dict[str, StrategyFactory]:
    """Return the factory of each strategy by file name, in alphabetical order.

    Raises:
        ConfigurationError: a file has no ``strategy``, or its import fails.
    """
    return {name: _factory(name) for name in list_names()}


def parameter_classes() -> dict[str, type[Parameters]]:
    """Return the class of each strategy's parameters, by file name.

    A strategy without parameters is left out. So is a file without a strategy, or whose import
    fails, so that settings can still be read; ``discover_strategies`` raises for it.
    """
    found: dict[str, type[Parameters]] = {}
    for name in list_names():
        with suppress(ConfigurationError):
            kind = getattr(_factory(name), "parameter_class", None)
            if kind is not None:
                found[name] = kind
    return found


def list_names() -> tuple[str, ...]:
    """Return the names of the strategy files of this package, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in names if name not in PARTS)


def _factory(name: str) -> StrategyFactory:
    try:
        module = importlib.import_module(f"{__name__}.{name}")
        return cast(StrategyFactory, module.strategy)
    except Exception as problem:
        raise ConfigurationError(
            f"the strategy file core/strategies/{name}.py cannot be loaded: {problem!r}; correct"
            " or remove this file"
        ) from problem


def make_strategies(
    enabled: Iterable[str],
    parameters: Mapping[str, object],
    others: Mapping[str, StrategyFactory] | None = None,
) -> dict[str, Strategy]:
    """Return the enabled strategies by name.

    Each is made with ``parameters[name]``, or with its defaults. ``others`` are the factories of
    strategies outside of this package.

    Raises:
        ConfigurationError: no strategy has the name of an enabled one, a strategy file cannot be
            loaded, or a strategy cannot be made.
    """
    known = discover_strategies() | dict(others or {})
    made: dict[str, Strategy] = {}
    for name in enabled:
        if name not in known:
            raise ConfigurationError(
                f"no strategy has the name {name!r}; correct it in strategies.enabled or in the"
                f" command, known strategies: {', '.join(known)}"
            )
        try:
            made[name] = known[name](parameters[name]) if name in parameters else known[name]()
        except (Exception, SystemExit) as problem:
            raise ConfigurationError(
                f"the strategy {name} cannot be made: {summarize_error(problem)}; correct its"
                " __init__"
            ) from problem
    return made


def need_funding(strategies: Iterable[Strategy]) -> bool:
    """Return True if one of the strategies reads funding rates."""
    return any(map(count_settlements, strategies))


def need_flow(strategies: Iterable[Strategy]) -> bool:
    """Return True if one of the strategies reads order flow."""
    return any(map(count_flow_windows, strategies))


def need_ratios(strategies: Iterable[Strategy]) -> bool:
    """Return True if one of the strategies reads long/short ratios."""
    return any(map(count_ratio_hours, strategies))


def need_premium(strategies: Iterable[Strategy]) -> bool:
    """Return True if one of the strategies reads the premium index."""
    return any(map(count_premium_hours, strategies))


def make_panel(
    strategies: Iterable[Strategy],
    symbols: Sequence[str],
    period_ms: int,
    regime: RegimeIndicator | None = None,
) -> Panel:
    """Return an empty panel for these strategies, and for the regime if one is given.

    It has the window and the indicators that they read. After ``panel.history_ms`` of closed bars,
    and of all other sources, every strategy is warm, and the regime knows all of its past days.
    """
    chosen = tuple(strategies)
    warmups = [s.warmup_bars(period_ms) + SEED_MEMORY_BARS for s in chosen]
    others = () if regime is None else (regime,)
    rows = (count_interest_rows(s.open_interest_span_ms) for s in chosen)
    panel = Panel(
        symbols,
        period_ms,
        max((2, *(s.lookback_bars(period_ms) for s in chosen))),
        dict.fromkeys((*(spec for s in chosen for spec in s.indicators), *others)),
        open_interest_rows=max((2, *rows)),
        history_bars=max((SEED_MEMORY_BARS, *warmups, *(each.history_bars for each in others))),
    )
    settlements = max((0, *map(count_settlements, chosen)))
    panel.keep_funding(settlements and settlements + LATER_SETTLEMENTS)
    windows = max((0, *map(count_flow_windows, chosen)))
    panel.keep_flow(windows and windows + LATER_WINDOWS)
    hours = max((0, *map(count_ratio_hours, chosen)))
    panel.keep_ratios(hours and hours + LATER_HOURS)
    hours = max((0, *map(count_premium_hours, chosen)))
    panel.keep_premium(hours and hours + LATER_HOURS)
    if any(map(need_market, chosen)):
        panel.keep_market()
    return panel
