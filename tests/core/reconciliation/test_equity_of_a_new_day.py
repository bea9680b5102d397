"""The equity that a cycle records before and after its UTC day has opened."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.core.book.events import EquityRecorded
from kamou.core.reconciliation.reconciliation import reconcile
from tests.core.trading_cases import DAY, NOON, Story, account, income
from tests.core.venue_views import INPUTS, NEXT_MS, look

MIDNIGHT = NOON - NOON % DAY + DAY


def recorded(story: Story, at_ms: int) -> EquityRecorded:
    """Return the equity snapshot of an account read at ``at_ms``, after a loss of 100."""
    paid = income("funding", "-100", at_ms - 1_000)
    view = look(account=account("9900", at_ms), income=(paid,), at_ms=at_ms)
    found = reconcile(story.book, view, INPUTS, cycle_at_ms=at_ms, now_ms=at_ms)
    (event,) = (each for each in found.marks if isinstance(each, EquityRecorded))
    return event


@pytest.mark.parametrize("at_ms", [NEXT_MS, MIDNIGHT - 1])
def test_an_equity_snapshot_has_the_figures_of_the_day_on_which_it_was_read(
    story: Story, at_ms: int
) -> None:
    event = recorded(story, at_ms)
    assert (event.equity, event.day_equity, event.day_lost) == (
        Decimal(9_900),
        Decimal(10_000),
        Decimal(100),
    )


@pytest.mark.parametrize("at_ms", [MIDNIGHT, MIDNIGHT + NOON % DAY])
def test_an_equity_snapshot_has_no_figures_of_the_day_until_that_day_has_opened(
    story: Story, at_ms: int
) -> None:
    """The opening and the loss of the day before do not apply to this day."""
    event = recorded(story, at_ms)
    assert (event.equity, event.day_equity, event.day_lost) == (Decimal(9_900), None, None)
