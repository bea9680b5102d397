"""Random days of an account, and the loss of each day by its definition.

A history has reads of the venue, deposits, withdrawals and at most one position. The events are
those that reconciliation and the opening of days return. ``Ledger`` computes the same figures from
the venue's side alone, in fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal as D
from fractions import Fraction

import attrs
import numpy as np

from kamou.core.book import events as e
from kamou.core.day import utc_day
from kamou.core.kinds import IncomeKind, RunMode
from kamou.core.model import Account, Figure, Income, PositionReport
from kamou.core.reconciliation.reconciliation import ReconcileInputs, VenueView, reconcile
from kamou.core.risk.equity import CurrentEquity, current_equity
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.midnight_equity import (
    MARK_READ,
    MidnightMarks,
    OpeningRead,
    missed_midnights,
    open_days,
)
from kamou.core.risk.states import EquityRead
from kamou.store.journal import JournalWriter
from tests.core.trading_cases import INSTRUMENTS, Story, account, quote, venue_position

DAY = 86_400_000
FIRST_MIDNIGHT = 1_704_067_200_000  # 2024-01-01
SYMBOL = "SOLUSDT"
ENTRY = 100
COSTS, LIMITS = CostModel(), RiskLimits()
INPUTS = ReconcileInputs(parameters=TradingParameters(limits=LIMITS, costs=COSTS))
SIZE = INSTRUMENTS[SYMBOL].contract_size
EXIT_RATE = Fraction(max(INSTRUMENTS[SYMBOL].taker_fee, COSTS.taker_bps / 10_000)) + Fraction(
    COSTS.slippage_bps / 10_000
)


@attrs.define(kw_only=True)
class Ledger:
    """What the venue knows: its transfers, the position and the marks."""

    opening: Fraction
    quantity: Fraction  # contracts, signed; held from the first day to the last
    transfers: list[tuple[int, Fraction]] = attrs.field(factory=list)
    start: Fraction = Fraction(0)  # equity at 00:00 of the open day
    start_ms: int = 0  # transfers from this time on are net deposits of the day

    def wallet(self, until_ms: int) -> Fraction:
        """Return the wallet balance after all transfers stamped before ``until_ms``."""
        return self.opening + sum(amount for at, amount in self.transfers if at < until_ms)

    def equity(self, until_ms: int, mark: Fraction) -> Fraction:
        return self.wallet(until_ms) + self.quantity * Fraction(SIZE) * (mark - ENTRY)

    def exit_costs(self, mark: Fraction) -> Fraction:
        return abs(self.quantity) * Fraction(SIZE) * mark * EXIT_RATE

    def deposits(self, until_ms: int) -> Fraction:
        """Return the net deposits of the day that are stamped before ``until_ms``."""
        return Fraction(
            sum(amount for at, amount in self.transfers if self.start_ms <= at < until_ms)
        )

    def money_lost(self, until_ms: int, mark: Fraction) -> Fraction:
        """Return the day's loss with exit costs; negative after a profit."""
        missing = sum(amount for at, amount in self.transfers if until_ms <= at < self.start_ms)
        deposits = self.deposits(until_ms) - missing
        gained = self.equity(until_ms, mark) - self.start - deposits
        return self.exit_costs(mark) - gained

    def loss(self, until_ms: int, mark: Fraction) -> Fraction:
        return self.money_lost(until_ms, mark) / self.start


@attrs.frozen(kw_only=True)
class Look:
    """The state after one read: the read, and what Kamou knows."""

    story: Story
    ledger: Ledger
    read: EquityRead
    account: Account
    mark: Fraction
    read_ms: int  # all stamped before this time is in ``read``
    now_ms: int
    listed: bool  # True: the income list has a transfer that is newer than ``read``

    def now(self) -> CurrentEquity:
        """Return the equity that planner and rules use."""
        quotes = {SYMBOL: quote(SYMBOL, str(D(self.mark.numerator) / self.mark.denominator))}
        return current_equity(
            self.story.book,
            self.account,
            quotes if self.ledger.quantity else {},
            costs=COSTS,
            now_ms=self.now_ms,
        )


def draw_history(seed: int, journal: JournalWriter | None = None) -> Iterator[Look]:
    """Yield the state after each read of one random history in which a day is open."""
    yield from _History(_Draw(seed), journal).looks()


