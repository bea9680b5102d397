"""``TransferValuer``, which values each transfer with the marks of its time."""

from __future__ import annotations

from collections.abc import Set
from decimal import Decimal

import attrs

from kamou.actors.midnight_reader import NO_ANSWER, READS_MAX, Marks, read_closes
from kamou.clock import floor_ms
from kamou.core.book.late_events import TransferValued
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Figure
from kamou.core.reconciliation.venue_view import VenueView
from kamou.core.risk.midnight_equity import (
    LAST_PRICE_BARS,
    MARK_HISTORY,
    MidnightMarks,
    OpeningRead,
    symbols_to_mark,
    units_at,
)
from kamou.core.risk.transfer_values import value_transfer
from kamou.exchange.base import ExchangePort


@attrs.frozen(kw_only=True)
class _DatedMarks:
    """Prices, with their time and source."""

    marks: Marks
    at_ms: int  # of the prices
    source: str  # MARK_HISTORY or LAST_PRICE_BARS


@attrs.define(kw_only=True)
class TransferValuer:
    """The valuer of the transfers that have no value yet, for the reconciler.

    After a failed read or an omitted bar the next pass reads again. So the choice between marks and
    closes depends on the venue's lists, and not on a read that failed.
    """

    port: ExchangePort
    period_ms: int  # of the bars
    tolerance: Decimal  # as in ``OpeningRead``

    async def value(self, book: PositionBook, view: VenueView) -> tuple[TransferValued, ...]:
        """Return the valuations of this pass, oldest first, at most ``READS_MAX``.

        A transfer is left out if a read fails or a mark is missing, or if it is later than the
        account's read or older than the venue's history.

        Args:
            book: agrees with ``view`` and has all fills and positions that the venue lists.
            view: the venue's reports of this pass.
        """
        account = view.account
        read = OpeningRead(
            at_ms=account.at_ms,
            equity=account.equity,
            wallet_balance=account.wallet_balance,
            positions=view.positions,
            midnights=(),
            tolerance=self.tolerance,
        )
        history_ms = self.port.capabilities.history_ms
        found: list[TransferValued] = []
        bars: dict[int, Marks] = {}
        reads = 0
        for at_ms in sorted(book.transfers.unvalued):
            if at_ms > read.at_ms or (history_ms is not None and at_ms < read.at_ms - history_ms):
                continue
            if reads == READS_MAX:
                break
            reads += 1
            needed = units_at(book, view.positions, at_ms).keys()
            symbols = symbols_to_mark(book, view.positions, at_ms)
            try:
                dated = await self._marks(book, at_ms, needed, symbols, bars)
            except NO_ANSWER:
                break  # the next pass reads again
            figures = tuple(
                Figure(name=symbol, value=str(dated.marks[symbol]))
                for symbol in sorted(symbols & dated.marks.keys())
            )
            marks = MidnightMarks(at_ms=at_ms, marks=figures, source=dated.source)
            valued = value_transfer(book, read, marks, marks_at_ms=dated.at_ms)
            if valued is not None:
                found.append(valued)
        return tuple(found)

    async def _marks(
        self,
        book: PositionBook,
        at_ms: int,
        needed: Set[str],
        symbols: Set[str],
        bars: dict[int, Marks],
    ) -> _DatedMarks:
        """Return the venue's marks of ``at_ms``, or the closes of the bars that had ended.

        Args:
            needed: symbols of the positions that were open at ``at_ms``.
            symbols: these, and all that a late fill or payment may change.
            bars: closes that this pass has read, by their end; new ones are added.

        Raises:
            UnreachableError, RateLimitedError: as the port.
        """
        if self.port.capabilities.mark_history:
            listed = await self.port.marks_at(tuple(sorted(symbols)), at_ms) if symbols else {}
            marks = {symbol: mark for symbol, mark in listed.items() if _is_price(mark)}
            if needed <= marks.keys():
                return _DatedMarks(marks=marks, at_ms=at_ms, source=MARK_HISTORY)
        ended_ms = floor_ms(at_ms, self.period_ms)
        if ended_ms not in bars:
            bars[ended_ms] = await read_closes(
                self.port, self.period_ms, ended_ms, book.instruments
            )
        return _DatedMarks(marks=bars[ended_ms], at_ms=ended_ms, source=LAST_PRICE_BARS)


def _is_price(mark: Decimal) -> bool:
    """Return True for a finite number above zero."""
    return mark.is_finite() and mark > 0
