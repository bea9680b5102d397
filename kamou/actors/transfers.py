"""What the reconciler reads to value a transfer: the bars that had ended when money was moved."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.actors.midnights import READS_MAX, SILENT, Marks, closes_at
from kamou.clock import floor_ms
from kamou.core.book.book import Book
from kamou.core.book.late_events import TransferValued
from kamou.core.model import Figure, Instrument
from kamou.core.reconciliation.venue_view import VenueView
from kamou.core.risk.midnights import MidnightMarks, OpeningRead, symbols_of
from kamou.core.risk.transfer_values import value_transfer
from kamou.exchange.base import ExchangePort


@attrs.define(kw_only=True)
class TransferValuer:
    """Values the transfers that nothing has valued yet. What the venue omits is read again."""

    port: ExchangePort
    period_ms: int  # of the bars
    instruments: Mapping[str, Instrument]
    tolerance: Decimal  # as in ``OpeningRead``

    async def value(self, book: Book, view: VenueView) -> tuple[TransferValued, ...]:
        """Return what can be valued by this look at the venue, oldest first.

        Args:
            book: with everything that the venue lists, agreeing with the look.
        """
        account = view.account
        read = OpeningRead(
            at_ms=account.at_ms,
            equity=account.equity,
            balance=account.balance,
            positions=view.positions,
            midnights=(),
            tolerance=self.tolerance,
        )
        history_ms = self.port.capabilities.history_ms
        found: list[TransferValued] = []
        bars: dict[int, Marks] = {}
        for at_ms in sorted(book.unvalued):
            ended_ms = floor_ms(at_ms, self.period_ms)
            if at_ms > read.at_ms or (history_ms is not None and at_ms < read.at_ms - history_ms):
                continue
            if ended_ms not in bars:
                if len(bars) == READS_MAX:
                    break
                bars[ended_ms] = await self._read(ended_ms)
            named = symbols_of(book, view.positions, at_ms) & bars[ended_ms].keys()
            marks = tuple(
                Figure(name=symbol, value=str(bars[ended_ms][symbol])) for symbol in sorted(named)
            )
            closes = MidnightMarks(at_ms=at_ms, marks=marks)
            valued = value_transfer(book, read, closes, self.instruments, marks_ms=ended_ms)
            if valued is not None:
                found.append(valued)
        return tuple(found)

    async def _read(self, ended_ms: int) -> Marks:
        try:
            return await closes_at(self.port, self.period_ms, ended_ms, self.instruments)
        except SILENT:
            return {}
