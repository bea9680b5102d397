"""What the terminal hears of the journal: changes of what may trade, and what a flatten did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from kamou.core.book.events import StateChanged, TradeClosed
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.model import TradingState
from kamou.core.words import count_words
from kamou.runs.state_lines import event_line
from kamou.runtime.leveled_lines import warning_line
from kamou.store.journal import Committed


@attrs.define(eq=False)
class Announcer:
    """Hears every commit of a run that trades; ``book`` returns the book as of the newest one."""

    announce: Callable[[str], None]
    book: Callable[[], PositionBook | None]
    refusal: str = ""  # of the newest resume that was refused
    _flattening: bool = False
    _closed: list[TradeClosed] = attrs.Factory(list)  # since the flatten began

    def hear(self, done: Sequence[Committed]) -> None:
        """Announce what the commit changed."""
        for committed in done:
            event = committed.event
            if (line := event_line(event)) is not None:
                self.announce(line)
            match event:
                case CommandRecorded():
                    self.refusal = event.refusal or self.refusal
                case StateChanged():
                    self._flattening = event.after is TradingState.FLATTENING
                    self._closed = []
                case TradeClosed() if self._flattening:
                    self._closed.append(event)
                case _:
                    continue
        book = self.book() if self._flattening else None
        if book is not None and not book.trades and not book.finished:
            self._flattening = False
            self.announce(self._done())

    def tell_left(self) -> None:
        """Say what a flatten has not closed yet, if anything."""
        book = self.book() if self._flattening else None
        held = 0 if book is None else sum(1 for trade in book.trades.values() if trade.quantity)
        if held:
            left = f"{count_words(held, 'position')} left, and closing goes on"
            self.announce(warning_line(f"flatten: {self._sum()}; {left}"))

    def _done(self) -> str:
        if not self._closed:
            return "flatten: no position was open"
        return f"flatten: {self._sum()}; no position is left"

    def _sum(self) -> str:
        """How many were closed, and what that made and cost, entries included."""
        if not self._closed:
            return "no position is closed yet"
        net, fees, slippage = (
            sum((getattr(each, name) for each in self._closed), Decimal(0))
            for name in ("pnl_net", "fees", "slippage")
        )
        count = count_words(len(self._closed), "position")
        costs = f"fees {fees:,.2f} and slippage {slippage:,.2f} in it"
        return f"{count} closed, net PnL {net:+,.2f}, {costs}"
