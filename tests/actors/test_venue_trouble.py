"""A failing venue: unknown outcomes, failed reads, lost stops and external orders."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import attrs
import pytest

from kamou.core.book.events import (
    CancelRequested,
    IntentRecorded,
    OrderClosed,
    OrderRejected,
    OrderUnknown,
    PermitReleased,
    PositionAdopted,
    StateChanged,
    StopConfirmed,
    TradeClosed,
)
from kamou.core.codes import StateReason
from kamou.core.model import OrderRole, OrderSide, OrderStatus, OrderType, TimeInForce, TradingState
from kamou.messages.governor import Flatten, Halt
from kamou.venue.state import OrderRequest
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Ended, Harness, at, run_system
from tests.actors.trouble import (
    ALL,
    LIMITED,
    LOST,
    REJECTED,
    UNANSWERED,
    UNREACHABLE,
    Trouble,
    TroubledExchange,
    every,
    stops_of,
)

D = Decimal


def play(trouble: Trouble, **more: Any) -> Ended:
    return run_system(adapter=partial(TroubledExchange, trouble=trouble), **more)


def entry_of(ended: Ended, symbol: str) -> str:
    """Return the client order id of the symbol's first entry."""
    return next(
        e.intent.client_order_id
        for e in ended.of(IntentRecorded)
        if e.intent.symbol == symbol and e.intent.role is OrderRole.ENTRY
    )


def about(ended: Ended, kind: type[Any], client_order_id: str) -> list[Any]:
    return [event for event in ended.of(kind) if event.client_order_id == client_order_id]


def find_errors(ended: Ended) -> list[str]:
    return faults(ended, until_minute=scripted_market.MINUTES)


# --- orders ------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", [LOST, UNREACHABLE])
def test_an_order_that_never_arrived_is_unknown_then_expired_and_never_sent_again(
    fate: str,
) -> None:
    trouble = Trouble(fate=every(OrderRole.ENTRY, fate, "BBB"))
    ended = play(trouble)
    name = entry_of(ended, "BBB")
    (unknown,) = about(ended, OrderUnknown, name)
    (closed,) = about(ended, OrderClosed, name)
    assert closed.status is OrderStatus.EXPIRED
    assert closed.at_ms - unknown.at_ms >= 19_000  # the receive window, the timeout and a margin
    assert [i.client_order_id for i in trouble.sent].count(name) == 1
    assert "BBB" not in {trade.symbol for trade in ended.of(TradeClosed)}
    released = {e.permit_id: e.reason for e in ended.of(PermitReleased)}
    order = ended.book.orders.find(name)
    assert order is not None
    assert released[order.intent.permit_id] == "no_fill"
    assert find_errors(ended) == []


def test_an_order_whose_answer_was_lost_is_found_by_query_and_protected() -> None:
    trouble = Trouble(fate=every(OrderRole.ENTRY, UNANSWERED))
    ended = play(trouble)
    assert ended.of(OrderUnknown)
    sent = [intent.client_order_id for intent in trouble.sent]
    assert len(sent) == len(set(sent))
    assert len(ended.of(TradeClosed)) == 7
    assert find_errors(ended) == []


@pytest.mark.parametrize(
    ("fate", "code"), [(REJECTED, "MARGIN_INSUFFICIENT"), (LIMITED, "RATE_LIMITED")]
)
def test_the_stop_and_take_profit_of_a_rejected_or_rate_limited_entry_are_rejected_too(
    fate: str, code: str
) -> None:
    trouble = Trouble(fate=every(OrderRole.ENTRY, fate, "BBB"))
    ended = play(trouble)
    refused = [e for e in ended.of(OrderRejected) if e.code == code]
    assert len(refused) == 3  # entry, stop and take-profit
    assert [e.reason for e in ended.of(PermitReleased) if e.reason == code] == [code]
    assert find_errors(ended) == []


@pytest.mark.parametrize("fate", [LOST, UNANSWERED, REJECTED, LIMITED])
def test_only_an_exit_that_did_not_act_is_followed_by_another_exit_of_the_trade(
    fate: str,
) -> None:
    trouble = Trouble(fate=every(OrderRole.EXIT, fate, "DDD"))

    async def direct(harness: Harness) -> None:
        await harness.until(8.5)
        trouble.fate = lambda intent: ""

    ended = play(trouble, direct=direct)
    closes = [i for i in trouble.sent if i.role is OrderRole.EXIT and i.symbol == "DDD"]
    assert len({i.client_order_id for i in closes}) == len(closes)
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == "DDD"]
    assert closed.exit_reason == "time_limit"
    assert (len(closes) == 1) == (fate == UNANSWERED)
    assert find_errors(ended) == []


def test_a_cancel_that_the_venue_did_not_receive_is_requested_again() -> None:
    trouble = Trouble(cancel="lost")

    async def direct(harness: Harness) -> None:
        await harness.until(3.5)
        trouble.cancel = ""

    ended = play(trouble, direct=direct)
    asked = [e.client_order_id for e in ended.of(CancelRequested)]
    assert len(asked) > len(set(asked))
    assert find_errors(ended) == []


