"""``MidnightReader``, which reads marks at midnights, and ``read_closes`` of bars.

The governor opens a UTC day with these marks. The reconciler uses the reader.
``actors/transfers.py`` also uses ``read_closes``, ``READS_MAX`` (for reads of its own) and
``NO_ANSWER``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.day import day_start_ms
from kamou.core.model import Figure, Instrument
from kamou.core.reconciliation.venue_view import VenueView
from kamou.core.risk.midnight_equity import (
    IN_TIME_MS,
    LAST_PRICE_BARS,
    MARK_READ,
    MidnightMarks,
    mark_of_bar,
    missed_midnights,
    symbols_to_mark,
    units_at,
)
from kamou.errors import RateLimitedError, UnreachableError
from kamou.exchange.base import ExchangePort

READS_MAX = 8  # instants that one reader reads in one pass; each reader counts its own
NO_ANSWER = UnreachableError, RateLimitedError

Marks = dict[str, Decimal]


@attrs.define(kw_only=True)
class MidnightReader:
    """The reader of the marks at midnights whose equity is not known yet.

    A bar with all needed closes is read once; otherwise the next pass reads it again. One pass
    reads at most ``READS_MAX`` bars, those of the newest midnights first. If closes of today's
    midnight are missing and at most ``IN_TIME_MS`` have passed since, quotes are read.
    """

    port: ExchangePort
    period_ms: int  # of the bars
    _closes: dict[int, Marks] = attrs.field(factory=dict, init=False)

    async def read(self, book: PositionBook, view: VenueView) -> tuple[MidnightMarks, ...]:
        """Return the marks of every missed midnight, oldest first; none if today is open.

        ``source`` is empty while a needed mark is missing. ``reachable`` is False for a midnight
        before the venue's history.

        Args:
            book: has all fills and positions that the venue lists.
            view: the venue's reports of this pass.
        """
        now_ms, positions = view.account.at_ms, view.positions
        missed = missed_midnights(book, now_ms)
        self._closes = {at_ms: marks for at_ms, marks in self._closes.items() if at_ms in missed}
        if not missed:
            return ()
        book = book.fork()  # the shared book goes on during the reads
        reads = READS_MAX
        found: list[MidnightMarks] = []
        for at_ms in reversed(missed):  # today's limits depend on the newest one
            history_ms = self.port.capabilities.history_ms
            if history_ms is not None and at_ms < now_ms - history_ms:
                found.append(MidnightMarks(at_ms=at_ms, reachable=False))
                continue
            needed = units_at(book, positions, at_ms).keys()
            symbols = symbols_to_mark(book, positions, at_ms)
            if not needed <= self._closes.get(at_ms, {}).keys() and reads:
                reads -= 1
                self._closes[at_ms] = await self._read_bar(at_ms, book.instruments)
            marks, source = self._closes.get(at_ms, {}), LAST_PRICE_BARS
            if not needed <= marks.keys() and at_ms == day_start_ms(now_ms):
                in_time = now_ms - at_ms <= IN_TIME_MS
                marks, source = await self._read_quotes(symbols) if in_time else {}, MARK_READ
            known = needed <= marks.keys()
            figures = tuple(
                Figure(name=symbol, value=str(marks[symbol]))
                for symbol in sorted(symbols & marks.keys())
            )
            found.append(MidnightMarks(at_ms=at_ms, marks=figures, source=source if known else ""))
        return tuple(reversed(found))

    async def _read_bar(self, at_ms: int, instruments: Mapping[str, Instrument]) -> Marks:
        try:
            return await read_closes(self.port, self.period_ms, at_ms, instruments)
        except NO_ANSWER:
            return {}

    async def _read_quotes(self, symbols: set[str]) -> Marks:
        """Return the marks of now by symbol; none if the read fails."""
        try:
            quotes = await self.port.quotes(tuple(sorted(symbols)))
        except NO_ANSWER:
            return {}
        return {symbol: quote.mark for symbol, quote in quotes.items() if quote.sound}


async def read_closes(
    port: ExchangePort, period_ms: int, at_ms: int, instruments: Mapping[str, Instrument]
) -> Marks:
    """Return by symbol the closes of the bars that end at ``at_ms``, rounded to ticks.

    A symbol without such a bar or an instrument, or with a close that is no price, is absent.

    Raises:
        UnreachableError, RateLimitedError: as the port.
    """
    bars = await port.bars(period_ms, at_ms - period_ms, at_ms)
    ends = bars.open_ms + bars.period_ms == at_ms
    if bars.period_ms != period_ms or not ends.any():
        return {}
    closes = bars.close[ends][-1]
    return {
        symbol: mark_of_bar(float(close), instruments[symbol].tick)
        for symbol, close in zip(bars.symbols, closes, strict=True)
        if symbol in instruments and 0 < close < float("inf")
    }
