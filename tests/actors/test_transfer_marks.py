"""Marks and bars that the reconciler reads to value a transfer."""

from __future__ import annotations

from decimal import Decimal as D
from typing import cast

import pytest

from kamou.actors.transfers import TransferValuer
from kamou.core.book import events as e
from kamou.core.model import Figure
from kamou.core.reconciliation.venue_view import VenueView
from kamou.core.risk.midnight_equity import LAST_PRICE_BARS, MARK_HISTORY
from kamou.exchange.base import ExchangePort
from tests.actors.bars_port import HOUR, Port
from tests.core.trading_cases import NOON, Story, account, income, venue_position

READ = NOON + 3 * HOUR


def valuer(port: Port) -> TransferValuer:
    return TransferValuer(
        port=cast(ExchangePort, port),
        period_ms=HOUR,
        tolerance=D("0.02"),
    )


def venue_view() -> VenueView:
    """Return a view with 10 contracts of 0.1, bought at 100 before all transfers."""
    return VenueView(
        account=account("10300", at_ms=READ),
        positions=(venue_position("SOLUSDT", "10", entry_price=D(100), unrealized_pnl=D(0)),),
        open_orders=(),
        fills=(),
        income=(),
        at_ms=READ,
    )


def story_of(*moved: tuple[int, str]) -> Story:
    story = Story()
    story.ready()
    for at_ms, amount in moved:
        story.say(e.IncomeRecorded(at_ms=READ, income=income("transfer", amount, at_ms)))
    return story


async def test_a_transfer_is_valued_at_the_close_of_the_last_bar_that_had_ended() -> None:
    """A bar that ends with the transfer counts; each bar is read once."""
    port = Port(close=lambda end_ms: 90.0 + (end_ms - NOON) // HOUR)
    story = story_of((NOON + HOUR - 1, "200"), (NOON + HOUR, "60"), (NOON + HOUR + 5, "40"))
    found = await valuer(port).value(story.book, venue_view())
    assert [(x.transfer_at_ms, x.marks_at_ms, x.equity) for x in found] == [
        (NOON + HOUR - 1, NOON, D(10_000) - 10),
        (NOON + HOUR, NOON + HOUR, D(10_200) - 9),
        (NOON + HOUR + 5, NOON + HOUR, D(10_260) - 9),
    ]
    assert {(x.number, x.rests_on, x.read_at_ms) for x in found} == {(1, LAST_PRICE_BARS, READ)}
    assert found[0].marks == (Figure(name="SOLUSDT", value="90.0"),)
    assert port.asked == [NOON, NOON + HOUR]


@pytest.mark.parametrize(
    "port",
    [Port(silent=True), Port(close=lambda end_ms: float("nan")), Port(late_ms=HOUR)],
    ids=["silent", "no price", "another bar"],
)
async def test_a_transfer_without_a_bar_is_left_to_the_next_pass(port: Port) -> None:
    story = story_of((NOON + HOUR, "300"))
    assert await valuer(port).value(story.book, venue_view()) == ()
    port.silent, port.late_ms, port.close = False, 0, lambda end_ms: 100.0
    (found,) = await valuer(port).value(story.book, venue_view())
    assert found.equity == 10_000


async def test_a_transfer_older_than_the_venues_history_is_not_valued() -> None:
    port = Port(history_ms=HOUR)
    story = story_of((NOON + HOUR, "300"))
    assert await valuer(port).value(story.book, venue_view()) == ()
    assert port.asked == []


async def test_a_transfer_is_valued_at_the_venues_past_mark_if_there_is_one() -> None:
    port = Port(marks=lambda at_ms: {"SOLUSDT": D("97.31")})
    story = story_of((NOON + HOUR - 1, "200"), (NOON + HOUR + 5, "100"))
    found = await valuer(port).value(story.book, venue_view())
    assert [(x.transfer_at_ms, x.marks_at_ms, x.equity) for x in found] == [
        (NOON + HOUR - 1, NOON + HOUR - 1, D(10_000) - D("2.69")),
        (NOON + HOUR + 5, NOON + HOUR + 5, D(10_200) - D("2.69")),
    ]
    assert {x.rests_on for x in found} == {MARK_HISTORY}
    assert found[0].marks == (Figure(name="SOLUSDT", value="97.31"),)
    assert (port.marks_asked, port.asked) == ([NOON + HOUR - 1, NOON + HOUR + 5], [])


@pytest.mark.parametrize("told_", [{}, {"SOLUSDT": D("NaN")}, {"SOLUSDT": D(0)}])
async def test_a_past_mark_that_is_missing_nan_or_zero_is_replaced_by_the_bars_close(
    told_: dict[str, D],
) -> None:
    port = Port(close=lambda end_ms: 90.0, marks=lambda at_ms: told_)
    story = story_of((NOON + HOUR + 5, "300"))
    (found,) = await valuer(port).value(story.book, venue_view())
    assert (found.rests_on, found.marks_at_ms) == (LAST_PRICE_BARS, NOON + HOUR)
    assert found.equity == D(10_000) - 10


async def test_a_transfer_waits_for_marks_while_the_venue_does_not_answer() -> None:
    port = Port(marks=lambda at_ms: {"SOLUSDT": D(95)}, marks_silent=True)
    story = story_of((NOON + HOUR + 5, "100"), (NOON + HOUR + 7, "200"))
    assert await valuer(port).value(story.book, venue_view()) == ()
    assert (len(port.marks_asked), port.asked) == (1, []), (
        "the pass went on after a failed read of marks"
    )
    port.marks_silent = False
    found = await valuer(port).value(story.book, venue_view())
    assert [(x.equity, x.rests_on) for x in found] == [
        (D(9_995), MARK_HISTORY),
        (D(10_095), MARK_HISTORY),
    ]
