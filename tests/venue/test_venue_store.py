"""The venue's file: after a kill at any operation the venue returns the same."""

from __future__ import annotations

import sqlite3
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.market.fill_prices import SettledFunding
from kamou.core.model import OrderStatus
from kamou.errors import DatabaseNewerError, DiskFullError, RejectedError, StoreError
from kamou.venue.engine import REDO_MAX, Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import StaleVenueError, VenueStore
from tests.venue.memory_market import START_MS, STEP_MS, MemoryMarket, with_bars
from tests.venue.venue_orders import (
    BUY,
    EXACT,
    SELL,
    at,
    engine_at,
    entry_with_exits,
    limit,
    open_engine,
    order,
    report_of,
    stop,
)

MODELS = VenueModels(funding=SettledFunding())

UP, DOWN = (100.0, 105.0, 99.0, 103.0, 800.0), (103.0, 103.5, 90.0, 96.0, 800.0)
BARS = {
    "AAA": with_bars(UP, DOWN, UP, DOWN, before=3, after=200),
    "BBB": with_bars(DOWN, UP, before=3, after=202),
}


def answers(engine: Engine) -> list[object]:
    return [
        engine.account(),
        engine.positions(),
        engine.open_orders(),
        engine.fills(0),
        engine.income(0),
        engine.audit_log,
        engine.quotes(("AAA", "BBB")),
        [engine.order(name) for name in NAMES],
    ]


NAMES = [
    f"{kind}{n}{tail}" for kind in "elm" for n in range(4) for tail in ("", "-stop", "-target")
]

OPERATIONS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("enter"), st.integers(0, 3)),
    st.tuples(st.just("rest"), st.integers(0, 3)),
    st.tuples(st.just("sell"), st.integers(0, 3)),
    st.tuples(st.just("cancel"), st.sampled_from(NAMES)),
)


