"""``Announcer`` of trading states, commands, strategies, drift and flattens.

``state_lines`` makes the lines about committed events. All lines are for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from kamou.core.book.events import StateChanged, TradeClosed
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.model import TradingState
from kamou.core.words import count_words
from kamou.runs.state_lines import describe_event
from kamou.runtime.leveled_lines import warning_line
from kamou.store.journal import Committed


@attrs.define(eq=False)
class Announcer:
    """Announcer of the commits of a run that trades.

    ``currency`` is the account's currency, such as USDT.
    """

    announce: Callable[[str], None]
    book: Callable[[], PositionBook | None]  # the book as of the newest commit; None: unreadable
    currency: str
    refusal: str = ""  # why the governor denied the newest denied resume
    _flattening: bool = False
    _closed: list[TradeClosed] = attrs.Factory(list)  # trades that the flatten has closed

    def announce_commit(self, commits: Sequence[Committed]) -> None:
        """Announce each event that has a line, and the end of a flatten.

        A flatten ends once no trade is open and each closed trade has its result. If the book
        cannot be read, the end is announced after a later commit.
        """
        for committed in commits:
            event = committed.event
            if (line := describe_event(event)) is not None:
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
        if book is not None and not book.trades.open and not book.trades.finished:
            self._flattening = False
            self.announce(self._describe_end())

    def announce_remaining(self) -> None:
        """Announce the positions that a flatten has closed and left open, if any is left."""
        book = self.book() if self._flattening else None
        left = (
            0 if book is None else sum(1 for trade in book.trades.open.values() if trade.quantity)
        )
        if left:
            words = f"{count_words(left, 'position')} left, and closing goes on"
            self.announce(warning_line(f"flatten: {self._describe_closed()}; {words}"))

    def _describe_end(self) -> str:
        if not self._closed:
            return "flatten: no position was open"
        return f"flatten: {self._describe_closed()}; no position is left"

    def _describe_closed(self) -> str:
        """Return the number of closed positions, and their net PnL, fees and slippage."""
        if not self._closed:
            return "no position is closed yet"
        net, fees, slippage = (
            sum((getattr(each, name) for each in self._closed), Decimal(0))
            for name in ("pnl_net", "fees", "slippage")
        )
        count = count_words(len(self._closed), "position")
        unit = self.currency
        costs = f"fees of {fees:,.2f} {unit} and slippage of {slippage:,.2f} {unit}"
        return f"{count} closed, net PnL {net:+,.2f} {unit} after {costs}"
