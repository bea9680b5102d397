"""Equity at 00:00:00.000 UTC: a fact of the market, whenever somebody looks.

It is the wallet balance after all entries stamped before that instant, plus the positions that
these entries leave, each worth (mark - average entry) x contract size. It is computed backwards
from one read of the account: what was stamped at 00:00 or later is taken back. So an entry from
before the midnight need not be known, only what came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from kamou.core.book.book_state import BalanceChange, BookState, group_by_symbol
from kamou.core.book.events import DayOpened
from kamou.core.day import DAY_MS, day_start_ms, utc_day
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import ZERO, Figure, Instrument, VenuePosition

MARK_READ = "mark_read"  # marks read in the first minute of the day
LAST_PRICE_BARS = "last_price_bars"  # closes of the bars that end at 00:00, or before a transfer
MARK_HISTORY = "mark_history"  # the venue's mark prices of a transfer's own time
NOT_REBUILT = "not_rebuilt"  # the higher of the last known equity with deposits and equity now
IN_TIME_MS = 60_000  # a read so soon after 00:00 is the day's own; a later one rebuilds it
MISSED_MAX = 400  # midnights that are rebuilt; older ones are one stretch
WAIT_MS = 60_000  # for marks of 00:00, from the first read of a day: bars may come late


@attrs.frozen(kw_only=True)
class MidnightMarks:
    """The marks of one 00:00 of which no equity is known yet, or of a transfer's time."""

    at_ms: int
    marks: tuple[Figure, ...] = ()  # by symbol: what was held then, or traded since
    source: str = ""  # one of those above; empty: they are not known
    reachable: bool = True  # False: the venue does not list what happened since; then no source


@attrs.frozen(kw_only=True)
class OpeningRead:
    """One read of the account that days are opened with."""

    at_ms: int
    equity: Decimal
    wallet_balance: Decimal
    positions: tuple[VenuePosition, ...]
    midnights: tuple[MidnightMarks, ...]
    tolerance: Decimal = Decimal("0.02")  # of equity, between account and positions

    @property
    def complete(self) -> bool:
        """Whether the list of positions is the one that the account's equity was made of.

        They are read one after the other, so prices may move between them. A position that the
        list leaves out would be missing at midnight, too, and today's budget would be wrong by it.
        """
        unrealized_pnl = sum((p.unrealized_pnl for p in self.positions), ZERO)
        apart = self.equity - self.wallet_balance - unrealized_pnl
        return apart.is_finite() and abs(apart) <= self.tolerance * abs(self.equity)


def missed_midnights(book: BookState, now_ms: int) -> tuple[int, ...]:
    """Return each 00:00 since the day that was opened last, oldest first, until ``now_ms``.

    A record that began later today has no midnight: it opens its first day at its first read.
    """
    today_ms = day_start_ms(now_ms)
    if not book.day:
        return (today_ms,) if 0 < book.started_at_ms <= today_ms else ()
    missed = range(day_start_ms(book.day_opened_at_ms) + DAY_MS, today_ms + 1, DAY_MS)
    return tuple(missed[-MISSED_MAX:])


def symbols_of(book: BookState, positions: Iterable[VenuePosition], at_ms: int) -> set[str]:
    """Return what is held now or was traded since ``at_ms``."""
    traded = {p.symbol for p in book.payments.values() if p.symbol and p.at_ms >= at_ms}
    return traded | {p.symbol for p in positions if p.quantity}


def units_at(
    book: BookState,
    positions: Iterable[VenuePosition],
    at_ms: int,
    instruments: Mapping[str, Instrument],
) -> dict[str, Decimal]:
    """Return the positions that entries stamped before ``at_ms`` left, in the base currency.

    By symbol, signed, without those that are zero.

    Args:
        book: with every entry that the venue lists since ``at_ms``.
        positions: as they are now.
    """
    units = {p.symbol: p.quantity * _size(p.symbol, instruments) for p in positions}
    for paid in book.payments.values():
        if paid.symbol and paid.at_ms >= at_ms:
            units[paid.symbol] = units.get(paid.symbol, ZERO) - _units(paid, instruments)
    return {symbol: held for symbol, held in units.items() if held}


