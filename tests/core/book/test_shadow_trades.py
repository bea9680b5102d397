"""Shadow trades of the book, and their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import attrs
import pytest

from kamou.core.book.position_book import PositionBook
from kamou.core.book.shadow_trades import ShadowResult
from kamou.core.day import DAY_MS
from kamou.core.kinds import ExitReason
from kamou.data_directory.folder import MEMORY
from kamou.store import database
from kamou.store.projections import project_events
from kamou.store.shadow_rows import ShadowTradeRow
from kamou.store.table_rows import select
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade
from tests.core.trading_cases import NOON, D

ONE = shadow_trade("s1")
TWO = shadow_trade("s2", symbol="BTCUSDT", strategy="mean_reversion")
RESULT = ShadowResult(
    shadow_id="s1",
    strategy="oi_momentum",
    symbol="SOLUSDT",
    opened_at_ms=NOON,
    closed_at_ms=NOON + 60_000,
    r=D("-1.042857142857"),
    pnl=D("-21.9"),
)


def test_a_shadow_trade_is_open_until_its_result_which_the_book_keeps() -> None:
    book = PositionBook()
    book.apply(1, opened(ONE, TWO))
    assert book.shadows.open == {"s1": ONE, "s2": TWO}
    assert book.shadows.held == {("oi_momentum", "SOLUSDT"), ("mean_reversion", "BTCUSDT")}
    book.apply(2, closed(closed_shadow(ONE)))
    assert book.shadows.open == {"s2": TWO}
    assert list(book.shadows.closed.values()) == [RESULT]
    assert book.shadows.results_of("oi_momentum") == (RESULT,)
    assert book.shadows.results_of("mean_reversion") == ()


def test_a_shadow_trade_that_the_book_has_or_had_is_not_opened_again() -> None:
    book = PositionBook()
    book.apply(1, opened(ONE))
    book.apply(2, opened(shadow_trade("s1", quantity=D(7))))
    assert book.shadows.open == {"s1": ONE}
    book.apply(3, closed(closed_shadow(ONE)))
    book.apply(4, opened(ONE))
    assert book.shadows.knows("s1")
    assert not book.shadows.knows("s2")
    assert book.shadows.open == {}


def test_a_second_result_of_a_shadow_trade_changes_nothing() -> None:
    book = PositionBook()
    book.apply(1, opened(ONE))
    book.apply(2, closed(closed_shadow(ONE)))
    book.apply(3, closed(closed_shadow(ONE, r=D(5)), closed_shadow(TWO)))
    assert list(book.shadows.closed.values()) == [RESULT]


def test_a_dumped_book_has_its_shadow_trades_and_a_fork_shares_no_list() -> None:
    book = PositionBook()
    book.apply(1, opened(ONE, TWO))
    book.apply(2, closed(closed_shadow(ONE)))
    assert PositionBook.load(book.dump()) == book
    fork = book.fork()
    fork.apply(3, closed(closed_shadow(TWO)))
    assert (len(fork.shadows.closed), len(book.shadows.closed)) == (2, 1)
    again = attrs.evolve(ONE, shadow_id="s9")
    fork.apply(4, opened(again))
    fork.apply(5, closed(closed_shadow(again)))
    assert fork.shadows.count_opened_before("oi_momentum", NOON // DAY_MS + 1) == 2
    assert book.shadows.count_opened_before("oi_momentum", NOON // DAY_MS + 1) == 1
    assert len(book.shadows.results_of("oi_momentum")) == 1
    assert book.shadows.open == {"s2": TWO}


@pytest.fixture
def cursor() -> Iterator[sqlite3.Cursor]:
    connection = database.open_writer(MEMORY)
    made = connection.cursor()
    made.execute("BEGIN")
    yield made
    connection.close()


def test_the_table_has_a_row_for_each_shadow_trade_with_the_first_result_if_it_closed(
    cursor: sqlite3.Cursor,
) -> None:
    events = (
        opened(ONE, TWO),
        closed(closed_shadow(ONE)),
        closed(closed_shadow(ONE, r=D(5))),
        opened(shadow_trade("s1", quantity=D(7))),
    )
    project_events(cursor, 1, events)
    first, second = select(cursor, ShadowTradeRow, "ORDER BY shadow_id")
    assert (first.quantity, first.score, first.planned_risk) == (D(100), 0.8, D(21))
    assert (first.reason, first.r, first.pnl) == (
        ExitReason.STOP_LOSS,
        D("-1.042857142857"),
        D("-21.9"),
    )
    assert (first.exit_price, first.gross, first.fees) == (D("97.97"), D("-20.7"), D("1.19"))
    assert (first.funding, first.slippage) == (D("-0.01"), D("0.7"))
    assert (first.opened_at_ms, first.closed_at_ms) == (NOON, NOON + 60_000)
    assert (second.closed_at_ms, second.r, second.slippage, second.reason) == (None,) * 4


def test_a_strategys_oldest_open_shadow_trade_says_since_when_it_is_open() -> None:
    book = PositionBook()
    assert book.shadows.open_since_ms("oi_momentum") is None
    late, early = shadow_trade("s3", opened_at_ms=NOON + 2), shadow_trade("s4", symbol="BTCUSDT")
    book.apply(1, opened(late, early, attrs.evolve(TWO, opened_at_ms=NOON - 1)))
    assert book.shadows.open_since_ms("oi_momentum") == NOON
    book.apply(2, closed(closed_shadow(early)))
    assert book.shadows.open_since_ms("oi_momentum") == NOON + 2