# --- reads -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["away", "limited"])
def test_a_venue_that_answers_no_read_never_counts_as_flat(how: str) -> None:
    trouble = Trouble()
    heads: list[int] = []

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        setattr(trouble, how, ALL)
        await harness.until(5.5)
        book = harness.book()
        heads.append(len(book.trades.open))
        assert book.reconciliation.cycle_at_ms == at(2)  # no reconciliation was completed
        setattr(trouble, how, frozenset())

    ended = play(trouble, direct=direct)
    assert heads == [3]  # the stream reported the exits meanwhile
    assert find_errors(ended) == []
    assert ended.book.trades.position("GGG") > 0  # trading went on


@pytest.mark.parametrize("name", ["positions", "open_orders", "account"])
def test_a_reconciliation_with_one_failed_read_is_not_completed(name: str) -> None:
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        trouble.away = frozenset({name})
        await harness.until(5.5)
        assert harness.book().reconciliation.cycle_at_ms == at(2)
        trouble.away = frozenset()

    assert find_errors(play(trouble, direct=direct)) == []


def test_candidates_without_a_quote_are_vetoed_and_no_order_fills() -> None:
    trouble = Trouble()

    async def direct(harness: Harness) -> None:
        await harness.until(1.01)
        trouble.away = frozenset({"quotes"})

    ended = play(trouble, direct=direct)
    vetoed = {d.code for _, each in ended.vetoed for d in each.denials}
    assert "DATA_STALE" in vetoed
    assert not ended.fills


def test_an_entry_whose_quote_is_missing_after_the_veto_is_denied() -> None:
    trouble = Trouble()
    original = TroubledExchange.quotes
    asked: list[int] = []

    class Forgetful(TroubledExchange):
        async def quotes(self, symbols: tuple[str, ...]) -> Any:
            asked.append(len(symbols))
            if (
                len(symbols) == 1 and symbols[0] == "BBB"
            ):  # the order manager reads one symbol at a time
                self.trouble.away = frozenset({"quotes"})
            try:
                return await original(self, symbols)
            finally:
                self.trouble.away = frozenset()

    ended = run_system(adapter=partial(Forgetful, trouble=trouble))
    (denied,) = [e for e in ended.denied if e.symbol == "BBB"]
    assert [d.code for d in denied.denials] == ["PRICE_MARK_MISSING"]
    assert find_errors(ended) == []


# --- protection --------------------------------------------------------------------------


def test_a_position_whose_stop_is_never_read_back_is_closed_within_8_seconds() -> None:
    trouble = Trouble(hidden=stops_of("DDD"))
    ended = play(trouble)
    name = entry_of(ended, "DDD")
    filled_ms = next(f.at_ms for f in ended.fills if f.client_order_id == name)
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == "DDD"]
    assert closed.exit_reason == "exit"
    assert 6_000 <= closed.closed_at_ms - filled_ms <= 8_000
    assert "DDD" not in {e.symbol for e in ended.of(StopConfirmed)}
    assert find_errors(ended) == []


def test_a_stop_that_vanished_is_replaced_and_confirmed() -> None:
    async def direct(harness: Harness) -> None:
        await harness.until(4.5)
        engine = harness.session.engine
        await harness.tree.port.server_time_ms()  # brings the market to this minute
        (stop,) = [o for o in engine.open_orders() if stops_of("DDD")(o)]
        engine.cancel(stop.client_order_id)  # by an external cancel
        await harness.tree.port.server_time_ms()  # the venue reports the cancel

    ended = play(Trouble(), direct=direct)
    confirmed = [e for e in ended.of(StopConfirmed) if e.symbol == "DDD"]
    assert len({e.client_order_id for e in confirmed}) == 2
    assert find_errors(ended) == []


def test_time_without_an_answer_of_the_venue_does_not_count_towards_the_stop_deadline() -> None:
    trouble = Trouble(hidden=stops_of("DDD"))

    async def direct(harness: Harness) -> None:
        await harness.until(2.06)
        trouble.away = frozenset({"open_orders"})
        await harness.until(2.9)
        trouble.hidden = lambda order: False
        trouble.away = frozenset()

    ended = play(trouble, direct=direct)
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == "DDD"]
    assert closed.exit_reason == "time_limit"
    assert find_errors(ended) == []


def test_a_position_that_can_be_neither_protected_nor_closed_leads_to_flattening() -> None:
    trouble = Trouble(hidden=stops_of("DDD"), fate=every(OrderRole.EXIT, REJECTED, "DDD"))
    ended = play(trouble)
    (flattened,) = [e for e in ended.of(StateChanged) if e.after is TradingState.FLATTENING]
    assert flattened.reason == "PROTECTION_FAILED"
    assert {p.symbol for p in ended.positions} == {"DDD"}  # its stop still rests at the venue


# --- commands ----------------------------------------------------------------------------