def equity_at(
    book: BookState,
    read: OpeningRead,
    midnight: MidnightMarks,
    instruments: Mapping[str, Instrument],
) -> Decimal | None:
    """Return the equity at ``midnight.at_ms``; None when something of it is not known.

    That is a mark, a size, an entry price, or a position that the list leaves out.

    Args:
        book: with every entry that the venue lists since the midnight.
    """
    if not read.complete:
        return None
    marks = group_by_symbol(midnight.marks)
    worth = ZERO
    for symbol, held in units_at(book, read.positions, midnight.at_ms, instruments).items():
        if symbol not in marks:
            return None
        worth += held * marks[symbol]
    # The account as if every position had been bought for cash: balance less what they cost.
    cash = read.wallet_balance
    for position in read.positions:
        if position.symbol not in instruments:
            return None
        size = instruments[position.symbol].contract_size
        cash -= position.quantity * size * position.entry_price
    for paid in book.payments.values():
        if midnight.at_ms <= paid.at_ms <= read.at_ms:
            if paid.contracts and paid.symbol not in instruments:
                return None
            cash -= paid.amount - _units(paid, instruments) * paid.price
    found = cash + worth
    return found if found.is_finite() else None


def open_days(
    book: BookState, read: OpeningRead, instruments: Mapping[str, Instrument], *, waited: bool
) -> tuple[DayOpened, ...]:
    """Return what opens today and every day that was missed; empty while marks may still come.

    If today's midnight cannot be rebuilt, today opens with the higher of the last known equity
    with the net deposits since, and the equity now: a loss is then counted at its largest.

    Args:
        waited: nobody waits any longer for marks that are not known.
    """
    today_ms = day_start_ms(read.at_ms)
    if any(paid.symbol and paid.at_ms > read.at_ms for paid in book.payments.values()):
        return ()  # account and positions were read one after the other: it may be in one of them
    if not missed_midnights(book, read.at_ms):
        return (_opened(book, read, MidnightMarks(at_ms=today_ms), None),)
    made: list[DayOpened] = []
    last_ms, last = book.day_last_ms, book.day_last_equity
    for midnight in read.midnights:
        opening = None
        if midnight.source:
            opening = equity_at(book, read, midnight, instruments)
        if opening is not None:
            made.append(_opened(book, read, midnight, opening))
            last_ms, last = midnight.at_ms - 1, opening
        elif midnight.reachable and not waited:
            return ()
        elif midnight.at_ms == today_ms:
            deposits = sum(
                (p.amount for p in book.payments.values() if p.transfer and p.at_ms > last_ms), ZERO
            )
            known = last + deposits if last_ms else read.equity
            midnight = MidnightMarks(at_ms=today_ms, source=NOT_REBUILT)
            made.append(_opened(book, read, midnight, max(known, read.equity)))
    if not made or made[-1].midnight_at_ms != today_ms:
        return ()  # the venue was looked at before this day began, or before the last one opened
    return tuple(made)


def mark_of_bar(price: float, tick: Decimal) -> Decimal:
    """Return a bar's price as the mark that it stands for: on the nearest tick."""
    return round_to_tick(Decimal(repr(price)), tick, ROUND_HALF_EVEN)


def _opened(
    book: BookState, read: OpeningRead, midnight: MidnightMarks, opening: Decimal | None
) -> DayOpened:
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
    """What a fill bought, of the base currency; of no known trade: in contracts of today."""
    return paid.units + paid.contracts * _size(paid.symbol, instruments)


def _size(symbol: str, instruments: Mapping[str, Instrument]) -> Decimal:
    instrument = instruments.get(symbol)
    return ZERO if instrument is None else instrument.contract_size
