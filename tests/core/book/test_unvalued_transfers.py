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
