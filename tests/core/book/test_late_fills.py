"""Entry fills that are listed after the result of their trade was published."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal as D

from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderRole, OrderStatus
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.core.trading_cases import NOON, Story, intent, order_closed, plan

PLAN = plan()


def published_and_reopened() -> Story:
    """Return a story whose entry fills 60 contracts after its result was published.

    The result is that of the first 40 contracts, which were stopped out.
    """
    story = Story()
    story.ready()
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    stop = story.send(intent(OrderRole.STOP_LOSS, PLAN))
    story.fill(entry, "40", "100")
    story.say(order_closed(entry, OrderStatus.CANCELED, "40"))
    story.fill(stop, "40", "97", at_ms=NOON + 5)
    story.say(*story.book.pending_closures(NOON + 6))
    assert not story.book.trades.finished
    story.fill(entry, "60", "100", at_ms=NOON + 4)
    return story


def test_a_late_entry_fill_reopens_the_trade_and_its_second_result_has_another_key() -> None:
    story = published_and_reopened()
    trade = story.book.trades.open[PLAN.symbol]
    assert (trade.trade_id, trade.quantity) == (PLAN.signal_id, D(60))
    assert trade.unprotected_since_ms, "the reopened trade counts as protected"
    assert len(story.book.recent_activity.entries) == 1, "the late fill counted as another entry"
    closing_order = story.send(intent(OrderRole.EXIT, PLAN))
    story.fill(closing_order, "60", "101", at_ms=NOON + 9)
    (second,) = story.book.pending_closures(NOON + 10)
    assert second.trade_id == f"{PLAN.signal_id}.2"
    assert second.unique_key != PLAN.signal_id
    assert second.quantity == 60
    story.say(second)
    assert story.book.pending_closures(NOON + 11) == ()
    assert not story.book.trades.finished


def test_a_loaded_book_has_the_published_results() -> None:
    story = published_and_reopened()
    assert list(PositionBook.load(story.book.dump()).trades.published) == [PLAN.signal_id]
    assert PositionBook.load(story.book.dump()) == story.book


def test_both_results_of_a_reopened_trade_are_stored_and_it_is_open_in_between() -> None:
    story = published_and_reopened()
    shown = len(story.events)
    closing_order = story.send(intent(OrderRole.EXIT, PLAN))
    story.fill(closing_order, "60", "101", at_ms=NOON + 9)
    story.say(*story.book.pending_closures(NOON + 10))
    with closing(database.open_writer(":memory:")) as connection:
        writer = JournalWriter(connection, run_number=1)
        writer.append(story.events[:shown])
        assert _column(connection, "SELECT trade_id FROM open_trade") == [PLAN.signal_id]
        writer.append(story.events[shown:])
        assert _column(connection, "SELECT trade_id FROM open_trade") == []
        results = _column(connection, "SELECT pnl_net FROM trade")
    assert len(results) == 2
    assert sum(D(str(each)) for each in results) == sum(
        event.pnl_net for event in story.events if hasattr(event, "pnl_net")
    )


def _column(connection: sqlite3.Connection, query: str) -> list[object]:
    return [row[0] for row in connection.execute(query)]
