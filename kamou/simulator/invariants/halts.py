"""Invariant 10, halts: commands reach the journal, and a halt stops entries.

A flatten leaves no position, and one resume never leads from flattening to trading.
"""

from __future__ import annotations

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Intent, TradingState
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.venue.violations import HardRule

OBEYED_AFTER_MS = 20_000  # from an operator's command to its event in the journal, with crashes
FLAT_AFTER_MS = 60_000  # from FLATTENING in the journal to no position


@attrs.define
class Halts:
    """The checks of the trading state and of its required effects."""

    observed: Observed
    report: ReportViolation
    _ordered: tuple[TradingState, int] | None = None  # (state of a command, at_ms)
    _flatten_ms: int | None = None  # when FLATTENING was committed

    def expect_state(self, state: TradingState, now_ms: int) -> None:
        """Expect a command's trading state if it is more severe than the present one."""
        if state.severity > self.observed.state.severity:
            self._ordered = (state, now_ms)

    def forget_command(self) -> None:
        """Forget a command of the operator that the ended process did not commit."""
        self._ordered = None

    def restore_book(self, book: PositionBook) -> None:
        """Continue with the book of a restored journal."""
        flattening = book.trading.state is TradingState.FLATTENING
        self._flatten_ms = self.observed.engine.market_ms if flattening else None

    def check_change(self, event: e.StateChanged) -> None:
        """Check a committed change of the trading state."""
        now_ms, before, after = self.observed.engine.market_ms, event.before, event.after
        if self._ordered is not None and after.severity >= self._ordered[0].severity:
            self._ordered = None
        self._flatten_ms = now_ms if after is TradingState.FLATTENING else None
        if before is TradingState.FLATTENING and after.entries_allowed:
            self.report(HardRule.RESUMED, now_ms, "", f"from {before} to {after}")

    def check_entry(self, intent: Intent, now_ms: int) -> None:
        """Check that the trading state allows an entry that is about to be sent."""
        state = self.observed.state
        if not state.entries_allowed:
            detail = f"{intent.client_order_id}: an entry was sent in {state}"
            self.report(HardRule.HALTED, now_ms, intent.symbol, detail)

    def check_overdue(self, now_ms: int) -> None:
        """Report a command that is not in the journal, and positions after a flatten."""
        excused_ms, held_since = self.observed.excused_ms, self.observed.held_since
        if self._ordered is not None:
            state, at_ms = self._ordered
            if now_ms - at_ms > OBEYED_AFTER_MS + excused_ms("", at_ms, now_ms):
                self._ordered = None
                detail = f"no {state} for {now_ms - at_ms} ms"
                self.report(HardRule.DISOBEYED, now_ms, "", detail)
        if self._flatten_ms is not None and held_since:
            # An external order may open a position later, so each position has its own minute.
            since_ms = max(self._flatten_ms, min(held_since.values()))
            if now_ms - since_ms > FLAT_AFTER_MS + excused_ms("", since_ms, now_ms):
                self._flatten_ms = None
                detail = f"open positions: {sorted(held_since)}"
                self.report(HardRule.NOT_FLAT, now_ms, "", detail)
