"""Trading state with its reason, and the disabled strategies."""

from __future__ import annotations

import attrs

from kamou.core.book.events import StateChanged
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import StateReason
from kamou.core.model import TradingState


@attrs.define(kw_only=True)
class TradingStatus:
    """Trading state with the time and reason of its last change; disabled strategies."""

    state: TradingState = TradingState.ACTIVE
    reason: StateReason | None = None  # None: the state never changed
    since_ms: int = 0
    disabled: dict[str, int] = attrs.field(factory=dict)  # strategy -> time
    resumed: dict[str, int] = attrs.field(factory=dict)  # strategy -> time of the newest resume

    def change_state(self, event: StateChanged) -> None:
        """Store the new trading state, its reason and its time."""
        self.state = event.after
        self.reason = event.reason
        self.since_ms = event.at_ms

    def disable_strategy(self, event: StrategyDisabled) -> None:
        """Add the strategy to the disabled ones."""
        self.disabled[event.strategy] = event.at_ms

    def resume_strategy(self, event: StrategyResumed) -> None:
        """Remove the strategy from the disabled ones, and store the time of the resume."""
        self.disabled.pop(event.strategy, None)
        self.resumed[event.strategy] = event.at_ms
