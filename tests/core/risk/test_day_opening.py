"""Payments and midnights that count in the opening of a day."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Figure, OrderSide
from kamou.core.risk.midnight_equity import missed_midnights, open_days, symbols_to_mark
from tests.core.risk.midnight_cases import MIDNIGHT, MIDNIGHTS, READ_MS, flat, looked
from tests.core.trading_cases import NOON, Story, income, mark, venue_position


def pay(story: Story, kind: str, amount: str, at_ms: int) -> None:
    story.say(e.IncomeRecorded(at_ms=READ_MS, income=income(kind, amount, at_ms)))


def trade(story: Story, symbol: str, at_ms: int) -> None:
    """Record a fill of an external order: 10 contracts at 100 for a fee of 0.5."""
    story.fill(None, "10", "100", symbol=symbol, side=OrderSide.BUY, at_ms=at_ms)


@pytest.mark.parametrize("waited", [False, True])
def test_no_day_opens_while_the_midnights_of_a_read_lack_todays(story: Story, waited: bool) -> None:
    """If a read of today opened an earlier day alone, that day would count as today."""
    assert missed_midnights(story.book, READ_MS) == MIDNIGHTS
    read = looked("9999", *map(flat, MIDNIGHTS[:-1]))
    assert open_days(story.book, read, waited=waited) == ()


def test_only_transfers_count_as_deposits_since_the_last_known_equity(story: Story) -> None:
    """Deposits of 500 follow 9,800; funding of 100 and a fee of 0.5 are losses."""
    story.say(mark("9800", NOON + 1_000))
    pay(story, "transfer", "500", MIDNIGHTS[1])
    pay(story, "funding", "-100", MIDNIGHTS[1])
    trade(story, "ETHUSDT", MIDNIGHTS[1])
    beyond = [flat(at_ms, source="", reachable=False) for at_ms in MIDNIGHTS]
    (opened,) = open_days(story.book, looked("10199.5", *beyond), waited=False)
    assert opened.opening == 10_300


def test_a_transfer_just_before_a_rebuilt_midnight_is_not_added_again_to_its_equity(
    story: Story,
) -> None:
    """The equity at 00:00 includes 500 deposited 1 ms before, not 70 deposited later."""
    pay(story, "transfer", "500", MIDNIGHTS[1] - 1)
    pay(story, "transfer", "70", MIDNIGHTS[1] + 1)
    unknown = flat(MIDNIGHTS[2], source="")
    read = looked("10570", flat(MIDNIGHTS[0]), flat(MIDNIGHTS[1]), unknown, equity="10450")
    *known, today = open_days(story.book, read, waited=True)
    assert [each.opening for each in known] == [10_000, 10_500]
    assert today.opening == 10_570


def test_without_a_known_equity_today_opens_with_the_equity_now() -> None:
    """The record began before 00:00 without an account read: only deposits are known."""
    story = Story()
    story.book.started_at_ms = NOON
    pay(story, "transfer", "20000", MIDNIGHTS[2] + 1)
    beyond = flat(MIDNIGHTS[2], source="", reachable=False)
    (opened,) = open_days(story.book, looked("9800", beyond), waited=False)
    assert (opened.opening, opened.at_midnight) == (Decimal(9_800), False)


def test_a_transfer_stamped_after_the_account_read_does_not_delay_the_opening(
    story: Story,
) -> None:
    """Only a fill can be in the account and not in the positions, or the reverse."""
    pay(story, "transfer", "500", READ_MS + 1)
    read = looked("9999", *map(flat, MIDNIGHTS))
    opened = open_days(story.book, read, waited=False)
    assert [each.opening for each in opened] == [9_999] * 3


def test_a_fill_stamped_with_the_account_read_does_not_delay_the_opening(story: Story) -> None:
    trade(story, "ETHUSDT", READ_MS)
    held = (venue_position("ETHUSDT", "10"),)
    marks = (Figure(name="ETHUSDT", value="100"),)
    midnights = (flat(at_ms, marks=marks) for at_ms in MIDNIGHTS)
    read = looked("9999.5", *midnights, positions=held)
    opened = open_days(story.book, read, waited=False)
    assert [each.opening for each in opened] == [10_000] * 3


def test_the_symbols_to_mark_at_a_midnight_are_those_held_now_or_traded_since_midnight(
    story: Story,
) -> None:
    trade(story, "XRPUSDT", MIDNIGHT - 1)
    trade(story, "ADAUSDT", MIDNIGHT)
    trade(story, "DOTUSDT", MIDNIGHT + 1)
    pay(story, "funding", "-1", MIDNIGHT + 1)
    held = (venue_position("ETHUSDT", "-3"),)
    assert symbols_to_mark(story.book, held, MIDNIGHT) == {"ETHUSDT", "ADAUSDT", "DOTUSDT"}
    assert symbols_to_mark(story.book, (), MIDNIGHT + 2) == set()


@pytest.mark.parametrize(
    ("started_at_ms", "missed"),
    [(0, ()), (MIDNIGHT - 1, (MIDNIGHT,)), (MIDNIGHT, (MIDNIGHT,)), (MIDNIGHT + 1, ())],
)
def test_the_first_midnight_of_a_record_is_one_at_or_after_its_start(
    started_at_ms: int, missed: tuple[int, ...]
) -> None:
    """A book without a run (0) has no midnight."""
    book = PositionBook(started_at_ms=started_at_ms)
    assert missed_midnights(book, MIDNIGHT + 60_000) == missed
