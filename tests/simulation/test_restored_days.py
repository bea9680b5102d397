"""The simulator's checkers count the day of a restored journal as the book does.

Seed 1000448: the backup knew of no day, and 9,361 USDT were withdrawn before the day was opened.
The position book computed the day's limit from the equity before that withdrawal, as it does for a
later withdrawal. The checkers took the limit of the 492 USDT that were left.
"""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS
from kamou.core.kinds import IncomeKind
from kamou.core.model import Income
from kamou.core.risk.limits import RiskLimits
from kamou.simulator.invariants.day_loss import DayLoss
from kamou.simulator.invariants.observed import Observed
from kamou.simulator.invariants.outside_changes import OutsideChanges
from kamou.simulator.invariants.venue_records import reopen_day
from kamou.venue.checker import Checker, CheckLimits, never_excused
from kamou.venue.limit_checker import LimitChecker, PortfolioLimits
from kamou.venue.state import MoneyAudit, MoneyKind

D = Decimal
MIDNIGHT_MS = 20_000 * DAY_MS
NOON_MS = MIDNIGHT_MS + DAY_MS // 2
READ_MS = NOON_MS + 240_000  # of the account, for the opening of the day
OPENED_MS = READ_MS + 500  # when that is in the journal

WITHOUT_MIDNIGHT = e.DayOpened(
    at_ms=READ_MS, day="2024-10-04", equity=D(0), midnight_at_ms=MIDNIGHT_MS
)
OF_THE_READ = attrs.evolve(WITHOUT_MIDNIGHT, opening=D(0), at_midnight=False)
REBUILT = attrs.evolve(WITHOUT_MIDNIGHT, opening=D(10_000), rests_on="last_price_bars")

# Paid in and lost before the opening, the day's equity by the journal, its net deposits; USDT.
CASES = [
    pytest.param(WITHOUT_MIDNIGHT, -9_000, 0, 10_000, -9_000, id="withdrawn"),
    pytest.param(WITHOUT_MIDNIGHT, 9_000, 0, 10_000, 9_000, id="deposited"),
    pytest.param(WITHOUT_MIDNIGHT, -9_000, 150, 9_850, -9_000, id="a forgotten loss"),
    pytest.param(WITHOUT_MIDNIGHT, 9_000, 10_000, 9_000, 0, id="all of it paid in"),
    pytest.param(OF_THE_READ, -9_000, 150, 850, 0, id="no midnight rebuilt"),
    pytest.param(REBUILT, -9_000, 150, 10_000, -9_000, id="midnight rebuilt"),
]


def money(kind: MoneyKind, at_ms: int, amount: int) -> MoneyAudit:
    return MoneyAudit(at_ms=at_ms, kind=kind, symbol="", amount=D(amount))


def evidence(paid_in: int, lost: int) -> list[MoneyAudit]:
    """Return the venue's records of an account of 10,000 until the day is opened."""
    return [
        money(MoneyKind.OPENING, NOON_MS, 10_000),
        money(MoneyKind.FUNDING, NOON_MS + 1, -lost),
        money(MoneyKind.TRANSFER, NOON_MS + 60_000, paid_in),
    ]


def listed(paid_in: int) -> e.IncomeRecorded:
    """Return the event that records the transfer of ``paid_in``."""
    income = Income(
        income_id="paid",
        kind=IncomeKind.TRANSFER,
        symbol="",
        amount=D(paid_in),
        at_ms=NOON_MS + 60_000,
    )
    return e.IncomeRecorded(at_ms=NOON_MS + 61_000, income=income)


def opened(event: e.DayOpened, paid_in: int, lost: int) -> e.DayOpened:
    """Return ``event`` with the equity of the account read, also as opening unless at midnight."""
    equity = D(10_000 + paid_in - lost)
    opening = equity if event.opening is not None and not event.at_midnight else event.opening
    return attrs.evolve(event, equity=equity, opening=opening)


