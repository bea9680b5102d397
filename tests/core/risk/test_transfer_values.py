"""Equity just before a transfer, compared with the venue's ledger."""

from __future__ import annotations

from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.late_events import TransferValued
from kamou.core.model import Figure
from kamou.core.risk.midnight_equity import (
    MARK_HISTORY,
    MidnightMarks,
    OpeningRead,
    open_days,
    symbols_to_mark,
)
from kamou.core.risk.transfer_values import value_transfer
from tests.core.risk.midnight_cases import (
    MIDNIGHTS,
    READ_MS,
    SYMBOLS,
    Entry,
    close,
    equity_by_definition,
    ledgers,
    marks_drawn,
    prices,
    read_of,
    record_entry,
    story_with_late_payments,
)
from tests.core.trading_cases import NOON, Story, income

BAR_MS = 900_000


@given(ledgers(), marks_drawn, st.data())
def test_every_transfer_is_valued_with_the_ledgers_equity_just_before_it(
    entries: list[Entry], marks: dict[int, dict[str, D]], data: st.DataObject
) -> None:
    story, late = story_with_late_payments(entries, data)
    read = read_of(story, entries, marks)
    moved = {x.at_ms for x in entries if x.transfer and x not in late}
    assert set(story.book.transfers.unvalued) == moved
    if data.draw(st.booleans(), label="the days open first"):
        story.say(*open_days(story.book, read, waited=False))
    assert set(story.book.transfers.unvalued) <= moved
    drawn = st.fixed_dictionaries(dict.fromkeys(SYMBOLS, prices))
    found: dict[int, TransferValued] = {}
    closes: dict[int, dict[str, D]] = {}
    for at_ms in tuple(story.book.transfers.unvalued):
        closes[at_ms] = data.draw(drawn, label="closes")
        found[at_ms] = valued(story, read, at_ms, closes[at_ms])
        story.say(found[at_ms])
    assert not story.book.transfers.unvalued
    for entry in late:
        record_entry(story, entry, known_ms=READ_MS + 60_000)
    corrected = story.book.transfers.pending_valuations(READ_MS + 61_000)
    story.say(*corrected)
    assert not story.book.transfers.pending_valuations(READ_MS + 62_000)
    found |= {each.transfer_at_ms: each for each in corrected}
    for at_ms, event in found.items():
        assert close(event.equity, equity_by_definition(entries, at_ms, closes[at_ms]))
        assert event.number == 1 + (event in corrected)


def valued(story: Story, read: OpeningRead, at_ms: int, closes: dict[str, D]) -> TransferValued:
    named = sorted(symbols_to_mark(story.book, read.positions, at_ms))
    marks = tuple(Figure(name=symbol, value=str(closes[symbol])) for symbol in named)
    event = value_transfer(
        story.book,
        read,
        MidnightMarks(at_ms=at_ms, marks=marks, source=MARK_HISTORY),
        marks_at_ms=at_ms - at_ms % BAR_MS,
    )
    assert event is not None
    assert event.rests_on == MARK_HISTORY
    return event


def test_a_transfer_before_the_first_equity_snapshot_needs_no_valuation() -> None:
    story = Story()
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "100", NOON - 1)))
    assert not story.book.transfers.unvalued


def test_a_transfer_without_a_known_mark_gets_no_valuation() -> None:
    story = Story()
    story.ready()
    entries = [
        Entry(NOON + 1, "SOLUSDT", D(5), D(100), D("-0.5")),
        Entry(NOON + 2, "", D(0), D(0), D(50), transfer=True),
    ]
    for entry in entries:
        record_entry(story, entry)
    read = read_of(story, entries, {at: dict.fromkeys(SYMBOLS, D(100)) for at in MIDNIGHTS})
    nothing = MidnightMarks(at_ms=NOON + 2)
    assert value_transfer(story.book, read, nothing, marks_at_ms=NOON) is None
