"""States of the strategies at the gate, folded from ``GateChanged``."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import TradeClosed
from kamou.core.book.gate_events import DemotionLimits, GateChanged
from kamou.core.book.late_events import ResultCorrected
from kamou.core.day import DAY_MS, day_start_ms
from kamou.core.kinds import GateState

TRADING_STATES = (GateState.CANARY, GateState.LIVE)
"""States in which a strategy may trade real size."""


@attrs.frozen(kw_only=True)
class StrategyGate:
    """A strategy's state at the gate. A strategy without a change is in SHADOW."""

    state: GateState = GateState.SHADOW
    half_size: bool = False
    attempt: int = 1
    changes: int = 0  # events so far
    changed_at_ms: int = 0
    canary_at_ms: int = 0  # when it became a canary; 0 in SHADOW and HALTED
    # Shadow trades that opened before do not count for this attempt; 0: all count.
    from_ms: int = 0
    # Shadow trades that opened before, and count, are the reference of ``limits``.
    reference_until_ms: int = 0
    not_before_ms: int = 0  # no promotion before
    limits: DemotionLimits | None = None

    def is_followed_by(self, event: GateChanged) -> bool:
        """Return True if the event can be the strategy's next change."""
        follows = event.number == self.changes + 1 and event.from_state is self.state
        return follows and self.state is not GateState.HALTED


@attrs.frozen(kw_only=True)
class CanaryClose:
    """A closed trade that a strategy opened since it became a canary."""

    trade_id: str  # of the result; the id of its signal, and a number after a late fill
    opened_at_ms: int
    closed_at_ms: int
    r: Decimal | None  # None: a part of the trade had no plan


@attrs.define(kw_only=True)
class GateStates:
    """The strategies' states, and the trades that canaries closed."""

    strategies: dict[str, StrategyGate] = attrs.field(factory=dict)
    closes: dict[str, tuple[CanaryClose, ...]] = attrs.field(factory=dict)  # by strategy

    def find(self, strategy: str) -> StrategyGate:
        """Return the state of a strategy; SHADOW without a change."""
        return self.strategies.get(strategy, _FIRST)

    def change(self, event: GateChanged) -> None:
        """Apply a change; it must follow the strategy's newest one.

        Fresh data begin with the UTC day after a demotion, so that no block is divided.
        """
        before = self.find(event.strategy)
        assert before.is_followed_by(event), f"{event} after {before}"
        trades = event.to_state in TRADING_STATES
        enters = trades and before.state is GateState.SHADOW
        demoted = event.to_state is GateState.SHADOW
        if enters or not trades:
            self.closes.pop(event.strategy, None)
        self.strategies[event.strategy] = StrategyGate(
            state=event.to_state,
            half_size=event.half_size,
            attempt=event.attempt,
            changes=event.number,
            changed_at_ms=event.at_ms,
            canary_at_ms=(event.at_ms if enters else before.canary_at_ms) if trades else 0,
            from_ms=day_start_ms(event.at_ms) + DAY_MS if demoted else before.from_ms,
            reference_until_ms=(
                (event.until_ms if enters else before.reference_until_ms) if trades else 0
            ),
            not_before_ms=event.not_before_ms,
            limits=event.limits,
        )

    def close_trade(self, event: TradeClosed) -> None:
        """Keep a result of a canary, unless the trade opened before it was one."""
        gate = self.find(event.strategy)
        if gate.state is not GateState.CANARY or event.opened_at_ms < gate.canary_at_ms:
            return
        close = CanaryClose(
            trade_id=event.trade_id,
            opened_at_ms=event.opened_at_ms,
            closed_at_ms=event.closed_at_ms,
            r=event.r_multiple,
        )
        self.closes[event.strategy] = (*self.closes.get(event.strategy, ()), close)

    def correct_result(self, event: ResultCorrected) -> None:
        """Replace the R of a kept result; other results change nothing."""
        for strategy, closes in self.closes.items():
            if any(each.trade_id == event.trade_id for each in closes):
                self.closes[strategy] = tuple(
                    attrs.evolve(each, r=event.r_multiple)
                    if each.trade_id == event.trade_id
                    else each
                    for each in closes
                )


_FIRST = StrategyGate()
