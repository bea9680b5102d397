"""The marks that the reconciler reads for missed midnights."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any, cast

import pytest

from kamou.actors.midnight_reader import READS_MAX, MidnightReader
from kamou.core.reconciliation.venue_view import VenueView
from kamou.core.risk.midnight_equity import LAST_PRICE_BARS, MARK_READ, MidnightMarks
from kamou.exchange.base import ExchangePort
from tests.actors.bars_port import HOUR, Port
from tests.core.trading_cases import DAY, NOON, Story, account, quote, venue_position

MIDNIGHT = NOON - NOON % DAY + DAY


def reader(port: Port) -> MidnightReader:
    return MidnightReader(port=cast(ExchangePort, port), period_ms=HOUR)


def looked(at_ms: int, *, holds: bool = True) -> VenueView:
    return VenueView(
        account=account(at_ms=at_ms),
        positions=(venue_position("SOLUSDT", "100"),) if holds else (),
        open_orders=(),
        fills=(),
        income=(),
        at_ms=at_ms,
    )


@pytest.fixture
def story() -> Story:
    story = Story()
    story.ready()
    return story


def shown(found: tuple[MidnightMarks, ...]) -> list[tuple[int, str, list[D]]]:
    return [(m.at_ms, m.source, [D(mark.value) for mark in m.marks]) for m in found]


async def test_each_missed_midnight_has_the_close_of_the_bar_that_ends_then(story: Story) -> None:
    port = Port(close=lambda end_ms: 90.0 + (end_ms - MIDNIGHT) // DAY)
    found = await reader(port).read(story.book, looked(MIDNIGHT + DAY + HOUR))
    assert shown(found) == [
        (MIDNIGHT, LAST_PRICE_BARS, [D(90)]),
        (MIDNIGHT + DAY, LAST_PRICE_BARS, [D(91)]),
    ]


async def test_no_bar_is_read_for_a_day_that_has_opened(story: Story) -> None:
    port = Port()
    assert await reader(port).read(story.book, looked(NOON + HOUR)) == ()
    assert port.asked == []


async def test_a_bar_is_read_once_and_only_for_open_positions(story: Story) -> None:
    port = Port()
    reads = reader(port)
    await reads.read(story.book, looked(MIDNIGHT + HOUR, holds=False))
    assert port.asked == []
    await reads.read(story.book, looked(MIDNIGHT + HOUR))
    await reads.read(story.book, looked(MIDNIGHT + HOUR + 5_000))
    assert port.asked == [MIDNIGHT]


@pytest.mark.parametrize(
    "port",
    [Port(silent=True), Port(close=lambda end_ms: float("nan")), Port(late_ms=HOUR)],
    ids=["silent", "no price", "another bar"],
)
async def test_a_missing_midnight_mark_is_read_again_in_the_next_pass(
    story: Story, port: Port
) -> None:
    reads = reader(port)
    assert shown(await reads.read(story.book, looked(MIDNIGHT + HOUR))) == [(MIDNIGHT, "", [])]
    port.silent, port.late_ms, port.close = False, 0, lambda end_ms: 97.0
    found = await reads.read(story.book, looked(MIDNIGHT + HOUR))
    assert shown(found) == [(MIDNIGHT, LAST_PRICE_BARS, [D(97)])]


@pytest.mark.parametrize(("after_ms", "source"), [(60_000, MARK_READ), (60_001, "")])
async def test_only_marks_read_in_the_first_minute_replace_a_missing_bar(
    story: Story, after_ms: int, source: str
) -> None:
    port = Port(late_ms=HOUR, quoted={"SOLUSDT": quote(mid="99")})
    (found,) = await reader(port).read(story.book, looked(MIDNIGHT + after_ms))
    assert (found.source, [mark.value for mark in found.marks]) == (
        source,
        ["99"] if source else [],
    )


async def test_a_midnight_beyond_the_venues_history_is_marked_unreachable(story: Story) -> None:
    port = Port(history_ms=DAY)
    found = await reader(port).read(story.book, looked(MIDNIGHT + DAY + 1))
    assert [(m.reachable, m.source) for m in found] == [(False, ""), (True, LAST_PRICE_BARS)]
    assert port.asked == [MIDNIGHT + DAY]


async def test_midnights_of_a_long_downtime_are_read_in_several_passes_newest_first(
    story: Story,
) -> None:
    port, days = Port(), READS_MAX + 3
    reads: Any = reader(port)
    last = MIDNIGHT + (days - 1) * DAY
    found = await reads.read(story.book, looked(last + HOUR))
    assert [bool(m.source) for m in found] == [False] * 3 + [True] * READS_MAX
    assert port.asked[0] == last
    found = await reads.read(story.book, looked(last + HOUR + 5_000))
    assert [bool(m.source) for m in found] == [True] * days
    assert len(port.asked) == days
