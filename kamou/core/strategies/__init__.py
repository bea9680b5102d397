"""T1: strategies, one file each. The file is the registration: it ends in ``strategy = ...``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.strategies.base import Strategy
from kamou.errors import ConfigurationError

# After so many bars an average of 14 has forgotten its seed to the last bit, (13/14)^500 < 2^-53,
# so a panel that was loaded anew agrees with one that never stopped.
SEED_MEMORY_BARS = 500
BASE_MODULE = "base"  # the vocabulary of this package, not a strategy


class StrategyFactory(Protocol):
    """A class that makes the strategy from its frozen parameters, or from their defaults."""

    def __call__(self, parameters: object = ..., /) -> Strategy: ...


def discover() -> dict[str, StrategyFactory]:
    """Every strategy file's factory by file name, in alphabetical order.

    Raises:
        ConfigurationError: a file does not end in ``strategy = ...``, or does not import.
    """
    found: dict[str, StrategyFactory] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        if name == BASE_MODULE:
            continue
        try:
            module = importlib.import_module(f"{__name__}.{name}")
            found[name] = cast(StrategyFactory, module.strategy)
        except Exception as problem:
            raise ConfigurationError(
                f"strategy file {name}.py gives no strategy: {problem!r}"
            ) from problem
    return found


def make(enabled: Iterable[str], parameters: Mapping[str, object]) -> dict[str, Strategy]:
    """The enabled strategies by name, each with its ``parameters[name]`` or its defaults.

    Raises:
        ConfigurationError: no file has that name.
    """
    known = discover()
    made: dict[str, Strategy] = {}
    for name in enabled:
        if name not in known:
            raise ConfigurationError(f"unknown strategy {name!r}; there are {', '.join(known)}")
        made[name] = known[name](parameters[name]) if name in parameters else known[name]()
    return made


def panel_for(strategies: Iterable[Strategy], symbols: Sequence[str], period_ms: int) -> Panel:
    """A panel as deep as these strategies look back, keeping the states that they read.

    Feed it ``panel.history_ms`` of closed bars and open interest to find every strategy warm.
    """
    chosen = tuple(strategies)
    span_ms = max((s.interest_span_ms for s in chosen), default=0)
    return Panel(
        symbols,
        period_ms,
        max((s.lookback_bars(period_ms) for s in chosen), default=2),
        dict.fromkeys(spec for s in chosen for spec in s.indicators),
        interest_rows=span_ms // INTEREST_PERIOD_MS + 2,
        history_bars=max((s.warmup_bars(period_ms) for s in chosen), default=0) + SEED_MEMORY_BARS,
    )