class _Draw:
    """Random draws of one seed."""

    def __init__(self, seed: int) -> None:
        self._draws = np.random.default_rng(seed)

    def choose(self, options: Sequence[int]) -> int:
        return options[self.between(0, len(options) - 1)]

    def between(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return int(self._draws.integers(low, high + 1))

    def chance(self, of: float) -> bool:
        return bool(self._draws.random() < of)


class _History:
    def __init__(self, draw: _Draw, journal: JournalWriter | None) -> None:
        self.draw = draw
        self.journal = journal
        self.story = Story()
        self.incomes: list[Income] = []
        self.at_ms = FIRST_MIDNIGHT + draw.choose((0, 1, 40_000_000))
        opening = draw.choose((0, 10_000, 10_000, 10_000, 9_876))
        quantity = draw.choose((0, 0, 500, -700)) if opening else 0
        self.ledger = Ledger(opening=Fraction(opening), quantity=Fraction(quantity))

    def looks(self) -> Iterator[Look]:
        self._say(
            e.RunStarted(
                at_ms=self.at_ms,
                run_number=1,
                mode=RunMode.DEMO,
                version="0",
                config_digest="",
                config_json="{}",
                change_reason="",
            )
        )
        for number in range(self.draw.between(4, 14)):
            look = self._read(number)
            if look is not None and self.story.book.day.equity > 0:
                yield look

    def _say(self, *events: e.Event) -> None:
        if self.journal is not None:
            self.journal.append(list(events))
        self.story.say(*events)

    def _pay(self, at_ms: int) -> None:
        """Deposit, or withdraw a part of the wallet balance."""
        free = self.ledger.wallet(2**62) - (4_000 if self.ledger.quantity else 0)
        amount = self.draw.choose((1_000, 10_000, 37, -1_000, -300, -int(free / 2)))
        if not amount or amount < -free:
            return
        self.ledger.transfers.append((at_ms, Fraction(amount)))
        self.incomes.append(
            Income(
                income_id=f"t{len(self.incomes)}",
                kind=IncomeKind.TRANSFER,
                symbol="",
                amount=D(amount),
                at_ms=at_ms,
            )
        )

    def _mark(self) -> Fraction:
        return Fraction(self.draw.between(9_000, 11_000), 100)

    def _read(self, number: int) -> Look | None:
        """Let time pass, with transfers in it, and read the venue once."""
        before_ms = self.at_ms
        self.at_ms += self.draw.choose((300_000, 300_000, 7_000, 20_000_000, DAY))
        midnight_ms = self.at_ms - self.at_ms % DAY
        times = [self.draw.between(before_ms + 1, self.at_ms - 1) for _ in range(3)]
        if before_ms < midnight_ms < self.at_ms:
            times.append(midnight_ms)
        count = self.draw.choose((0, 0, 1, 1, 2, 3))
        for at_ms in sorted({self.draw.choose(times) for _ in range(count)}):
            self._pay(at_ms)
        mark, read_ms = self._mark(), self.at_ms
        seen = account(
            str(_decimal(self.ledger.equity(read_ms, mark))),
            read_ms,
            wallet_balance=_decimal(self.ledger.wallet(read_ms)),
            unrealized_pnl=_decimal(
                self.ledger.equity(read_ms, mark) - self.ledger.wallet(read_ms)
            ),
        )
        late = self.draw.chance(0.2)
        if late:  # between the read of the account and that of the income
            self._pay(read_ms + 200)
        self.at_ms = now_ms = read_ms + 1_000
        held = self._position(mark)
        view = VenueView(
            account=seen,
            positions=held,
            open_orders=(),
            fills=(),
            income=tuple(self.incomes),
            at_ms=read_ms,
        )
        found = reconcile(self.story.book, view, INPUTS, cycle_at_ms=read_ms, now_ms=now_ms)
        self._say(*found.events)
        if utc_day(read_ms) > self.story.book.day.utc_day and number and self.draw.chance(0.8):
            self._open_days(seen, held, read_ms)
        if utc_day(read_ms) != self.story.book.day.utc_day:
            return None
        return Look(
            story=self.story,
            ledger=self.ledger,
            read=EquityRead(
                equity=seen.equity,
                at_ms=read_ms,
                exit_costs=_decimal(self.ledger.exit_costs(mark)),
                wallet_balance=seen.wallet_balance,
                positions=held,
            ),
            account=seen,
            mark=mark,
            read_ms=read_ms,
            now_ms=now_ms,
            listed=late,
        )

    def _position(self, mark: Fraction) -> tuple[PositionReport, ...]:
        if not self.ledger.quantity:
            return ()
        unrealized = self.ledger.quantity * Fraction(SIZE) * (mark - ENTRY)
        return (
            venue_position(
                SYMBOL,
                str(_decimal(self.ledger.quantity)),
                str(_decimal(mark)),
                unrealized_pnl=_decimal(unrealized),
            ),
        )

    def _open_days(self, seen: Account, held: tuple[PositionReport, ...], read_ms: int) -> None:
        """Open today and the missed days, with new marks at each midnight, or without any."""
        book = self.story.book
        rebuilt = self.draw.chance(0.8)
        marks = {at_ms: self._mark() for at_ms in missed_midnights(book, read_ms)}
        midnights = tuple(
            MidnightMarks(
                at_ms=at_ms,
                marks=(Figure(name=SYMBOL, value=str(_decimal(mark))),) if held else (),
                source=MARK_READ if rebuilt else "",
            )
            for at_ms, mark in marks.items()
        )
        last_ms, last = book.day.last_ms, Fraction(book.day.last_equity)
        opening = OpeningRead(
            at_ms=read_ms,
            equity=seen.equity,
            wallet_balance=seen.wallet_balance,
            positions=held,
            midnights=midnights,
        )
        opened = open_days(book, opening, waited=True)
        self._say(*opened)
        if not opened:
            return
        ledger, today_ms = self.ledger, read_ms - read_ms % DAY
        equity = Fraction(seen.equity)
        if not midnights:  # the first day: it begins with the first equity
            moved = sum(a for at, a in ledger.transfers if today_ms <= at <= read_ms)
            ledger.start, ledger.start_ms = equity - moved, today_ms
        elif rebuilt:
            ledger.start, ledger.start_ms = ledger.equity(today_ms, marks[today_ms]), today_ms
        else:  # without marks: the last equity plus transfers, or the read one if it is higher
            since = sum(a for at, a in ledger.transfers if at > last_ms)
            ledger.start = max(last + since if last_ms else equity, equity)
            ledger.start_ms = read_ms + 1
        if ledger.start <= 0:  # all equity was deposited since: the day begins with this read
            ledger.start, ledger.start_ms = equity, read_ms + 1


def _decimal(value: Fraction) -> D:
    return D(value.numerator) / D(value.denominator)
