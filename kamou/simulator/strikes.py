"""Strikes of the faults that change the set-up, by what happened."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.monitor import Monitor
from kamou.simulator.settings import BINDS, MORE_STRATEGIES, NARROW

_LATER = (
    Veto.REGIME_EXCLUDED,
    Veto.SPREAD_WIDE,
    Veto.DEPTH_LOW,
    Veto.FUNDING_NEAR,
    Veto.VELOCITY_PAUSE,
    Veto.HOUR_LOSING,
    Veto.SYMBOL_LOSING,
    Veto.WIN_RATE_LOW,
)
"""Codes of the vetoes that only ``all_vetoes`` asks."""


def count_strikes(chaos: Chaos, monitor: Monitor) -> None:
    """Add to ``chaos`` the strikes that follow from the coverage at the end."""
    seen = monitor.coverage
    counts = {
        FaultName.PARTIAL_FILLS: seen["partial fills"],
        FaultName.TIGHT_LIMITS: monitor.bound_by_risk,
        FaultName.DAY_END: seen["DayOpened"] - 1,
        FaultName.ALL_STRATEGIES: sum(seen[f"signals {name}"] for name in MORE_STRATEGIES),
        FaultName.ALL_VETOES: sum(seen[f"vetoed {code}"] for code in _LATER),
    }
    for name in NARROW:
        counts[name] = sum(seen[f"bound {limit}"] for limit in BINDS[name])
    for name in counts.keys() & chaos.on:
        chaos.struck[name] += counts[name]
