"""Orders at the embedded venue: checks, arrival, time in force and cancellation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kamou.core.book.updates import FillUpdate, OrderUpdate
from kamou.core.market.fill_prices import SlippageModel
from kamou.core.model import OrderStatus, OrderType, TimeInForce
from kamou.errors import RejectedError
from kamou.venue.models import VenueModels
from kamou.venue.state import OrderRequest
from tests.venue.memory_market import STEP_MS, MemoryMarket, instrument, with_bars
from tests.venue.venue_orders import (
    BUY,
    SELL,
    at,
    engine_at,
    entry_with_exits,
    limit,
    order,
    report_of,
    stop,
)

D = Decimal
IOC, FOK = TimeInForce.IOC, TimeInForce.FOK


def flat(**more: Any) -> MemoryMarket:
    return MemoryMarket({"AAA": with_bars()}, **more)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (order("a", BUY, "1.5"), "QUANTITY_OFF_STEP"),
        (order("a", BUY, 0), "QUANTITY_OFF_STEP"),
        (order("a", BUY, 200_000), "QUANTITY_EXCEEDS_MAXIMUM"),
        (order("a", BUY, 2), "QUANTITY_BELOW_MINIMUM"),
        (limit("a", BUY, 3, 0.01), "NOTIONAL_BELOW_MINIMUM"),
        (limit("a", BUY, 100, 99.999), "PRICE_OFF_TICK"),
        (limit("a", BUY, 100, -1), "PRICE_OFF_TICK"),
        (order("a", BUY, 100, type=OrderType.LIMIT), "PRICE_MISSING"),
        (order("a", BUY, 100, type=OrderType.STOP_MARKET), "TRIGGER_MISSING"),
        (order("a", BUY, 100, leverage=21), "LEVERAGE_EXCEEDED"),
        (order("a", BUY, 100, leverage=0), "LEVERAGE_EXCEEDED"),
        (order("a", BUY, 6000, leverage=5), "MARGIN_INSUFFICIENT"),
        (order("a", BUY, 100, reduce_only=True), "REDUCE_ONLY_REJECTED"),
        (limit("a", BUY, 100, 99, reduce_only=True), "REDUCE_ONLY_REJECTED"),
        (limit("a", BUY, 100, 101, post_only=True), "POST_ONLY_WOULD_TAKE"),
        (order("a", BUY, 100, symbol="ZZZ"), "INSTRUMENT_UNKNOWN"),
        (order("", BUY, 100), "DUPLICATE_CLIENT_ID"),
    ],
)
def test_an_invalid_order_is_rejected_with_its_code_and_leaves_no_order_or_position(
    bad: OrderRequest, code: str
) -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars()}, instruments=[instrument(qty_min=D(3))]))
    with pytest.raises(RejectedError) as rejection:
        engine.place(bad)
    assert rejection.value.code == code
    assert engine.open_orders() == ()
    assert engine.positions() == ()
    assert engine.account().wallet_balance == 10_000


def test_margin_of_positions_and_resting_orders_is_not_available_again() -> None:
    engine = engine_at(flat())
    engine.place(order("a", BUY, 2_000))  # 4,000 of margin
    engine.place(limit("b", BUY, 2_000, 99))  # 3,960 more, resting
    with pytest.raises(RejectedError, match="MARGIN_INSUFFICIENT"):
        engine.place(order("c", BUY, 2_000))
    engine.cancel("b")
    engine.place(order("d", BUY, 2_000))


def test_an_unrealized_loss_reduces_the_available_margin() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((95, 95, 95, 95, 10_000), before=4)}))
    engine.place(order("a", BUY, 1_000))  # loses 500 when the price falls to 95
    engine.advance(at(4))
    assert engine.account().available == engine.account().equity - 2_000
    with pytest.raises(RejectedError, match="MARGIN_INSUFFICIENT"):
        engine.place(order("b", BUY, 4_000))


def test_a_client_order_id_is_accepted_once() -> None:
    engine = engine_at(flat())
    engine.place(limit("a", BUY, 10, 99))
    for again in (limit("a", BUY, 10, 99), entry_with_exits("a")[0]):
        with pytest.raises(RejectedError, match="DUPLICATE_CLIENT_ID"):
            engine.place(again)
    entry, exits = entry_with_exits("b")
    with pytest.raises(RejectedError, match="DUPLICATE_CLIENT_ID"):
        engine.place(entry, (exits[0], exits[0]))
    assert engine.order("b") is None


def test_a_market_order_pays_half_the_spread_and_slippage() -> None:
    engine = engine_at(
        flat(half_spread_bps=10.0), models=VenueModels(slippage=SlippageModel(bps=2.0))
    )
    quote = engine.quotes(("AAA", "ZZZ"))
    assert (quote["AAA"].bid, quote["AAA"].ask, quote["AAA"].mark) == (
        D("99.90"),
        D("100.10"),
        D(100),
    )
    assert quote["AAA"].bid_qty == 10_000  # a tenth of 10,000 units in contracts of 0.1
    assert list(quote) == ["AAA"]
    done = engine.place(order("a", BUY, 100))
    assert done.status is OrderStatus.FILLED
    assert done.average_price == D("100.12")
    (fill,) = engine.fills(0)
    assert fill.fee == D("100.12") * 10 * D("0.0006")
    assert fill.slippage == D("1.2")
    account = engine.account()
    assert account.wallet_balance == 10_000 - fill.fee
    assert account.unrealized_pnl == D("-1.2")
    assert account.margin_used == D("1001.2") / 5
    assert account.available == account.equity - account.margin_used


def test_an_ioc_limit_fills_within_depth_and_cancels_the_rest() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 100, 100, 50), before=3)}), 4)
    done = engine.place(limit("a", BUY, 100, 101, time_in_force=IOC))
    assert (done.status, done.filled) == (OrderStatus.CANCELED, D(50))
    assert engine.positions()[0].quantity == 50


def test_an_ioc_limit_that_does_not_cross_is_canceled_with_its_attached_orders() -> None:
    engine = engine_at(flat(half_spread_bps=5))
    _, exits = entry_with_exits()
    done = engine.place(limit("e", BUY, 100, 100.0, time_in_force=IOC), exits)
    assert (done.status, done.filled, done.average_price) == (OrderStatus.CANCELED, D(0), None)
    assert {report_of(engine, e.client_order_id).status for e in exits} == {OrderStatus.CANCELED}
    assert engine.open_orders() == ()


def test_a_fill_or_kill_order_fills_whole_or_not_at_all() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 100, 100, 50), before=3)}), 4)
    killed = engine.place(limit("a", BUY, 51, 101, time_in_force=FOK))
    assert (killed.status, killed.filled) == (OrderStatus.CANCELED, D(0))
    filled = engine.place(limit("b", BUY, 50, 101, time_in_force=FOK))
    assert filled.status is OrderStatus.FILLED


def test_a_market_entry_fills_up_to_the_depth_and_a_reducing_order_fills_whole() -> None:
    market = MemoryMarket({"AAA": with_bars((100, 100, 100, 100, 50), before=3)})
    engine = engine_at(market, 3, models=VenueModels(slippage=SlippageModel(bps=2, cap_bps=100)))
    engine.place(order("a", BUY, 200))
    engine.advance(at(4))
    thin = engine.place(order("b", BUY, 100))
    assert (thin.status, thin.filled) == (OrderStatus.CANCELED, D(50))
    closed = engine.place(order("c", SELL, 250, reduce_only=True))
    assert closed.status is OrderStatus.FILLED
    assert closed.average_price == D("99.90")  # five times the depth: 5 x 2 bps
    assert engine.positions() == ()


def test_without_volume_entries_do_not_fill_and_exits_pay_the_slippage_cap() -> None:
    market = MemoryMarket({"AAA": with_bars((100, 100, 100, 100, 0), before=3)})
    engine = engine_at(market, 3, models=VenueModels(slippage=SlippageModel(bps=2, cap_bps=100)))
    engine.place(order("a", BUY, 100))
    engine.advance(at(4))
    none = engine.place(order("b", BUY, 100))
    assert (none.status, none.filled) == (OrderStatus.CANCELED, D(0))
    closed = engine.place(order("c", SELL, 100, reduce_only=True))
    assert closed.average_price == D("99.00")


def test_a_resting_limit_fills_only_when_traded_through_and_as_maker() -> None:
    bars = with_bars((100, 100, 99, 100, 1000), (100, 100, 98.99, 100, 1000))
    engine = engine_at(MemoryMarket({"AAA": bars}))
    engine.place(limit("a", BUY, 100, 99))
    engine.advance(at(4))
    assert report_of(engine, "a").status is OrderStatus.ACCEPTED  # touched, not traded through
    engine.advance(at(5))
    assert report_of(engine, "a").status is OrderStatus.FILLED
    (fill,) = engine.fills(0)
    assert (fill.price, fill.maker, fill.slippage) == (D(99), True, D(0))
    assert fill.fee == D("990") * D("0.0002")


def test_a_resting_limit_fills_in_parts_by_participation() -> None:
    through = (100.0, 100.0, 98.5, 100.0, 40.0)
    engine = engine_at(MemoryMarket({"AAA": with_bars(through, through, through)}))
    _, exits = entry_with_exits("a")
    engine.place(limit("a", BUY, 100, 99), exits)
    assert [o.client_order_id for o in engine.open_orders()] == [
        "a"
    ]  # the attached orders are dormant
    engine.advance(at(4))
    assert (report_of(engine, "a").status, report_of(engine, "a").filled) == (
        OrderStatus.PARTIALLY_FILLED,
        D(40),
    )
    assert report_of(engine, "a-stop").quantity == 40
    engine.advance(at(5))
    assert report_of(engine, "a-stop").quantity == 80
    engine.advance(at(6))
    assert report_of(engine, "a").status is OrderStatus.FILLED
    assert report_of(engine, "a-stop").quantity == 100
    assert engine.positions()[0].quantity == 100


def test_a_marketable_gtc_limit_takes_the_depth_and_rests_with_the_remainder() -> None:
    bars = with_bars((100, 100, 100, 100, 50), before=3)
    engine = engine_at(MemoryMarket({"AAA": bars}), 4)
    part = engine.place(limit("a", BUY, 80, 100.5))
    assert (part.status, part.filled) == (OrderStatus.PARTIALLY_FILLED, D(50))
    assert engine.account().margin_used > engine.positions()[0].margin  # the rest reserves margin
    engine.advance(at(5))
    assert report_of(engine, "a").status is OrderStatus.FILLED


def test_the_fill_price_of_a_limit_order_does_not_pass_its_limit() -> None:
    engine = engine_at(flat(half_spread_bps=10), models=VenueModels(slippage=SlippageModel(bps=50)))
    assert engine.place(limit("a", BUY, 10, 100.2, time_in_force=IOC)).average_price == D("100.2")
    assert engine.place(limit("b", SELL, 10, 99.8, time_in_force=IOC)).average_price == D("99.8")


def test_a_post_only_order_rests_if_it_does_not_cross() -> None:
    engine = engine_at(flat(half_spread_bps=10))
    assert engine.place(limit("a", BUY, 10, 100, post_only=True)).status is OrderStatus.ACCEPTED


def test_attached_orders_become_live_with_the_filled_quantity_of_the_entry() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 100, 100, 50), before=3)}), 4)
    entry, exits = entry_with_exits(quantity=100)
    engine.place(entry, exits)
    resting = {o.client_order_id: o for o in engine.open_orders()}
    assert set(resting) == {"e-stop", "e-target"}
    assert all(o.quantity == 50 and o.reduce_only for o in resting.values())
    events = engine.take_events()
    assert sum(isinstance(e, FillUpdate) for e in events) == 1
    assert [e.order.client_order_id for e in events if isinstance(e, OrderUpdate)][-1] == "e"
    assert engine.take_events() == []


@pytest.mark.parametrize(
    "child",
    [
        stop("s", BUY, 100, 98),
        limit("s", SELL, 100, 104),
        order("s", SELL, 100, type=OrderType.STOP_MARKET, trigger_price=98),
    ],
)
def test_an_entry_with_an_invalid_attached_order_is_rejected(child: OrderRequest) -> None:
    engine = engine_at(flat())
    with pytest.raises(RejectedError, match="ATTACHED_INVALID"):
        engine.place(order("e", BUY, 100), (child,))
    assert engine.order("e") is None
    with pytest.raises(RejectedError, match="PRICE_OFF_TICK"):
        engine.place(order("e", BUY, 100), (stop("s", SELL, 100, 98.001),))
    assert engine.positions() == ()


def test_canceling_a_resting_order_cancels_its_dormant_attached_orders() -> None:
    engine = engine_at(flat())
    _, exits = entry_with_exits("a")
    engine.place(limit("a", BUY, 100, 99), exits)
    engine.cancel("a")
    engine.cancel("a")  # already terminal: no error
    assert {report_of(engine, n).status for n in ("a", "a-stop", "a-target")} == {
        OrderStatus.CANCELED
    }
    assert engine.account().margin_used == 0
    with pytest.raises(RejectedError, match="ORDER_UNKNOWN"):
        engine.cancel("never")


def test_canceling_a_dormant_attached_order_and_then_its_entry_leaves_no_open_order() -> None:
    engine = engine_at(flat())
    _, exits = entry_with_exits("a")
    engine.place(limit("a", BUY, 100, 99), exits)
    engine.cancel("a-target")
    engine.cancel("a")
    assert engine.open_orders() == ()


def test_opposite_orders_net_and_reverse_the_one_position() -> None:
    engine = engine_at(flat())
    engine.place(order("a", BUY, 100))
    engine.place(order("b", SELL, 150, leverage=2))
    (held,) = engine.positions()
    assert (held.quantity, held.entry_price, held.leverage) == (D(-50), D(100), 2)
    engine.place(order("c", SELL, 50, leverage=2))
    assert engine.positions()[0].quantity == -100
    engine.place(order("d", BUY, 100, leverage=2))  # needs no margin: it only reduces
    assert engine.positions() == ()


def test_a_symbol_without_a_market_takes_no_orders_and_keeps_its_last_mark() -> None:
    nan = float("nan")
    gone = (nan, nan, nan, nan, nan)
    bars = [*with_bars((100, 103, 100, 103, 1000), after=12), *[gone] * 30]
    engine = engine_at(MemoryMarket({"AAA": bars}))
    engine.place(order("a", BUY, 100))
    engine.place(stop("s", SELL, 100, 90))
    engine.advance(at(20))
    assert engine.quotes(("AAA",)) == {}
    with pytest.raises(RejectedError, match="MARKET_UNAVAILABLE"):
        engine.place(order("b", BUY, 100))
    assert engine.positions()[0].mark_price == 103  # the mark that was stored at the last full hour
    assert engine.open_orders()[0].client_order_id == "s"


def test_a_stop_whose_trigger_is_already_passed_fills_at_once() -> None:
    engine = engine_at(flat())
    engine.place(order("a", BUY, 100))
    done = engine.place(stop("s", SELL, 100, 100.5))
    assert (done.status, done.average_price) == (OrderStatus.FILLED, D(100))
    again = engine.place(stop("t", SELL, 100, 100.5))
    assert again.status is OrderStatus.REJECTED  # triggered on a flat position


def test_a_take_profit_market_that_is_already_reached_fills_at_once() -> None:
    engine = engine_at(flat())
    engine.place(order("a", BUY, 100))
    reached = order(
        "t", SELL, 100, type=OrderType.TAKE_PROFIT_MARKET, trigger_price=99.5, reduce_only=True
    )
    assert engine.place(reached).status is OrderStatus.FILLED


def test_conditional_orders_without_a_position_rest() -> None:
    engine = engine_at(flat())
    engine.place(stop("s", SELL, 100, 98))
    engine.place(
        order(
            "t", SELL, 100, type=OrderType.TAKE_PROFIT_MARKET, trigger_price=104, reduce_only=True
        )
    )
    assert [o.client_order_id for o in engine.open_orders()] == ["s", "t"]
    assert engine.account().margin_used == 0


def test_advancing_to_a_past_time_does_nothing() -> None:
    engine = engine_at(flat(), 5)
    assert engine.advance(at(3)) == []
    assert engine.market_ms == at(5)


def test_an_idle_venue_reads_no_path_of_the_market() -> None:
    market = flat()
    engine = engine_at(market)
    before = market.segments
    engine.advance(at(2) + 20 * STEP_MS)
    assert market.segments == before
