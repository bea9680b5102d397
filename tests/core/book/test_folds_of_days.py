"""Folds of opened days, transfers and runs."""

from __future__ import annotations

import attrs
import pytest

from kamou.core.book import events as e
from tests.core.trading_cases import (
    DAY,
    NOON,
    D,
    Story,
    closed_cycle,
    denials_elsewhere,
    equity_now,
    income,
    mark,
    plan,
)

PLAN = plan()


@pytest.mark.parametrize(("paid_ms", "of_the_new_day"), [(-1, False), (0, True), (1_000, True)])
def test_fees_and_funding_belong_to_the_new_day_from_its_midnight_on(
    story: Story, paid_ms: int, of_the_new_day: bool
) -> None:
    """The read that opens the day comes 2 s after 00:00, so it includes all of them."""
    midnight = NOON + DAY // 2
    story.open(PLAN, at_ms=midnight + paid_ms)  # a fee of 0.5
    funding = income("funding", "-2", midnight + paid_ms)
    story.say(
        e.IncomeRecorded(at_ms=midnight + 1_500, income=funding),
        e.DayOpened(at_ms=midnight + 2_000, day="2024-01-02", equity=D("9997.5")),
    )
    assert story.book.day.equity == (10000 if of_the_new_day else D("9997.5"))


def test_entries_are_denied_as_invalid_data_at_a_sizing_equity_of_zero(story: Story) -> None:
    paid = income("funding", "-10000", NOON + 100)
    story.say(e.IncomeRecorded(at_ms=NOON + 100, income=paid))
    assert equity_now(story.book).sizing_equity == 0
    assert denials_elsewhere(story)["DATA_INVALID"] == "DATA_INVALID: what=equity"


@pytest.mark.parametrize(
    ("moved_ms", "net_deposits"), [(-1, 0), (0, 500), (1_000, 500), (2_000, 500)]
)
def test_a_transfer_is_a_net_deposit_of_the_new_day_from_its_midnight_on(
    story: Story, moved_ms: int, net_deposits: int
) -> None:
    midnight = NOON + DAY // 2
    moved = income("transfer", "500", midnight + moved_ms)
    story.say(
        e.IncomeRecorded(at_ms=midnight + 2_500, income=moved),
        e.DayOpened(at_ms=midnight + 2_000, day="2024-01-02", equity=D(10500)),
    )
    assert story.book.day.net_deposits == net_deposits
    assert story.book.day.equity == 10500 - net_deposits


@pytest.mark.parametrize(("since_read_at_ms", "net_deposits"), [(-1, 0), (0, 0), (1, 500)])
def test_a_day_that_is_not_opened_at_its_midnight_counts_only_transfers_after_its_read(
    story: Story, since_read_at_ms: int, net_deposits: int
) -> None:
    read_at_ms = NOON + DAY
    moved = income("transfer", "500", read_at_ms + since_read_at_ms)
    opened = e.DayOpened(
        at_ms=read_at_ms,
        day="2024-01-02",
        equity=D(10500),
        opening=D(10500),
        at_midnight=False,
        midnight_at_ms=NOON + DAY // 2,
    )
    story.say(e.IncomeRecorded(at_ms=read_at_ms + 500, income=moved), opened)
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(10500), D(net_deposits))


@pytest.mark.parametrize(("fill_ms", "known"), [(-1, True), (0, False), (1_000, False)])
def test_an_equity_snapshot_includes_only_losses_before_its_read(
    story: Story, fill_ms: int, known: bool
) -> None:
    """The fill is recorded first; the account read may be earlier or later than it."""
    _, stop = story.open(PLAN, at_ms=NOON - 10_000)
    read_at_ms = NOON + 5_000
    story.fill(stop, "100", "97", at_ms=read_at_ms + fill_ms)  # 30 of price and 0.5 of fee
    story.say(mark("9999", read_at_ms))
    assert equity_now(story.book).equity == (9999 if known else D("9968.5"))


@pytest.mark.parametrize(
    ("moved", "begins_with", "net_deposits"), [("600", 500, 0), ("500", 500, 0), ("499", 1, 499)]
)
def test_a_day_begins_with_its_read_only_if_all_its_equity_was_paid_in_since_midnight(
    story: Story, moved: str, begins_with: int, net_deposits: int
) -> None:
    midnight = NOON + DAY // 2
    paid_in = income("transfer", moved, midnight + 1_000)
    story.say(
        e.IncomeRecorded(at_ms=midnight + 1_500, income=paid_in),
        e.DayOpened(at_ms=midnight + 2_000, day="2024-01-02", equity=D(500)),
    )
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(begins_with), D(net_deposits))


def test_the_start_of_the_first_run_is_kept_through_later_runs(story: Story) -> None:
    first_ms = story.book.started_at_ms
    first = next(x for x in story.events if isinstance(x, e.RunStarted))
    later = attrs.evolve(first, at_ms=NOON + DAY, run_number=2)
    story.say(later)
    assert story.book.started_at_ms == first_ms


def test_a_denial_before_the_first_opened_day_shows_none_as_the_day() -> None:
    fresh = Story()
    fresh.say(closed_cycle())
    assert denials_elsewhere(fresh)["NOT_RECONCILED"] == "NOT_RECONCILED: day=none today=2024-01-01"


def test_a_day_that_was_opened_later_counts_from_its_own_midnight(story: Story) -> None:
    """The read that opens 2024-01-02 comes 2 days and 1 min after its midnight."""
    midnight = NOON + DAY // 2
    moved = income("transfer", "500", midnight + 3_600_000)
    opened = e.DayOpened(
        at_ms=midnight + 2 * DAY + 60_000,
        day="2024-01-02",
        equity=D(10500),
        opening=D(10000),
        midnight_at_ms=midnight,
    )
    story.say(e.IncomeRecorded(at_ms=midnight + 2 * DAY, income=moved), opened)
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(10000), D(500))


def test_each_day_that_one_read_opens_counts_the_transfers_since_its_own_midnight(
    story: Story,
) -> None:
    """The read comes days later; the opening of the first day keeps what the second needs."""
    midnights = [NOON + DAY // 2, NOON + DAY // 2 + DAY]
    read_at_ms = midnights[1] + 2 * DAY + 60_000
    for midnight, amount in zip(midnights, ("500", "70"), strict=True):
        moved = income("transfer", amount, midnight + 3_600_000)
        story.say(e.IncomeRecorded(at_ms=read_at_ms, income=moved))
    found = []
    for midnight, day in zip(midnights, ("2024-01-02", "2024-01-03"), strict=True):
        opened = e.DayOpened(
            at_ms=read_at_ms,
            day=day,
            equity=D(10570),
            opening=D(10000),
            midnight_at_ms=midnight,
        )
        story.say(opened)
        found.append(story.book.day.net_deposits)
    assert found == [570, 70]