@pytest.mark.parametrize(("event", "paid_in", "lost", "day_equity", "net_deposits"), CASES)
def test_the_limit_checker_counts_a_restored_day_from_the_equity_of_the_journal(
    event: e.DayOpened, paid_in: int, lost: int, day_equity: int, net_deposits: int
) -> None:
    checker = Checker(CheckLimits())
    limits = checker.portfolio = LimitChecker(
        limits=PortfolioLimits(
            daily_loss=D("0.04"),
            open_risk=D(1),
            cluster=D(1),
            shock_move=D(0),
            notional=D(1),
            margin=D(1),
            entries_per_hour=1,
            reentries_per_day=1,
        ),
        mark_at=lambda symbol, at_ms: None,
        leverage_of=lambda client_order_id: 1,
        strategy_of=lambda client_order_id: "",
        on_violation=lambda rule, at_ms, symbol, detail: None,
    )
    for noted in evidence(paid_in, lost):
        checker.take(noted)
    reopen_day(limits, checker, opened(event, paid_in, lost), OPENED_MS)
    assert (limits.day_equity, limits._net_deposits) == (D(day_equity), D(net_deposits))


def restored(paid_in: int, lost: int, book: PositionBook) -> DayLoss:
    """Return the day's loss of a simulation with the restored ``book``."""
    observed = Observed(
        engine=cast(Any, SimpleNamespace(market_ms=OPENED_MS)),
        limits=RiskLimits(),
        excused_ms=never_excused,
        outside=OutsideChanges(never_excused, age_max_ms=900_000),
    )
    made = DayLoss(observed, lambda rule, at_ms, symbol, detail: None)
    for noted in evidence(paid_in, lost):
        made.record_audit(noted)
    made.restore_book(book)
    return made


@pytest.mark.parametrize(("event", "paid_in", "lost", "day_equity", "net_deposits"), CASES)
def test_the_simulator_counts_the_loss_of_a_restored_day_from_the_equity_of_the_journal(
    event: e.DayOpened, paid_in: int, lost: int, day_equity: int, net_deposits: int
) -> None:
    day = restored(paid_in, lost, PositionBook())
    day.open_day(opened(event, paid_in, lost))
    assert (day.equity, day.net_deposits) == (D(day_equity), D(net_deposits))


@pytest.mark.parametrize("event", [WITHOUT_MIDNIGHT, OF_THE_READ])
def test_a_transfer_between_the_read_and_its_commit_is_in_the_days_net_deposits(
    event: e.DayOpened,
) -> None:
    day = restored(0, 0, PositionBook())
    day.record_audit(money(MoneyKind.TRANSFER, READ_MS + 1, 500))
    day.open_day(opened(event, 0, 0))
    assert (day.equity, day.net_deposits) == (D(10_000), D(500))


@pytest.mark.parametrize("paid_in", [-9_000, 500])
def test_a_transfer_that_only_a_restored_opening_has_is_in_the_days_net_deposits(
    paid_in: int,
) -> None:
    """The position book takes the transfer out of the opening once the venue lists it."""
    book = PositionBook()
    book.apply_all([(1, opened(WITHOUT_MIDNIGHT, paid_in, 0))])
    assert (book.day.equity, book.day.net_deposits) == (D(10_000 + paid_in), D(0))
    day = restored(paid_in, 0, book)
    assert (day.equity, day.net_deposits) == (D(10_000), D(paid_in))
    book.apply_all([(2, listed(paid_in))])
    assert (book.day.equity, book.day.net_deposits) == (D(10_000), D(paid_in))


@pytest.mark.parametrize(("event", "paid_in", "lost", "day_equity", "net_deposits"), CASES[:5])
def test_the_position_book_counts_a_restored_day_from_the_equity_of_the_journal(
    event: e.DayOpened, paid_in: int, lost: int, day_equity: int, net_deposits: int
) -> None:
    """The cases have the figures that the position book computes from the events."""
    book = PositionBook()
    book.apply_all(enumerate((listed(paid_in), opened(event, paid_in, lost)), 1))
    assert (book.day.equity, book.day.net_deposits) == (D(day_equity), D(net_deposits))
