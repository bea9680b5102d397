"""Figures of a change at the gate, computed again for invariant 15."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil

import attrs

from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateReason, GateState
from kamou.simulator.invariants import gate_arithmetic as again
from kamou.simulator.invariants.gate_arithmetic import SeenShadow

E_VALUE_OF_CANARY, E_VALUE_OF_LIVE = 20, 120  # of the first attempt
_CLOSES_OF_LIVE = 30
_SHORTFALL_OF_LIVE = Fraction(1, 10)  # R
_COOLDOWN_MS = 7 * DAY_MS
_PRINTED = 1e-5  # relative tolerance: an event has six digits
_STEP = Fraction(1, 1_000_000)  # R, to which limits are rounded up


@attrs.frozen(kw_only=True)
class SeenPair:
    """R of a canary's closed trade and of the shadow trade of the same signal."""

    real: Decimal
    shadow: Decimal


@attrs.frozen(kw_only=True)
class CountedTrades:
    """What a change rests on, by the journal before it."""

    attempt: int  # before the change
    shadows: Sequence[SeenShadow]  # that count, of this attempt
    monitored: Sequence[SeenShadow]  # of these, since the strategy became a canary
    pairs: Sequence[SeenPair]
    limits: DemotionLimits | None  # before the change
    equity: float  # money
    from_ms: int

    @property
    def needed_factor(self) -> int:
        """Factor of the e-values that this attempt needs."""
        return int(2 ** (self.attempt - 1))

    @property
    def shortfall(self) -> Fraction | None:
        """Mean R by which real trades are below their shadows; None without a pair."""
        if not self.pairs:
            return None
        lost = sum((Fraction(each.shadow) - Fraction(each.real) for each in self.pairs), Fraction())
        return lost / len(self.pairs)

    @property
    def canary_is_as_good(self) -> bool:
        """True for 30 pairs whose real results are at most 0.10 R below their shadows."""
        short = self.shortfall
        enough = len(self.pairs) >= _CLOSES_OF_LIVE
        return enough and short is not None and short <= _SHORTFALL_OF_LIVE


def expected_figures(event: GateChanged, counted: CountedTrades) -> Mapping[str, object]:
    """Return the figures that the event must have, by name; none for ruin."""
    match event.reason:
        case GateReason.RUIN:
            return {}
        case GateReason.ROLLING_MEAN:
            return {"rolling_mean": again.recent_mean(counted.shadows), "threshold": 0}
        case GateReason.CANARY_EARNED:
            shadows = counted.shadows
            return {
                "e_value_blocks": again.bet_on_blocks(shadows),
                "threshold": E_VALUE_OF_CANARY * counted.needed_factor,
                "blocks": len(again.block_means(shadows)),
                "symbols": len({each.symbol for each in shadows}),
                "sharpe": again.daily_sharpe(shadows, counted.equity, counted.from_ms),
                "usd_per_100": again.usd_per_100(shadows),
            }
        case GateReason.LIVE_EARNED:
            return {
                "e_value_blocks": again.bet_on_blocks(counted.shadows),
                "threshold": E_VALUE_OF_LIVE * counted.needed_factor,
                "canary_closes": len(counted.pairs),
                "shortfall": counted.shortfall,
            }
        case GateReason.CUSUM | GateReason.DRAWDOWN:
            if counted.limits is None:
                return {}
            mean = counted.limits.reference_mean
            cusum, fall = again.follow_losses(counted.monitored, mean)
            if event.reason is GateReason.CUSUM:
                return {"cusum": cusum, "threshold": counted.limits.cusum}
            return {"drawdown": fall, "threshold": counted.limits.drawdown}


def find_wrong_figures(event: GateChanged, counted: CountedTrades) -> Iterator[str]:
    """Yield each figure, limit and cooldown of a due change that is wrong."""
    said = {each.name: each.value for each in event.figures}
    for name, right in expected_figures(event, counted).items():
        text = said.get(name, "")
        if not _agree(text, right):
            yield f"{name} {text!r} instead of {right}"
    yield from _find_wrong_limits(event, counted)


def _find_wrong_limits(event: GateChanged, counted: CountedTrades) -> Iterator[str]:
    limits, trading = event.limits, event.to_state in (GateState.CANARY, GateState.LIVE)
    if event.reason is GateReason.CANARY_EARNED:
        mean = Decimal(ceil(again.mean_r(counted.shadows) / _STEP)) * Decimal("0.000001")
        if limits is None or limits.reference_mean != mean:
            yield f"limits {limits} of a record with a mean of {mean} R"
        elif min(limits.cusum, limits.drawdown) < 0:
            yield f"limits {limits}, of which one is below 0"
    elif limits != (counted.limits if trading else None):
        yield f"limits {limits} instead of {counted.limits if trading else None}"
    if event.to_state is GateState.SHADOW and event.not_before_ms < event.at_ms + _COOLDOWN_MS:
        yield f"a cooldown until {event.not_before_ms} after a demotion at {event.at_ms}"


def _agree(text: str, right: object) -> bool:
    """Return True if a printed figure is this value, within its digits."""
    if not isinstance(right, float | Fraction | Decimal):
        return text == str(right)
    try:
        said = float(text)
    except ValueError:
        return False
    return abs(said - float(right)) <= _PRINTED * max(abs(float(right)), 1e-9)