def act(engine: Engine, what: str, which: object) -> object:
    """Run one operation of a client; return the venue's answer or rejection code."""
    try:
        if what == "wait":
            return engine.advance(engine.market_ms + int(str(which)) * STEP_MS // 3)
        if what == "enter":
            entry, exits = entry_with_exits(f"e{which}", quantity=60)
            return engine.place(entry, exits)
        if what == "rest":
            return engine.place(limit(f"l{which}", BUY, 40, 99.5))
        if what == "sell":
            return engine.place(order(f"m{which}", SELL, 50, leverage=3))
        engine.cancel(str(which))
        return None
    except RejectedError as rejection:
        return rejection.code


def opened(path: Path | str) -> Engine:
    return open_engine(path, MemoryMarket(BARS), MODELS)


@settings(max_examples=40)
@given(operations=st.lists(OPERATIONS, max_size=14))
def test_a_venue_that_is_killed_after_any_operation_gives_the_same_results(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("venue") / "venue.db"
    steady, mortal = opened(":memory:"), opened(path)
    for engine in (steady, mortal):
        engine.advance(at(2))
    for what, which in operations:
        expected = act(steady, what, which)
        stored = act(mortal, what, which)
        if what != "wait":
            assert stored == expected
        mortal._store._db.close()  # SIGKILL: the store writes nothing
        mortal = opened(path)
        mortal.advance(steady.market_ms)
        assert answers(mortal) == answers(steady)
    mortal.close()
    steady.close()


def test_a_closed_venue_opens_again_at_its_market_time(tmp_path: Path) -> None:
    engine = opened(tmp_path / "venue.db")
    engine.advance(at(9, 77))
    engine.close()
    again = opened(tmp_path / "venue.db")
    assert again.market_ms == at(9, 77)
    assert again.account().wallet_balance == 10_000
    again.close()


def test_an_idle_venue_writes_its_time_once_an_hour(tmp_path: Path) -> None:
    engine = opened(tmp_path / "venue.db")
    reader = sqlite3.connect(tmp_path / "venue.db")

    def stored() -> int:
        return int(reader.execute("SELECT market_ms FROM account").fetchone()[0])

    engine.advance(at(11))
    assert stored() == START_MS
    engine.advance(at(12))
    assert stored() == at(12)
    reader.close()
    engine.close()


def test_two_engines_trade_on_one_venue_file_and_read_each_others_orders(tmp_path: Path) -> None:
    run, flatten = opened(tmp_path / "venue.db"), opened(tmp_path / "venue.db")
    run.advance(at(2))
    run.place(*entry_with_exits())
    flatten.advance(at(2))
    assert len(flatten.positions()) == 1
    flatten.place(order("close", SELL, 100, reduce_only=True))
    with pytest.raises(RejectedError, match="REDUCE_ONLY_REJECTED"):
        run.place(order("late", SELL, 100, reduce_only=True))
    assert run.positions() == ()
    assert report_of(run, "close").status is OrderStatus.FILLED
    assert run.reloads == 1
    run.close()
    flatten.close()


def test_a_write_that_meets_another_engines_write_is_repeated_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = opened(tmp_path / "venue.db"), opened(tmp_path / "venue.db")
    run.advance(at(2))
    other.advance(at(2))
    seen = run._matcher.arrive
    calls: list[tuple[Any, ...]] = []

    def meanwhile(*args: Any) -> Any:
        calls.append(args)
        other.place(limit("l0", BUY, 40, 99.5))  # between the decision and the commit of ``run``
        return seen(*args)

    monkeypatch.setattr(run._matcher, "arrive", meanwhile)
    run.place(limit("l1", BUY, 40, 99.5))
    assert len(calls) == 1  # the second time it is the reloaded venue's own matcher
    assert {o.client_order_id for o in run.open_orders()} == {"l0", "l1"}
    other.advance(at(2, 1))
    assert {o.client_order_id for o in other.open_orders()} == {"l0", "l1"}
    monkeypatch.setattr(run._store, "save", _always_stale)
    with pytest.raises(AssertionError, match="attempts of one operation"):
        run.place(limit("l2", BUY, 40, 99.5))
    assert run.reloads == REDO_MAX + 1
    run.close()
    other.close()


def _always_stale(state: object) -> None:
    raise StaleVenueError("again")


def test_on_a_full_disk_market_time_goes_on_and_placing_orders_fails(tmp_path: Path) -> None:
    engine = opened(tmp_path / "venue.db")
    engine.advance(at(2))
    engine.place(*entry_with_exits())
    pages = engine._store._db.execute("PRAGMA page_count").fetchone()[0]
    engine._store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = (limit(f"x{n}", BUY, 1, 99.5) for n in range(200))
    with pytest.raises(DiskFullError):
        deque(map(engine.place, many), maxlen=0)
    engine.advance(at(4))  # the stop fills; it cannot be stored, and the market goes on
    assert engine.market_ms == at(4)
    engine._store._db.execute("PRAGMA max_page_count = 1000000")
    engine.advance(at(5))
    expected = answers(engine)
    engine._store._db.close()
    again = opened(tmp_path / "venue.db")
    again.advance(at(5))
    assert answers(again) == expected
    again.close()


def test_opening_a_venue_file_of_a_newer_version_fails(tmp_path: Path) -> None:
    path = tmp_path / "venue.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(DatabaseNewerError, match="v99"):
        VenueStore(path)


def test_opening_a_venue_file_that_is_no_database_fails(tmp_path: Path) -> None:
    path = tmp_path / "venue.db"
    path.write_text("these are not the rows you are looking for" * 100)
    with pytest.raises(StoreError, match=r"venue\.db"):
        VenueStore(path)


def test_the_store_returns_its_values_and_sets_its_durability(tmp_path: Path) -> None:
    store = VenueStore(tmp_path / "venue.db")
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    store.set_durable(durable=False)
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 0
    assert store.meta("seed") is None
    store.put_meta("seed", "7")
    assert store.meta("seed") == "7"
    assert store.load() is None
    assert not store.changed_elsewhere()
    store.close()
    store.close()


def test_a_stop_fills_after_the_venue_was_killed_and_reopened(tmp_path: Path) -> None:
    engine = opened(tmp_path / "venue.db")
    engine.advance(at(2))
    engine.place(order("e", BUY, 100), (stop("s", SELL, 100, 98),))
    engine._store._db.close()
    again = opened(tmp_path / "venue.db")
    again.advance(at(4))
    again.advance(at(6))
    assert report_of(again, "s").status is OrderStatus.FILLED
    assert engine_at(MemoryMarket(BARS), models=EXACT).positions() == ()
    again.close()
