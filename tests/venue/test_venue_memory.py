"""The venue returns the same after ended orders and fills leave its memory.

The reference keeps every order, fill and income in memory and never reads its store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.market.fill_prices import SettledFunding
from kamou.core.model import FillReport, Income, OrderStatus
from kamou.data_directory.folder import MEMORY
from kamou.errors import RejectedError, StoreError
from kamou.venue import schema
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import AuditRecord, WorkingOrder
from kamou.venue.store import (
    _FILLS_SINCE,
    _INCOME_SINCE,
    _LIVE_ORDERS,
    VenueStore,
)
from tests.venue.memory_market import START_MS, STEP_MS, MemoryMarket
from tests.venue.venue_orders import (
    BUY,
    SELL,
    entry_with_exits,
    limit,
    open_engine,
    order,
    report_of,
)

D = Decimal
MODELS = VenueModels(funding=SettledFunding())
UP, DOWN = (100.0, 105.0, 99.0, 103.0, 800.0), (103.0, 103.5, 90.0, 96.0, 800.0)
CALM = (98.0, 99.0, 97.5, 98.5, 5_000.0)
BARS = {"AAA": [UP, CALM, DOWN, CALM] * 400, "BBB": [DOWN, CALM, CALM, UP] * 400}
FUNDING = {START_MS + hour * HOUR_MS: 0.0003 * (-1) ** hour for hour in range(0, 134, 2)}
NAMES = [f"{kind}{n}{tail}" for kind in "elm" for n in range(40) for tail in ("", "-stop", "-x")]
INSTANTS = st.integers(START_MS - 1, START_MS + 1600 * STEP_MS)


class ReferenceEngine(Engine):
    """An engine that keeps every order, fill, income and audit record in memory."""

    def __init__(self, *given_: Any, **more: Any) -> None:
        self.orders: dict[str, WorkingOrder] = {}
        self.all_fills: list[FillReport] = []
        self.all_income: list[Income] = []
        self.all_audit_records: list[AuditRecord] = []
        super().__init__(*given_, **more)

    def _commit(self) -> None:
        state = self._state
        self.orders |= {name: state.orders[name] for name in state.changes.orders}
        self.all_fills += state.fills
        self.all_income += state.income
        self.all_audit_records += state.audit_log
        super()._commit()

    def _find(self, client_order_id: str) -> WorkingOrder | None:
        return self.orders.get(client_order_id) or self._state.orders.get(client_order_id)

    def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return tuple(fill for fill in self.all_fills if fill.at_ms >= since_ms)

    def income(self, since_ms: int) -> tuple[Income, ...]:
        return tuple(income for income in self.all_income if income.at_ms >= since_ms)

    @property
    def audit_log(self) -> tuple[AuditRecord, ...]:
        return tuple(self.all_audit_records)


def opened(path: Path | str, engine: type[Engine] = Engine) -> Engine:
    return open_engine(path, MemoryMarket(BARS, funding=FUNDING), MODELS, engine)


def act(engine: Engine, what: str, which: int, symbol: str, now_ms: int) -> object:
    """Run one operation of a client; return the venue's answer or rejection code."""
    try:
        if what == "wait":
            return engine.advance(now_ms + (which + 1) * STEP_MS // 3)
        if what == "enter":
            entry, exits = entry_with_exits(f"e{which}", quantity=60)
            return engine.place(entry, exits)
        if what == "rest":
            return engine.place(limit(f"l{which}", BUY, 40, 97.5, symbol=symbol))
        if what == "sell":
            return engine.place(order(f"m{which}", SELL, 50, leverage=3, symbol=symbol))
        engine.cancel(NAMES[which * 9 % len(NAMES)])
        return None
    except RejectedError as rejection:
        return rejection.code
    finally:
        engine.take_events()


def answers(engine: Engine, name: str, since_ms: int) -> list[object]:
    found = engine.order(name)
    return [
        engine.account(),
        engine.positions(),
        engine.open_orders(),
        engine.fills(since_ms),
        engine.income(since_ms),
        found,
    ]


class Killed(BaseException):
    """Error that stands for the end of the process."""


def kill_before_commit(engine: Engine, operation: Callable[[Engine], object]) -> None:
    """Run the operation in memory, and end the process before its commit."""

    def save(state: object) -> None:
        raise Killed

    engine._store.save = save  # type: ignore[method-assign]  # the process ends before the store writes
    with suppress(Killed, RejectedError):
        operation(engine)
    engine._store._db.close()


OPERATIONS = st.tuples(
    st.sampled_from(["wait", "wait", "enter", "rest", "sell", "cancel"]),
    st.integers(0, 39),
    st.sampled_from(["AAA", "BBB"]),
    st.sampled_from(["go on", "go on", "go on", "reopen", "kill", "kill before commit"]),
    st.sampled_from(NAMES),
    INSTANTS,
)
Operation = tuple[str, int, str, str, str, int]


def hold_equal(path: Path, operations: list[Operation]) -> None:
    """Run the operations at a reference and at a stored venue, and compare them.

    The stored venue has only live orders in memory.
    """
    steady, mortal = opened(MEMORY, ReferenceEngine), opened(path)
    for what, which, symbol, fate, name, since_ms in operations:
        now_ms = steady.market_ms
        operation = partial(act, what=what, which=which, symbol=symbol, now_ms=now_ms)
        if fate == "kill before commit":
            kill_before_commit(mortal, operation)
            mortal = opened(path)
            mortal.advance(now_ms)
        expected, result = operation(steady), operation(mortal)
        assert result == expected
        if fate == "reopen":
            mortal.close()
        elif fate == "kill":
            mortal._store._db.close()
        if fate in ("reopen", "kill"):
            mortal = opened(path)
            mortal.advance(steady.market_ms)
        assert answers(mortal, name, since_ms) == answers(steady, name, since_ms)
        state = mortal._state
        assert list(state.orders) == list(state.live)
        assert not state.fills + state.income + state.audit_log
    assert mortal.audit_log == steady.audit_log
    assert mortal.audit_log_count == len(steady.audit_log)
    middle = len(steady.audit_log) // 2
    assert tuple(mortal.audit_log_since(middle)) == steady.audit_log[middle:]
    mortal.close()
    steady.close()


@settings(max_examples=60)
@given(operations=st.lists(OPERATIONS, max_size=40))
def test_the_venue_agrees_with_one_that_keeps_every_order_in_memory(
    tmp_path_factory: pytest.TempPathFactory, operations: list[Operation]
) -> None:
    hold_equal(tmp_path_factory.mktemp("venue") / "venue.db", operations)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_venue_agrees_with_the_reference_over_a_thousand_operations(
    tmp_path: Path, seed: int
) -> None:
    draw = Random(seed)
    hold_equal(
        tmp_path / "venue.db",
        [
            (
                draw.choice(["wait", "enter", "enter", "rest", "sell", "cancel"]),
                draw.randrange(40),
                draw.choice(["AAA", "BBB"]),
                draw.choice(["go on"] * 9 + ["reopen", "kill", "kill before commit"]),
                draw.choice(NAMES),
                START_MS + draw.randrange(1600) * STEP_MS,
            )
            for _ in range(1_000)
        ],
    )


def test_a_client_order_id_of_an_earlier_run_is_found_and_rejected(tmp_path: Path) -> None:
    engine = opened(tmp_path / "venue.db")
    engine.advance(START_MS + 3 * STEP_MS)
    entry, exits = entry_with_exits("e1", quantity=60)
    engine.place(entry, exits)
    engine.place(order("m1", SELL, 60, reduce_only=True))
    engine.cancel("e1-stop")
    engine.close()
    again = opened(tmp_path / "venue.db")
    assert "e1" not in again._state.orders
    assert report_of(again, "e1").status is OrderStatus.FILLED
    assert report_of(again, "e1-stop").status is OrderStatus.CANCELED
    again.cancel("e1-stop")  # ended already: nothing happens
    for repeated in (order("e1", BUY, 10), order("e1-stop", BUY, 10)):
        with pytest.raises(RejectedError, match="DUPLICATE_CLIENT_ID"):
            again.place(repeated)
    with pytest.raises(RejectedError, match="DUPLICATE_CLIENT_ID"):
        again.place(order("new", BUY, 60), (order("e1-stop", SELL, 60, reduce_only=True),))
    assert again.order("new") is None
    with pytest.raises(RejectedError, match="ORDER_UNKNOWN"):
        again.cancel("never")
    again.close()


def test_an_order_that_another_engine_placed_just_now_is_canceled_after_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = opened(tmp_path / "venue.db"), opened(tmp_path / "venue.db")
    run.advance(START_MS + 1)
    find = run._find
    calls: list[str] = []

    def meanwhile(client_order_id: str) -> WorkingOrder | None:
        if not calls:  # between the check for other writes and the search for the order
            calls.append(client_order_id)
            other.place(limit("l0", BUY, 40, 97.5))
        return find(client_order_id)

    monkeypatch.setattr(run, "_find", meanwhile)
    run.cancel("l0")
    assert report_of(run, "l0").status is OrderStatus.CANCELED
    assert run.open_orders() == ()
    assert run.reloads == 1
    run.close()
    other.close()


def test_catching_up_by_days_gives_the_state_and_events_of_one_advance(tmp_path: Path) -> None:
    at_once, by_days = opened(MEMORY), opened(tmp_path / "venue.db")
    for engine in (at_once, by_days):
        engine.advance(START_MS + 3 * STEP_MS)
        engine.place(*entry_with_exits("e1", quantity=60))
        engine.place(limit("l1", BUY, 40, 97.0, symbol="BBB"))
        assert len(engine.positions()) == 1
        engine.take_events()
    until_ms = START_MS + 5 * 24 * HOUR_MS + 77
    by_days.catch_up(until_ms, lambda: False)
    assert by_days.advance(until_ms) == at_once.advance(until_ms)
    assert by_days.audit_log == at_once.audit_log
    assert by_days.account() == at_once.account()
    by_days.close()
    assert opened(tmp_path / "venue.db").market_ms == until_ms


def test_catching_up_ends_early_before_a_day_on_request() -> None:
    engine = opened(MEMORY)
    engine.advance(START_MS + HOUR_MS)
    engine.place(limit("l1", BUY, 40, 50.0))
    looks = iter([False, False, True])
    engine.catch_up(START_MS + 5 * 24 * HOUR_MS, lambda: next(looks))
    assert engine.market_ms == START_MS + 2 * 24 * HOUR_MS


# --- the file --------------------------------------------------------------------------------


def test_the_index_of_live_orders_leaves_out_the_terminal_states() -> None:
    with closing(sqlite3.connect(MEMORY)) as db:
        for status in OrderStatus:
            query = f"SELECT {schema.ENDED} FROM (SELECT ? AS body)"
            (ended,) = db.execute(query, (f'{{"status":"{status.value}"}}',)).fetchone()
            assert bool(ended) is status.terminal


@pytest.mark.parametrize(
    ("query", "given_", "index"),
    [
        (_FILLS_SINCE, (1,), "fills_at"),
        (_INCOME_SINCE, (1,), "income_at"),
        (_LIVE_ORDERS, (), "orders_live"),
        ("SELECT body FROM orders WHERE client_order_id = ?", ("e1",), "sqlite_autoindex_orders_2"),
    ],
)
def test_queries_of_fills_income_and_orders_use_an_index(
    query: str, given_: tuple[object, ...], index: str, tmp_path: Path
) -> None:
    with closing(VenueStore(tmp_path / "venue.db")) as store:
        plan = [row[3] for row in store._db.execute(f"EXPLAIN QUERY PLAN {query}", given_)]
    assert any(index in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN") and "INDEX" not in step], plan


def test_opening_a_venue_file_of_an_older_version_fails_in_one_line_and_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "venue.db"
    VenueStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"older Kamou \(venue schema v2\).*another --data-dir"
    ) as rejection:
        VenueStore(path)
    assert "\n" not in str(rejection.value)
    assert path.read_bytes() == before


def test_a_venue_file_with_a_changed_schema_opens_only_with_on_changed_schema(
    tmp_path: Path,
) -> None:
    path = tmp_path / "venue.db"
    messages: list[str] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        schema.migrate_venue(db)
        db.execute("CREATE TRIGGER t AFTER INSERT ON fills BEGIN SELECT 1; END")
    store = VenueStore(path, on_changed_schema=messages.append)
    source = MemoryMarket(BARS)
    engine = Engine(source, MODELS, store, start_ms=START_MS, wallet_balance=D(10_000))
    store.queue_state((10, 1, "x", b"state", ""))
    engine.advance(START_MS + 3 * STEP_MS)
    engine.place(*entry_with_exits("e1", quantity=60))
    assert len(engine.fills(0)) == 1
    assert report_of(engine, "e1").status is OrderStatus.FILLED
    engine.close()
    assert len(messages) == 1
    with pytest.raises(StoreError, match="trigger"):
        VenueStore(path)
