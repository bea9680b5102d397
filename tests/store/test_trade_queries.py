"""Queries of closed trades by filter and place."""

from __future__ import annotations

import sqlite3
from decimal import Decimal as D
from typing import Any

import attrs

from kamou.store import queries
from kamou.store.journal import JournalWriter
from tests.store import story


def test_trades_are_paged_newest_first_and_filtered(
    connection: sqlite3.Connection,
) -> None:
    made = [
        attrs.evolve(
            story.make_trade_close(),
            trade_id=f"t{n}",
            closed_at_ms=n,
            pnl_net=D(n - 2),
            symbol="BTCUSDT" if n % 2 else "ETHUSDT",
            strategy="a" if n < 3 else "b",
        )
        for n in range(6)
    ]
    JournalWriter(connection, run_number=1).append(made)

    def ids(**filters: Any) -> list[str]:
        place = {n: filters.pop(n) for n in ("limit", "before", "after") if n in filters}
        wanted = queries.TradeFilter(**filters)
        found = [t.trade_id for t in queries.query_trades(connection, wanted, **place)]
        assert len(found) <= queries.count_trades(connection, wanted)
        return found

    assert ids() == ["t5", "t4", "t3", "t2", "t1", "t0"]
    third = queries.query_trades(connection)[2].cursor
    assert ids(before=third) == ["t2", "t1", "t0"]
    assert ids(before=third, limit=2) == ["t2", "t1"]
    assert ids(after=third, limit=1) == ["t4"]
    assert ids(symbol="BTCUSDT", strategy="b") == ["t5", "t3"]
    assert ids(
        symbol="BTCUSDT", strategy="b", before=queries.query_trades(connection)[0].cursor
    ) == ["t3"]
    assert ids(outcome=queries.TradeOutcome.WIN) == ["t5", "t4", "t3"]
    assert ids(outcome=queries.TradeOutcome.LOSS) == ["t2", "t1", "t0"]
    assert (
        queries.count_trades(connection, queries.TradeFilter(outcome=queries.TradeOutcome.LOSS))
        == 3
    )
    lost = queries.TradeFilter(symbol="BTCUSDT", outcome=queries.TradeOutcome.LOSS)
    assert queries.count_trades(connection, lost) == 1


def test_paging_returns_trades_of_one_millisecond_exactly_once(
    connection: sqlite3.Connection,
) -> None:
    made = [
        attrs.evolve(story.make_trade_close(), trade_id=f"t{n}", closed_at_ms=7) for n in range(9)
    ]
    JournalWriter(connection, run_number=1).append(made)
    seen, place = [], None
    while found := queries.query_trades(connection, limit=2, before=place):
        seen += [trade.trade_id for trade in found]
        place = found[-1].cursor
    assert seen == [f"t{n}" for n in reversed(range(9))]