def test_flatten_closes_every_position_and_no_position_opens_afterwards() -> None:
    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        harness.tree.governor.put_priority(
            Flatten(reason=StateReason.OPERATOR_FLATTEN, note="a drill")
        )

    ended = play(Trouble(), direct=direct)
    assert ended.positions == ()
    assert ended.orders == ()
    assert max(f.at_ms for f in ended.fills) < at(2.6)
    assert ended.book.trading.state is TradingState.FLATTENING
    assert ended.checked.violations == ()


def test_a_flatten_sends_the_next_exit_without_a_query_of_the_one_that_timed_out() -> None:
    """Seed 995256: three exits timed out, and each waited 20 s for its query."""
    trouble = Trouble(fate=every(OrderRole.EXIT, LOST, "DDD"))

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        harness.tree.governor.put_priority(
            Flatten(reason=StateReason.OPERATOR_FLATTEN, note="a drill")
        )
        await harness.until(2.6)
        trouble.fate = lambda intent: ""

    ended = play(trouble, direct=direct)
    lost = [i for i in trouble.sent if i.role is OrderRole.EXIT and i.symbol == "DDD"][:-1]
    assert len(lost) >= 2
    assert ended.positions == ()
    assert max(f.at_ms for f in ended.fills) < at(2.65)
    assert ended.checked.violations == ()


def test_a_halt_keeps_stops_and_cancels_entries_in_flight() -> None:
    trouble = Trouble(fate=every(OrderRole.ENTRY, LOST, "DDD"))

    async def direct(harness: Harness) -> None:
        await harness.until(2.1)
        harness.tree.governor.put_priority(Halt(reason=StateReason.OPERATOR_HALT, note=""))
        await harness.until(2.5)
        assert {p.symbol for p in harness.session.engine.positions()} == {
            "AAA",
            "BBB",
            "CCC",
            "EEE",
        }

    ended = play(trouble, direct=direct)
    name = entry_of(ended, "DDD")
    assert about(ended, CancelRequested, name)
    assert about(ended, OrderClosed, name)[0].status is OrderStatus.EXPIRED
    assert not [i for i in trouble.sent if i.role is OrderRole.ENTRY and i.intended_at_ms > at(2.2)]
    assert {t.exit_reason for t in ended.of(TradeClosed)} == {"take_profit", "stop_loss"}
    assert ended.positions == ()
    assert ended.checked.violations == ()


# --- external orders and settings --------------------------------------------------------


def external_order(symbol: str, side: OrderSide, quantity: str) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"web-{symbol}-{side.value}",
        symbol=symbol,
        side=side,
        type=OrderType.MARKET,
        quantity=D(quantity),
        limit_price=None,
        trigger_price=None,
        time_in_force=TimeInForce.IOC,
        reduce_only=False,
        leverage=5,
    )


def test_an_external_position_is_adopted_and_protected_and_entries_stop_meanwhile() -> None:
    async def direct(harness: Harness) -> None:
        await harness.until(3.3)
        harness.session.engine.place(external_order("HHH", OrderSide.BUY, "3"))

    ended = play(Trouble(), direct=direct)
    (adopted,) = ended.of(PositionAdopted)
    assert (adopted.symbol, adopted.quantity) == ("HHH", D(3))
    assert [e.symbol for e in ended.of(StopConfirmed)].count("HHH") >= 1
    changes = [(e.after, e.reason) for e in ended.of(StateChanged)]
    assert (TradingState.REDUCE_ONLY, "RECONCILE_MISMATCH") in changes
    assert not [
        f for f in ended.fills if f.symbol == "FFF"
    ]  # its signal came before the drift was explained
    held = {p.symbol: p.quantity for p in ended.positions}
    assert held["HHH"] == ended.book.trades.position("HHH")
    assert ended.book.trades.open["HHH"].protected


def test_an_external_exit_closes_the_trade_as_external_and_its_orders_are_canceled() -> None:
    async def direct(harness: Harness) -> None:
        await harness.until(4.4)
        engine = harness.session.engine
        held = next(p for p in engine.positions() if p.symbol == "DDD")
        engine.place(external_order("DDD", OrderSide.SELL, str(held.quantity)))

    ended = play(Trouble(), direct=direct)
    (closed,) = [e for e in ended.of(TradeClosed) if e.symbol == "DDD"]
    assert closed.exit_reason == "external"
    assert not [o for o in ended.orders if o.symbol == "DDD"]
    assert find_errors(ended) == ["sent without an intent: ['web-DDD-sell']"]


def test_a_venue_without_attached_orders_gets_stops_and_take_profits_as_separate_orders() -> None:
    plain = SETTINGS.exchange
    settings = attrs.evolve(SETTINGS, exchange=attrs.evolve(plain, attached_stop=False))
    ended = play(Trouble(), settings=settings)
    reasons = {t.exit_reason for t in ended.of(TradeClosed)}
    assert reasons == {"stop_loss", "take_profit", "time_limit"}
    assert find_errors(ended) == []
