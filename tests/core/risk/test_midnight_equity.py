"""Equity at 00:00 UTC, rebuilt backwards and compared with the venue's ledger."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.late_events import DayCorrected
from kamou.core.book.position_book import PositionBook
from kamou.core.day import utc_day
from kamou.core.model import Figure, OrderSide
from kamou.core.risk.midnight_equity import (
    NOT_REBUILT,
    equity_at,
    mark_of_bar,
    missed_midnights,
    open_days,
    symbols_to_mark,
)
from tests.core.risk.midnight_cases import (
    MIDNIGHT,
    MIDNIGHTS,
    READ_MS,
    Entry,
    close,
    equity_by_definition,
    flat,
    ledgers,
    looked,
    marks_drawn,
    read_of,
    record_entry,
    story_with_late_payments,
)
from tests.core.trading_cases import (
    DAY,
    NOON,
    Story,
    income,
    instrument,
    mark,
    plan,
    venue_position,
)


@given(ledgers(), marks_drawn, st.data())
def test_every_missed_midnight_has_the_equity_that_the_ledger_gives_at_its_marks(
    entries: list[Entry], marks: dict[int, dict[str, D]], data: st.DataObject
) -> None:
    story, late = story_with_late_payments(entries, data)
    read = read_of(story, entries, marks)
    assert tuple(m.at_ms for m in read.midnights) == MIDNIGHTS
    opened = open_days(story.book, read, waited=False)
    assert [each.day for each in opened] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    story.say(*opened)
    assert (story.book.day.utc_day, story.book.day.opened_at_ms) == ("2024-01-04", READ_MS)
    for entry in late:
        record_entry(story, entry, known_ms=READ_MS + 60_000)
    corrected = story.book.midnights.pending_corrections(READ_MS + 61_000)
    story.say(*corrected)
    assert not story.book.midnights.pending_corrections(READ_MS + 62_000)
    published = {each.day: each.opening for each in opened}
    published |= {each.day: each.equity for each in corrected}
    for at_ms in MIDNIGHTS:
        found = published[utc_day(at_ms)]
        assert found is not None
        assert close(found, equity_by_definition(entries, at_ms, marks[at_ms]))
    # The governor counts from the published equity.
    today = equity_by_definition(entries, MIDNIGHTS[-1], marks[MIDNIGHTS[-1]])
    assert close(story.book.day.equity, today)
    paid = [x.amount for x in entries if x.transfer and x.at_ms >= MIDNIGHTS[-1]]
    assert story.book.day.net_deposits == sum(paid)


@pytest.mark.parametrize(("unrealized_pnl", "left_out"), [("-250", "-250"), ("250", "250")])
def test_a_read_is_complete_only_if_its_positions_make_up_its_equity(
    unrealized_pnl: str, left_out: str
) -> None:
    """A list that omits a loss is as wrong as one that omits a gain."""
    shown = venue_position("SOLUSDT", "10", unrealized_pnl=D(unrealized_pnl))
    hidden = venue_position("ETHUSDT", "10", unrealized_pnl=D(left_out))
    read = attrs.evolve(looked("10000"), wallet_balance=D(10_000) - D(unrealized_pnl) - D(left_out))
    assert attrs.evolve(read, positions=(shown, hidden)).complete
    assert not attrs.evolve(read, positions=(shown,)).complete


def test_a_position_of_zero_needs_no_mark(story: Story) -> None:
    gone, held = venue_position("SOLUSDT", "0"), venue_position("ETHUSDT", "-3")
    assert symbols_to_mark(story.book, (gone, held), MIDNIGHT) == {"ETHUSDT"}


# --- single cases -----------------------------------------------------------------------------


def test_a_loss_between_midnight_and_a_late_start_counts_against_today(story: Story) -> None:
    """The mark was 98 at midnight, the stop filled at 95, Kamou started at 06:05."""
    _, stop = story.open(plan(), at_ms=NOON)  # 10 units at 100: 0.5 in fees
    story.fill(stop, "100", "95", at_ms=MIDNIGHTS[2] + 10_800_000)
    marks = (Figure(name="SOLUSDT", value="98"),)
    read = looked("9949.0", *(flat(at_ms, marks=marks) for at_ms in MIDNIGHTS))
    opened = open_days(story.book, read, waited=False)
    assert [each.opening for each in opened] == [D("9979.5")] * 3
    story.say(*opened)
    assert story.book.day.equity - D("9949.0") == D("30.5")  # 30 from the mark, 0.5 in fees


def test_a_payment_stamped_exactly_at_midnight_belongs_to_the_day_that_begins(story: Story) -> None:
    for at_ms, amount in ((MIDNIGHT - 1, "-1"), (MIDNIGHT, "-10"), (MIDNIGHT + 1, "-100")):
        story.say(e.IncomeRecorded(at_ms=READ_MS, income=income("funding", amount, at_ms)))
    read = looked("9889", *map(flat, MIDNIGHTS))
    opened = open_days(story.book, read, waited=False)
    assert [each.opening for each in opened] == [D(9999), D(9889), D(9889)]


def test_the_gain_of_external_fills_after_midnight_is_subtracted_from_the_midnight_equity(
    story: Story,
) -> None:
    """External orders gained 60 on 30 units of ETH after midnight, with fees of 1."""
    for side, price in ((OrderSide.BUY, "100"), (OrderSide.SELL, "102")):
        at_ms = MIDNIGHTS[2] + 5_000
        story.fill(None, "300", price, symbol="ETHUSDT", side=side, at_ms=at_ms)
    read = looked("10059", *map(flat, MIDNIGHTS))
    opened = open_days(story.book, read, waited=False)
    assert opened[-1].opening == 10_000
    story.book.instruments["ETHUSDT"] = instrument("ETHUSDT", contract_size=D("0.2"))
    assert equity_at(story.book, read, flat(MIDNIGHTS[2])) == 9_940


def test_no_day_opens_with_an_account_read_older_than_a_fill(story: Story) -> None:
    story.open(plan(), at_ms=READ_MS + 1)
    read = looked("10000", *map(flat, MIDNIGHTS))
    assert open_days(story.book, read, waited=True) == ()


def test_fills_listed_late_correct_the_equity_of_their_midnights_by_events(story: Story) -> None:
    """Half of the position was sold at 99 and bought back at 97."""
    story.open(plan(), at_ms=NOON)  # 10 units at 100: 0.5 in fees
    marks = (Figure(name="SOLUSDT", value="98"),)
    held = (venue_position("SOLUSDT", "100", entry_price=D("98.5")),)
    midnights = (flat(at_ms, marks=marks) for at_ms in MIDNIGHTS)
    read = looked("9993.5", *midnights, positions=held)
    story.say(*open_days(story.book, read, waited=False))
    at_ms = MIDNIGHTS[1] + 1_000
    for side, price in ((OrderSide.SELL, "99"), (OrderSide.BUY, "97")):
        done = story.fill(None, "50", price, symbol="SOLUSDT", side=side, at_ms=at_ms)
    first, second = story.book.midnights.pending_corrections(READ_MS + 5_000)
    # Sold 5 units above the mark and bought them below it: 10 gained, 1 in fees.
    assert (first.day, first.number, second.day) == ("2024-01-02", 1, "2024-01-03")
    assert first.before - first.equity == second.before - second.equity == 9
    assert first.cause_id == done.key
    story.say(first, second)
    assert story.book.midnights.pending_corrections(READ_MS) == ()
    record_entry(story, Entry(MIDNIGHTS[2], "", D(0), D(0), D(-3)), known_ms=READ_MS + 9_000)
    corrected = {x.day: x.number for x in story.book.midnights.pending_corrections(READ_MS)}
    assert corrected == {"2024-01-02": 2, "2024-01-03": 2, "2024-01-04": 1}
    assert first.equity == second.equity == D("9979.5")
    # Before the payment the balance was 9,996.5; 10 units bought at 98.5 were worth 98 each.
    assert story.book.day.equity == D("9993.5") + 3 - 5


def test_a_day_waits_for_the_mark_of_its_midnight_and_then_opens_as_not_rebuilt(
    story: Story,
) -> None:
    story.open(plan(), at_ms=NOON)
    nothing = [flat(at_ms, source="") for at_ms in MIDNIGHTS]
    held = (venue_position("SOLUSDT", "100"),)
    read = looked("9999.5", *nothing, equity="9900", positions=held)
    assert open_days(story.book, read, waited=False) == ()
    marks = (Figure(name="SOLUSDT", value="98"),)
    unlisted = story.book.fork()
    unlisted.instruments = {}
    assert equity_at(unlisted, read, flat(MIDNIGHT, marks=marks)) is None
    (opened,) = open_days(story.book, read, waited=True)
    assert (opened.day, opened.rests_on, opened.at_midnight) == ("2024-01-04", NOT_REBUILT, False)


def test_a_position_list_that_omits_a_position_rebuilds_no_midnight(
    story: Story,
) -> None:
    """The equity of 10,300 has 300 of unrealized PnL; the position list is empty."""
    marks = (Figure(name="SOLUSDT", value="98"),)
    midnights = [flat(at_ms, marks=marks) for at_ms in MIDNIGHTS]
    read = looked("10000", *midnights, equity="10300")
    assert equity_at(story.book, read, midnights[-1]) is None
    assert open_days(story.book, read, waited=False) == ()
    (opened,) = open_days(story.book, read, waited=True)
    assert (opened.at_midnight, opened.opening, opened.equity) == (False, D(10300), D(10300))


@pytest.mark.parametrize("price", ["NaN", "Infinity"])
def test_the_equity_at_a_midnight_is_unknown_if_a_mark_is_not_finite(
    story: Story, price: str
) -> None:
    marks = (Figure(name="SOLUSDT", value=price),)
    held = (venue_position("SOLUSDT", "100", unrealized_pnl=D(0)),)
    read = looked("10000", *(flat(at_ms, marks=marks) for at_ms in MIDNIGHTS), positions=held)
    assert equity_at(story.book, read, read.midnights[-1]) is None


@pytest.mark.parametrize(
    "field", ["quantity", "entry_price", "mark_price", "margin", "unrealized_pnl"]
)
def test_a_position_report_with_an_invalid_number_raises(field: str) -> None:
    """The report checks its numbers, so that no other module has to."""
    sound = venue_position("SOLUSDT", "100")
    wrong = ["NaN", "Infinity", *(["0", "-1"] if field == "mark_price" else [])]
    for price in wrong:
        changes: dict[str, Any] = {field: D(price)}
        with pytest.raises(AssertionError, match="SOLUSDT"):
            attrs.evolve(sound, **changes)


def test_the_equity_at_a_midnight_is_unknown_if_a_fill_has_no_instrument(story: Story) -> None:
    """The value of its contracts is unknown: 10 were sold at 100 after the midnight."""
    story.fill(
        None, "10", "100", symbol="GONEUSDT", side=OrderSide.SELL, at_ms=MIDNIGHTS[2] + 1_000
    )
    read = looked("10000", *map(flat, MIDNIGHTS))
    assert equity_at(story.book, read, read.midnights[-1]) is None


@pytest.mark.parametrize(
    ("known", "paid_in", "now", "opening"),
    [("9800", "500", "10100", 10300), ("9800", "-500", "9400", 9400), ("9800", "0", "9700", 9800)],
)
def test_beyond_the_venues_history_today_opens_with_the_higher_equity(
    story: Story, known: str, paid_in: str, now: str, opening: int
) -> None:
    """One is the last known equity plus net deposits since, the other the equity now."""
    story.say(mark(known, NOON + 1_000))
    moved = income("transfer", paid_in, MIDNIGHTS[1])
    story.say(e.IncomeRecorded(at_ms=READ_MS, income=moved), mark(now, READ_MS))
    beyond = [flat(at_ms, source="", reachable=False) for at_ms in MIDNIGHTS]
    read = looked(now, *beyond)
    (opened,) = open_days(story.book, read, waited=False)
    assert (opened.opening, opened.rests_on, opened.at_midnight) == (D(opening), NOT_REBUILT, False)
    story.say(opened)
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(opening), D(0))
    late = income("transfer", "70", MIDNIGHTS[2])  # stamped before the read, listed after it
    story.say(e.IncomeRecorded(at_ms=READ_MS + 5, income=late))
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(opening), D(0))
    story.say(e.IncomeRecorded(at_ms=0, income=income("transfer", "7", READ_MS + 1)))
    assert story.book.day.net_deposits == 7


def test_the_last_known_equity_may_be_that_of_a_midnight_that_was_rebuilt(story: Story) -> None:
    moved = income("transfer", "500", MIDNIGHTS[1])  # 2024-01-03 00:00
    story.say(mark("9800", NOON + 1_000), e.IncomeRecorded(at_ms=READ_MS, income=moved))
    unknown = flat(MIDNIGHTS[2], source="")
    read = looked("10200", flat(MIDNIGHTS[0]), flat(MIDNIGHTS[1]), unknown, equity="10000")
    *known, today = open_days(story.book, read, waited=True)
    assert [each.opening for each in known] == [9700, 9700]
    assert (today.opening, today.at_midnight) == (D(10_200), False)


def test_only_midnights_within_the_venues_history_are_rebuilt(story: Story) -> None:
    beyond = flat(MIDNIGHTS[0], source="", reachable=False)
    read = looked("9999", beyond, flat(MIDNIGHTS[1]), flat(MIDNIGHTS[2]))
    opened = open_days(story.book, read, waited=False)
    assert [each.day for each in opened] == ["2024-01-03", "2024-01-04"]
    assert all(each.at_midnight for each in opened)


def test_a_read_without_midnights_opens_no_day_while_midnights_are_missed(story: Story) -> None:
    assert open_days(story.book, looked("9999"), waited=True) == ()


def test_the_first_day_of_a_record_opens_with_its_first_read() -> None:
    story = Story(book=PositionBook(started_at_ms=MIDNIGHT + 3_600_000))
    read = attrs.evolve(looked("5"), at_ms=MIDNIGHT + 3_606_000)
    (opened,) = open_days(story.book, read, waited=False)
    assert (opened.opening, opened.day, opened.equity) == (None, "2024-01-02", D(5))
    assert missed_midnights(story.book, MIDNIGHT + DAY + 1) == (
        MIDNIGHT + DAY,
    )  # the first day did not open in time


def test_a_loaded_snapshot_has_the_same_pending_day_corrections(story: Story) -> None:
    story.say(*open_days(story.book, looked("9999", *map(flat, MIDNIGHTS)), waited=False))
    record_entry(story, Entry(MIDNIGHTS[2], "", D(0), D(0), D(-3)), known_ms=READ_MS + 9_000)
    loaded = PositionBook.load(story.book.dump())
    assert loaded.midnights.pending_corrections(1) == story.book.midnights.pending_corrections(1)
    assert all(isinstance(x, DayCorrected) for x in loaded.midnights.pending_corrections(1))


def test_the_close_of_a_bar_becomes_a_mark_on_the_tick() -> None:
    assert mark_of_bar(0.1 + 0.2, D("0.01")) == D("0.30")
    assert mark_of_bar(61_981.0, D("0.1")) == D("61981.0")
