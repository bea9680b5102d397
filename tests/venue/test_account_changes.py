"""The venue's own changes of an account, and reads that agree with the stored state after each."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.kinds import FillReason
from kamou.core.model import OrderStatus
from kamou.errors import RejectedError
from kamou.venue.engine import RESIZE_PAUSE_MS, Engine
from kamou.venue.state import ContractAudit, MoneyAudit
from tests.venue.memory_market import FLAT, START_MS, STEP_MS, MemoryMarket, with_bars
from tests.venue.venue_orders import (
    BUY,
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

D = Decimal
UP, DOWN = (100.0, 105.0, 99.0, 103.0, 800.0), (103.0, 103.5, 90.0, 96.0, 800.0)
CALM = (98.0, 99.0, 97.5, 98.5, 5_000.0)
BARS = {"AAA": [UP, CALM, DOWN, CALM] * 40, "BBB": [DOWN, CALM, CALM, UP] * 40}
FUNDING = {START_MS + hour * 3_600_000: 0.0003 * (-1) ** hour for hour in range(13)}


def reads(engine: Engine) -> list[object]:
    """Return everything that a client may read, except what is listed since a time."""
    return [
        engine.account(),
        engine.positions(),
        engine.open_orders(),
        engine.quotes(("AAA", "BBB")),
        engine.marks_of(engine.source.prices(engine.market_ms), ("AAA", "BBB")),
    ]


def change(engine: Engine, what: str, number: int, symbol: str) -> None:
    instrument = engine.instruments[symbol]
    match what:
        case "wait":
            engine.advance(engine.market_ms + number * STEP_MS // 3)
        case "enter":
            engine.place(*entry_with_exits(f"e{number}", quantity=60))
        case "rest":
            engine.place(limit(f"l{number}", BUY, 40, 97, symbol=symbol))
        case "sell":
            engine.place(order(f"m{number}", SELL, 50, symbol=symbol))
        case "cancel":
            engine.cancel(f"l{number}")
        case "transfer":
            engine.transfer(D(number - 20) * 10)
        case "force":
            engine.close_by_force(symbol, D(number) / 39, FillReason.ADL)
        case "resize":
            engine.resize(symbol, D(number % 3 + 1) / 2)
        case "tick":
            engine.change_instrument(attrs.evolve(instrument, tick=D(number % 3 + 1) / 100))
        case "margin":
            rate = D(number % 5 + 1) / 200
            engine.change_instrument(attrs.evolve(instrument, maintenance_margin_rate=rate))


CHANGES = st.tuples(
    st.sampled_from(
        [
            "wait",
            "wait",
            "enter",
            "enter",
            "rest",
            "sell",
            "cancel",
            "transfer",
            "force",
            "resize",
            "tick",
            "margin",
        ]
    ),
    st.integers(1, 39),
    st.sampled_from(["AAA", "BBB"]),
)


@settings(max_examples=40)
@given(changes=st.lists(CHANGES, max_size=30))
def test_after_each_change_the_reads_equal_those_of_an_engine_that_has_computed_nothing(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, str]]
) -> None:
    path = tmp_path_factory.mktemp("venue") / "venue.db"
    engine = open_engine(path, MemoryMarket(BARS, funding=FUNDING))
    for what, number, symbol in changes:
        reads(engine)  # what is computed here must not be returned after the change
        with suppress(RejectedError):
            change(engine, what, number, symbol)
        fresh = open_engine(path, engine.source)
        fresh.advance(engine.market_ms)
        assert reads(engine) == reads(fresh)
        fresh.close()
    engine.close()


@given(factor=st.sampled_from(["10", "2", "0.5", "0.1"]), quantity=st.integers(20, 400))
@settings(max_examples=20)
def test_a_resize_keeps_base_quantity_equity_and_stop_and_pauses_entries_for_a_time(
    factor: str, quantity: int
) -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars()}))
    engine.place(order("in", BUY, quantity))
    engine.place(stop("s", SELL, quantity, 98))
    engine.place(limit("rests", BUY, 100, 97))
    before, size = engine.account(), engine.instruments["AAA"].contract_size
    engine.resize("AAA", D(factor))
    (held,) = engine.positions()
    assert engine.instruments["AAA"].contract_size == size * D(factor)
    assert held.quantity * size * D(factor) == quantity * size
    assert engine.account().equity == before.equity
    assert report_of(engine, "s").quantity == held.quantity
    assert report_of(engine, "rests").status is OrderStatus.CANCELED
    assert [type(record) for record in engine.audit_log].count(ContractAudit) == 1
    engine.place(order("out", SELL, 1 if factor in ("10", "2") else 10, reduce_only=True))
    with pytest.raises(RejectedError, match="MARKET_PAUSED"):
        engine.place(order("again", BUY, 100))
    engine.advance(engine.market_ms + RESIZE_PAUSE_MS)
    engine.place(order("again2", BUY, 100))


def test_a_resize_that_meets_another_engines_write_happens_once(tmp_path: Path) -> None:
    market = MemoryMarket({"AAA": with_bars()})
    run, other = (
        open_engine(tmp_path / "venue.db", market),
        open_engine(tmp_path / "venue.db", market),
    )
    run.advance(at(2))
    run.place(order("in", BUY, 100))
    other.advance(at(2))
    other.transfer(D(7))
    run.resize("AAA", D(2))
    assert [held.quantity for held in run.positions()] == [D(50)]
    assert run.instruments["AAA"].contract_size == D("0.2")
    assert run.reloads == 1
    run.close()
    other.close()


@given(amount=st.decimals(-5_000, 5_000, places=10))
@settings(max_examples=30)
def test_a_transfer_changes_balance_and_equity_by_its_income(amount: Decimal) -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars()}))
    before = engine.account()
    engine.transfer(amount)
    (income,) = engine.income(0)
    after = engine.account()
    assert abs(income.amount - amount) < D("1e-8")
    assert (income.kind, income.at_ms) == ("transfer", engine.market_ms)
    assert after.wallet_balance - before.wallet_balance == income.amount
    assert after.equity - before.equity == income.amount
    money = [each for each in engine.audit_log if isinstance(each, MoneyAudit)]
    assert [(each.kind, each.amount) for each in money[1:]] == [("transfer", income.amount)]


@given(share=st.decimals("0.001", 1, places=3), quantity=st.integers(10, 300))
@settings(max_examples=40)
def test_a_forced_close_fills_whole_lots_of_its_share_at_the_mark(
    share: Decimal, quantity: int
) -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars(FLAT)}))
    assert not engine.close_by_force("AAA", D(1), FillReason.ADL)
    engine.place(order("in", BUY, quantity))
    (held,) = engine.positions()
    closed = int(share * quantity)  # the lot is one contract
    assert engine.close_by_force("AAA", share, FillReason.ADL) is (closed > 0)
    assert sum(p.quantity for p in engine.positions()) == quantity - closed
    forced = [fill for fill in engine.fills(0) if fill.reason == "adl"]
    assert [(f.quantity, f.price) for f in forced] == [(D(closed), held.mark_price)] * (closed > 0)
