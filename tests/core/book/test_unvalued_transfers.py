"""Transfers that wait for a valuation."""

from __future__ import annotations

import pytest

from kamou.core.book import events as e
from kamou.core.book.late_events import TransferValued
from kamou.core.book.retention import OVERLAP_MS
from kamou.core.risk.midnight_equity import MARK_HISTORY
from tests.core.trading_cases import DAY, NOON, D, Story, income

DAY_START_MS = NOON - NOON % DAY
VALUED = TransferValued(
    at_ms=NOON + 9,
    transfer_at_ms=NOON + 1,
    number=1,
    equity=D(10_000),
    marks=(),
    marks_at_ms=NOON + 1,
    rests_on=MARK_HISTORY,
    read_at_ms=NOON + 8,
)


@pytest.mark.parametrize(
    ("since_ms", "waits"),
    [
        (-OVERLAP_MS - 1, False),
        (-OVERLAP_MS, True),
        (-1, True),
        (0, True),
        (OVERLAP_MS - 1, True),
        (OVERLAP_MS, True),
    ],
)
def test_a_transfer_waits_for_a_valuation_only_if_all_payments_since_it_are_known(
    story: Story, since_ms: int, waits: bool
) -> None:
    """The book has payments from 5 minutes before the day; venues list some late."""
    at_ms = DAY_START_MS + since_ms
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "100", at_ms)))
    assert (at_ms in story.book.transfers.unvalued) is waits


def test_a_second_transfer_of_the_same_millisecond_corrects_the_valuation_of_the_first(
    story: Story,
) -> None:
    """Both transfers have the same equity just before them, so one valuation serves both."""
    for amount in ("100", "70"):
        paid = income("transfer", amount, NOON + 1)
        story.say(e.IncomeRecorded(at_ms=NOON + 9, income=paid))
        if amount == "100":
            story.say(VALUED)
    assert story.book.transfers.unvalued == {}
    (corrected,) = story.book.transfers.pending_valuations(NOON + 10)
    assert (corrected.number, corrected.equity) == (2, D(9_930))


@pytest.mark.parametrize(("paid_ms", "equity"), [(0, None), (1, 10_003), (8, 10_003), (9, None)])
def test_a_late_payment_corrects_a_valuation_from_its_transfer_to_its_account_read(
    story: Story, paid_ms: int, equity: int | None
) -> None:
    """Transfer and read are at 1 and 8 ms after noon; both milliseconds belong to the span."""
    story.say(VALUED)
    late = income("funding", "-3", NOON + paid_ms)
    story.say(e.IncomeRecorded(at_ms=NOON + 9, income=late))
    found = [each.equity for each in story.book.transfers.pending_valuations(NOON + 10)]
    assert found == ([] if equity is None else [D(equity)])


@pytest.mark.parametrize(("since_ms", "waits"), [(-1, False), (0, True), (1, True)])
def test_a_transfer_waits_until_the_second_midnight_after_it(
    story: Story, since_ms: int, waits: bool
) -> None:
    """A transfer of the day that just ended still waits; an older one gets no valuation."""
    at_ms = DAY_START_MS + since_ms
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "100", at_ms)))
    assert at_ms in story.book.transfers.unvalued
    next_ms = DAY_START_MS + DAY
    story.say(e.DayOpened(at_ms=next_ms + 2_000, day="2024-01-02", equity=D(10_100)))
    assert (at_ms in story.book.transfers.unvalued) is waits
