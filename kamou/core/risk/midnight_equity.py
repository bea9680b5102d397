"""Equity at 00:00:00.000 UTC, from a later account read, and the opening of days.

The equity is the wallet balance after all fills and payments stamped before that instant, plus the
unrealized PnL of the positions open then: signed contracts x contract size x (mark - average entry
price). It is computed backwards: fills and payments stamped 00:00 or later are subtracted from the
read, so those from before the midnight need not be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.events import DayOpened
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS, day_start_ms, utc_day
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import ZERO, Figure, Instrument, PositionReport

MARK_READ = "mark_read"  # source of marks: a read in the first minute of the day
LAST_PRICE_BARS = "last_price_bars"  # source: closes of the last bars before 00:00 or a transfer
MARK_HISTORY = "mark_history"  # source: the venue's mark prices at the time of a transfer
NOT_REBUILT = "not_rebuilt"  # no marks were found, see ``open_days``
IN_TIME_MS = 60_000  # a read within this time of 00:00 has marks of 00:00
MISSED_MAX = 400  # number of the newest missed midnights whose days are opened
WAIT_MS = 60_000  # waiting time for marks of 00:00, from the day's first read


@attrs.frozen(kw_only=True)
class MidnightMarks:
    """Mark prices at a 00:00 or a transfer whose equity is not known yet."""

    at_ms: int
    marks: tuple[Figure, ...] = ()  # of symbols open then or traded since, named by symbol
    source: str = ""  # MARK_READ, LAST_PRICE_BARS, MARK_HISTORY, NOT_REBUILT; empty: no marks yet
    reachable: bool = True  # False: the venue no longer lists the fills since; no marks can come


@attrs.frozen(kw_only=True)
class OpeningRead:
    """One read of the account, from which days are opened."""

    at_ms: int
    equity: Decimal
    wallet_balance: Decimal
    positions: tuple[PositionReport, ...]
    midnights: tuple[MidnightMarks, ...]  # of days that are not open, oldest first
    tolerance: Decimal = Decimal("0.02")  # of equity, between account and positions

    @property
    def complete(self) -> bool:
        """True if the positions explain the account's equity within ``tolerance``.

        Account and positions are read one after the other, so prices may move in between. A
        position that the list omits would make the equity at midnight, and so the daily budget,
        wrong.
        """
        unrealized_pnl = sum((p.unrealized_pnl for p in self.positions), ZERO)
        apart = self.equity - self.wallet_balance - unrealized_pnl
        return apart.is_finite() and abs(apart) <= self.tolerance * abs(self.equity)


def missed_midnights(book: PositionBook, now_ms: int) -> tuple[int, ...]:
    """Return the time of each 00:00 UTC after the last opened day until ``now_ms``.

    The times are in ms since the Unix epoch, oldest first. At most the newest ``MISSED_MAX`` are
    returned. Before the first day opens, only today's 00:00 can be missed. If the record began
    after that time, the result is empty, because its first day opens with its first read.
    """
    today_ms = day_start_ms(now_ms)
    if not book.day.utc_day:
        return (today_ms,) if 0 < book.started_at_ms <= today_ms else ()
    missed = range(day_start_ms(book.day.opened_at_ms) + DAY_MS, today_ms + 1, DAY_MS)
    return tuple(missed[-MISSED_MAX:])


def symbols_to_mark(
    book: PositionBook, positions: Iterable[PositionReport], at_ms: int
) -> set[str]:
    """Return the symbols with an open position now or a fill since ``at_ms``."""
    traded = {p.symbol for p in book.payments.values() if p.symbol and p.at_ms >= at_ms}
    return traded | {p.symbol for p in positions if p.quantity}


def units_at(
    book: PositionBook,
    positions: Iterable[PositionReport],
    at_ms: int,
) -> dict[str, Decimal]:
    """Return the positions just before ``at_ms`` by symbol, in signed base units.

    Symbols without a position are absent. A position without an instrument counts as 0.

    Args:
        book: a book with every fill and payment that the venue lists since ``at_ms``.
        positions: the positions now.
    """
    units = {p.symbol: p.quantity * _size(p.symbol, book.instruments) for p in positions}
    for paid in book.payments.values():
        if paid.symbol and paid.at_ms >= at_ms:
            units[paid.symbol] = units.get(paid.symbol, ZERO) - _units(paid, book.instruments)
    return {symbol: held for symbol, held in units.items() if held}


def equity_at(
    book: PositionBook,
    read: OpeningRead,
    midnight: MidnightMarks,
) -> Decimal | None:
    """Return the equity at ``midnight.at_ms``, money; None if a part is unknown.

    A mark or a contract size may be unknown or not finite, or the venue's list of positions may not
    explain the equity (``OpeningRead.complete``).

    Args:
        book: a book with every fill and payment that the venue lists since the midnight.
    """
    if not read.complete:
        return None
    marks = group_by_symbol(midnight.marks)
    worth = ZERO
    for symbol, held in units_at(book, read.positions, midnight.at_ms).items():
        if symbol not in marks:
            return None
        worth += held * marks[symbol]
    # Wallet balance less the cost of all positions, as if they had been paid in cash.
    cash = read.wallet_balance
    for position in read.positions:
        if position.symbol not in book.instruments:
            return None
        size = book.instruments[position.symbol].contract_size
        cash -= position.quantity * size * position.entry_price
    for paid in book.payments.values():
        if midnight.at_ms <= paid.at_ms <= read.at_ms:
            if paid.contracts and paid.symbol not in book.instruments:
                return None
            cash -= paid.amount - _units(paid, book.instruments) * paid.price
    found = cash + worth
    return found if found.is_finite() else None


def open_days(book: PositionBook, read: OpeningRead, *, waited: bool) -> tuple[DayOpened, ...]:
    """Return the events that open today and missed days, or none while marks may come.

    If no midnight was missed, the read opens the record's first day. If the equity at today's
    midnight cannot be computed, today opens with the higher of two figures, because it gives the
    larger loss of the day: the last known equity plus the net deposits since, and the equity of the
    read. Other days whose equity cannot be computed are left out. There are no events either if the
    book has a fill after the read, or if the read is from before today.

    Args:
        waited: True if the time to wait for unknown marks (``WAIT_MS``) is over.
    """
    today_ms = day_start_ms(read.at_ms)
    if any(paid.symbol and paid.at_ms > read.at_ms for paid in book.payments.values()):
        return ()  # account and positions are read in turn, so only one may include the fill
    if not missed_midnights(book, read.at_ms):
        return (_make_opening(read, MidnightMarks(at_ms=today_ms), None),)
    made: list[DayOpened] = []
    last_ms, last = book.day.last_ms, book.day.last_equity
    for midnight in read.midnights:
        opening = None
        if midnight.source:
            opening = equity_at(book, read, midnight)
        if opening is not None:
            made.append(_make_opening(read, midnight, opening))
            last_ms, last = midnight.at_ms - 1, opening
        elif midnight.reachable and not waited:
            return ()
        elif midnight.at_ms == today_ms:
            deposits = sum(
                (p.amount for p in book.payments.values() if p.transfer and p.at_ms > last_ms), ZERO
            )
            known = last + deposits if last_ms else read.equity
            midnight = MidnightMarks(at_ms=today_ms, source=NOT_REBUILT)
            made.append(_make_opening(read, midnight, max(known, read.equity)))
    if not made or made[-1].midnight_at_ms != today_ms:
        return ()  # the read is from before this day, or before the last opening
    return tuple(made)


def mark_of_bar(price: float, tick: Decimal) -> Decimal:
    """Return a bar's price as a mark price, rounded to the nearest tick, ties to even."""
    return round_to_tick(Decimal(repr(price)), tick, ROUND_HALF_EVEN)


def _make_opening(read: OpeningRead, midnight: MidnightMarks, opening: Decimal | None) -> DayOpened:
    day = utc_day(midnight.at_ms)
    return DayOpened(
        at_ms=read.at_ms,
        cause_id=day,
        day=day,
        equity=read.equity,
        marks=midnight.marks,
        opening=opening,
        midnight_at_ms=midnight.at_ms,
        rests_on=midnight.source,
        at_midnight=midnight.source != NOT_REBUILT,
    )


def _units(paid: BalanceChange, instruments: Mapping[str, Instrument]) -> Decimal:
    """Return the base units of a fill, signed.

    If no known trade has the fill, the contract size of now is used.
    """
    return paid.units + paid.contracts * _size(paid.symbol, instruments)


def _size(symbol: str, instruments: Mapping[str, Instrument]) -> Decimal:
    instrument = instruments.get(symbol)
    return ZERO if instrument is None else instrument.contract_size
