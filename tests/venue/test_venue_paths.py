"""Orders and positions along a bar: stops, gaps, funding, liquidation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kamou.core.day import HOUR_MS
from kamou.core.market.fill_prices import SettledFunding, SlippageModel, StopFillModel
from kamou.core.model import OrderSide, OrderStatus, OrderType
from kamou.core.risk.limits import CostModel
from kamou.settings.config import ExchangeSettings
from kamou.venue.engine import Engine
from kamou.venue.models import LiquidationModel, VenueModels, VolumeShareFills
from tests.venue.memory_market import Bar, MemoryMarket, instrument, with_bars
from tests.venue.venue_orders import (
    BUY,
    EXACT,
    SELL,
    at,
    engine_at,
    entry_with_exits,
    limit,
    order,
    report_of,
    stop,
    target,
)

D = Decimal


def long_through(*bars: Bar, models: VenueModels = EXACT, **entry: Any) -> Engine:
    """Enter a protected long in bar 2, and advance through ``bars`` from bar 3 on."""
    engine = engine_at(MemoryMarket({"AAA": with_bars(*bars)}), models=models)
    request, exits = entry_with_exits(**entry)
    engine.place(request, exits)
    engine.advance(at(3 + len(bars)))
    return engine


def test_a_stop_fills_at_its_trigger_inside_an_orderly_bar() -> None:
    engine = long_through((100, 100, 97.5, 99, 1000))
    stopped = report_of(engine, "e-stop")
    assert (stopped.status, stopped.average_price) == (OrderStatus.FILLED, D(98))
    assert engine.positions() == ()
    assert engine.account().wallet_balance == 10_000 - 20 - D("0.6") - D("0.588")
    assert [o.client_order_id for o in engine.open_orders()] == [
        "e-target"
    ]  # an orphan order: the venue does not cancel it


def test_a_stop_fills_at_the_open_of_a_bar_that_opens_beyond_it() -> None:
    engine = long_through((97, 97.2, 96.9, 97, 1000))
    assert report_of(engine, "e-stop").average_price == 97


def test_a_stop_in_a_very_wide_bar_fills_a_quarter_of_the_way_to_the_extreme() -> None:
    engine = long_through((100, 100, 90, 95, 1000))  # ten times the trailing range
    assert report_of(engine, "e-stop").average_price == 98 - (98 - 90) / D(4)
    fill = engine.fills(0)[-1]
    assert fill.slippage == 20  # two units beyond the trigger on ten units of base


def test_the_stop_of_a_short_in_a_very_wide_bar_fills_a_quarter_of_the_way_to_the_high() -> None:
    bars = with_bars((100, 112, 100, 105, 1000))
    engine = engine_at(MemoryMarket({"AAA": bars}))
    engine.place(order("e", SELL, 100), (stop("s", BUY, 100, 102),))
    engine.advance(at(4))
    assert report_of(engine, "s").average_price == 102 + (112 - 102) / D(4)


def test_a_stop_pays_slippage_beyond_its_trigger() -> None:
    models = VenueModels(slippage=SlippageModel(bps=10), funding=EXACT.funding)
    engine = long_through((100, 100, 97.5, 99, 1000), models=models)
    assert report_of(engine, "e-stop").average_price == D("97.90")


def test_the_stop_is_taken_first_when_stop_and_take_profit_are_inside_one_bar() -> None:
    engine = long_through((100, 104.5, 97.9, 100, 1000))
    assert report_of(engine, "e-stop").status is OrderStatus.FILLED
    assert (
        report_of(engine, "e-target").status is OrderStatus.REJECTED
    )  # reached with nothing to close


def test_a_take_profit_limit_fills_only_when_traded_through() -> None:
    touched = (100.0, 104.0, 99.5, 103.0, 1000.0)
    through = (103.0, 104.01, 102.5, 103.5, 1000.0)
    engine = long_through(touched)
    assert report_of(engine, "e-target").status is OrderStatus.ACCEPTED
    engine = long_through(touched, through)
    done = report_of(engine, "e-target")
    assert (done.status, done.average_price) == (OrderStatus.FILLED, D(104))
    assert engine.fills(0)[-1].maker
    assert engine.positions() == ()


def test_a_partial_take_profit_leaves_a_stop_that_closes_only_the_rest() -> None:
    partly = (100.0, 105.0, 100.0, 100.0, 40.0)
    engine = long_through(partly, (100, 100, 97, 97, 1000))
    assert report_of(engine, "e-target").filled == 40
    stopped = report_of(engine, "e-stop")
    assert (stopped.status, stopped.filled, stopped.quantity) == (OrderStatus.FILLED, D(60), D(60))
    assert engine.positions() == ()


def test_an_orphan_stop_that_triggers_on_a_flat_position_is_rejected() -> None:
    engine = long_through((100, 105, 100, 103, 1000), (103, 103, 97, 97, 1000))
    assert report_of(engine, "e-target").status is OrderStatus.FILLED
    assert report_of(engine, "e-stop").status is OrderStatus.REJECTED
    assert engine.positions() == ()


def test_a_take_profit_market_order_fills_at_its_trigger_as_taker() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 105, 100, 103, 1000))}))
    reached = order(
        "t", SELL, 100, type=OrderType.TAKE_PROFIT_MARKET, trigger_price=104, reduce_only=True
    )
    engine.place(order("e", BUY, 100), (reached,))
    engine.advance(at(4))
    assert report_of(engine, "t").average_price == 104
    assert not engine.fills(0)[-1].maker


def test_an_entry_and_its_stop_may_fill_in_one_bar_but_its_take_profit_waits() -> None:
    bars = with_bars((100, 110, 97, 108, 1000))
    engine = engine_at(MemoryMarket({"AAA": bars}))
    _, exits = entry_with_exits("e")
    engine.place(limit("e", BUY, 100, 99), exits)
    engine.advance(at(4))
    assert report_of(engine, "e").status is OrderStatus.FILLED
    assert report_of(engine, "e-stop").status is OrderStatus.FILLED
    assert report_of(engine, "e-target").status is OrderStatus.ACCEPTED


def test_a_stop_that_is_not_reduce_only_opens_a_position() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 103, 100, 102, 1000))}))
    engine.place(order("e", BUY, 100, type=OrderType.STOP_MARKET, trigger_price=102))
    assert engine.account().margin_used == D("1020") / 5
    engine.advance(at(4))
    assert engine.positions()[0].entry_price == 102


@pytest.mark.parametrize("names", [("far", "near"), ("near", "far")])
def test_the_nearer_of_two_stops_fills_first_whichever_came_first(names: tuple[str, str]) -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 96, 97, 1000))}))
    triggers = {"far": 97, "near": 98}
    engine.place(order("e", BUY, 100), tuple(stop(n, SELL, 100, triggers[n]) for n in names))
    engine.advance(at(4))
    assert report_of(engine, "near").average_price == 98
    assert report_of(engine, "far").status is OrderStatus.REJECTED


def test_a_stop_fills_at_its_trigger_if_the_extreme_of_a_bar_touches_it() -> None:
    engine = long_through((100, 100, 98, 99, 1000))
    assert report_of(engine, "e-stop").average_price == 98
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 102, 100, 101, 1000))}))
    engine.place(order("e", SELL, 100), (stop("s", BUY, 100, 102),))
    engine.advance(at(4))
    assert report_of(engine, "s").average_price == 102


# Expected by the formula of isolated linear contracts with a taker fee of 6 bps.
@pytest.mark.parametrize(
    ("entry", "leverage", "rate", "sign", "expected"),
    [
        (50_000, 5, "0.005", 1, 40225.26146419952),
        (50_000, 5, "0.005", -1, 59665.87112171839),
        (2, 20, "0.02", 1, 1.9399632428017153),
    ],
)
def test_the_liquidation_price_agrees_with_the_reference(
    entry: int, leverage: int, rate: str, sign: int, expected: float
) -> None:
    made = LiquidationModel().price(
        instrument(maintenance_margin_rate=D(rate)), D(entry), leverage, D(sign)
    )
    assert float(made) == pytest.approx(expected, rel=1e-12)


def test_a_liquidation_loses_the_isolated_margin_and_no_more() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 70, 75, 1000))}))
    engine.place(order("e", BUY, 100, leverage=5))
    before = engine.account()
    engine.advance(at(4))
    assert engine.positions() == ()
    fill = engine.fills(0)[-1]
    assert (fill.reason, fill.client_order_id, fill.side) == ("liquidation", "", SELL)
    lost = before.wallet_balance - engine.account().wallet_balance
    assert D(0) <= before.margin_used - lost < D("0.2")  # to the tick


def test_a_short_is_liquidated_if_the_price_rises_beyond_its_liquidation_price() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 125, 100, 120, 1000))}))
    engine.place(order("e", SELL, 100, leverage=5))
    assert engine.positions()[0].liquidation_price == pytest.approx(D("119.33"), abs=D("0.01"))
    engine.advance(at(4))
    assert engine.positions() == ()


def test_liquidation_comes_before_a_stop_that_could_only_fill_beyond_it() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 40, 50, 1000))}))
    engine.place(order("e", BUY, 100, leverage=5), (stop("s", SELL, 100, 98),))
    engine.advance(at(4))
    assert engine.fills(0)[-1].reason == "order"  # 98 - 58/4 = 83.5: above 80.45
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 10, 30, 1000))}))
    engine.place(order("e", BUY, 100, leverage=5), (stop("s", SELL, 100, 98),))
    engine.advance(at(4))
    assert engine.fills(0)[-1].reason == "liquidation"  # 98 - 88/4 = 76
    assert report_of(engine, "s").status is OrderStatus.REJECTED


def test_a_long_with_leverage_1_is_not_liquidated() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 0.5, 1, 1000))}))
    engine.place(order("e", BUY, 100, leverage=1))
    assert engine.positions()[0].liquidation_price is None
    engine.advance(at(4))
    assert len(engine.positions()) == 1


def test_longs_pay_the_settled_rate_and_shorts_receive_it() -> None:
    eight = at(0) + 8 * HOUR_MS
    for side, sign in ((BUY, -1), (SELL, 1)):
        market = MemoryMarket({"AAA": with_bars(after=120)}, funding={eight + 7: 0.0003})
        engine = engine_at(market)
        engine.place(order("e", side, 100))
        engine.advance(eight + HOUR_MS)
        (paid,) = engine.income(0)
        assert paid.amount == sign * D("0.3")  # a notional of 1,000 at 3 bps
        assert (paid.kind, paid.at_ms, paid.symbol) == ("funding", eight, "AAA")
        assert engine.income(eight + 1) == ()


def test_both_sides_pay_the_assumed_rate_when_none_is_known() -> None:
    models = VenueModels(
        slippage=EXACT.slippage, funding=SettledFunding(assumed_per_8h=D("0.0001"))
    )
    for side in (BUY, SELL):
        market = MemoryMarket({"AAA": with_bars(after=120)})
        engine = engine_at(market, models=models)
        engine.place(order("e", side, 100))
        engine.advance(at(0) + 9 * HOUR_MS)
        assert [i.amount for i in engine.income(0)] == [D("-0.1")]


def test_a_funding_interval_of_four_hours_settles_every_four_hours() -> None:
    models = VenueModels(
        slippage=EXACT.slippage, funding=SettledFunding(assumed_per_8h=D("0.0001"))
    )
    market = MemoryMarket(
        {"AAA": with_bars(after=120)}, instruments=[instrument(funding_interval_h=4)]
    )
    engine = engine_at(market, models=models)
    engine.place(order("e", BUY, 100))
    engine.advance(at(0) + 9 * HOUR_MS)
    assert [i.amount for i in engine.income(0)] == [D("-0.05"), D("-0.05")]


def test_an_advance_of_many_bars_gives_the_results_of_many_advances_of_one_bar() -> None:
    bars = with_bars((100, 103, 99, 101, 900), (101, 104.5, 97.9, 99, 900), (99, 99, 95, 95, 900))
    stepped = engine_at(MemoryMarket({"AAA": bars}))
    jumped = engine_at(MemoryMarket({"AAA": bars}))
    for engine in (stepped, jumped):
        engine.place(*entry_with_exits())
    for bar in range(3, 16):
        stepped.advance(at(bar))
        stepped.advance(at(bar, 2_150))
    jumped.advance(at(15, 2_150))
    assert jumped.fills(0) == stepped.fills(0)
    assert jumped.account() == stepped.account()
    assert jumped.open_orders() == stepped.open_orders()


@pytest.mark.parametrize(("volume", "depth"), [(100.0, 100), (0.0, 0), (float("nan"), 0), (0.9, 0)])
def test_depth_is_a_share_of_volume_floored_to_the_lot(volume: float, depth: int) -> None:
    assert VolumeShareFills().depth(instrument(), volume) == depth


def test_an_orphan_limit_traded_through_on_a_flat_position_is_rejected() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 105, 100, 100, 1000))}))
    engine.place(order("e", BUY, 100), (target("t", SELL, 100, 104),))
    engine.place(order("x", SELL, 100, reduce_only=True))
    engine.advance(at(4))
    assert report_of(engine, "t").status is OrderStatus.REJECTED
    assert engine.positions() == ()


def test_a_resting_limit_does_not_fill_without_volume() -> None:
    bars = with_bars((98.0, 98.0, 98.0, 98.0, 0.0), before=4)
    engine = engine_at(MemoryMarket({"AAA": bars}))
    engine.place(limit("a", BUY, 100, 99))
    engine.advance(at(5))
    assert report_of(engine, "a").filled == 0


def test_a_take_profit_market_order_waits_for_its_trigger_while_another_one_fills() -> None:
    bars = with_bars((100, 103.9, 99, 103, 1000), (103, 105, 103, 104, 1000))
    engine = engine_at(MemoryMarket({"AAA": bars}))
    reached = order(
        "t", SELL, 100, type=OrderType.TAKE_PROFIT_MARKET, trigger_price=104, reduce_only=True
    )
    other = target("far", SELL, 100, 103.5)
    engine.place(order("e", BUY, 100), (reached, stop("s", SELL, 100, 98), other))
    engine.advance(at(4))  # the limit take-profit fills; the market one is not reached
    assert report_of(engine, "far").status is OrderStatus.FILLED
    assert report_of(engine, "t").status is OrderStatus.ACCEPTED


def test_a_funding_rate_of_zero_books_no_income() -> None:
    eight = at(0) + 8 * HOUR_MS
    engine = engine_at(MemoryMarket({"AAA": with_bars(after=120)}, funding={eight: 0.0}))
    engine.place(order("e", BUY, 100))
    engine.advance(eight + HOUR_MS)
    assert engine.income(0) == ()


def test_the_default_settings_build_the_default_models() -> None:
    made = VenueModels.from_settings(ExchangeSettings(), CostModel())
    assert made == VenueModels()


def test_a_stop_fills_at_its_trigger_if_the_range_of_its_bar_is_unknown() -> None:
    assert StopFillModel().price(SELL, 98.0, 100.0, 50.0, float("nan")) == 98.0


def test_a_position_in_a_market_that_ends_is_settled_at_its_last_close() -> None:
    market = MemoryMarket({"AAA": with_bars(*[(100, 101, 99, 100.5, 1000)] * 30)})
    market.ends["AAA"] = (at(20), 100.5)
    engine = engine_at(market)
    request, exits = entry_with_exits()
    engine.place(request, exits)
    engine.advance(at(28))
    assert engine.positions() == ()
    assert engine.open_orders() == ()
    settled = engine.fills(0)[-1]
    assert (settled.price, settled.at_ms, settled.reason) == (D("100.5"), at(20), "settlement")
    assert settled.client_order_id == ""
    assert engine.income(at(20)) == ()  # no funding after its end


@pytest.mark.parametrize(("side", "sign"), [(BUY, -1), (SELL, 1)])
@pytest.mark.parametrize("mark", [90, 110])
def test_funding_is_paid_on_the_notional_at_the_mark_and_not_at_the_entry(
    side: OrderSide, sign: int, mark: int
) -> None:
    eight = at(0) + 8 * HOUR_MS
    moved = with_bars((100, max(100, mark), min(100, mark), mark, 1000), after=120)
    engine = engine_at(MemoryMarket({"AAA": moved}, funding={eight: 0.0003}))
    engine.place(order("e", side, 100))  # 10 units at 100
    engine.advance(eight + HOUR_MS)
    assert [i.amount for i in engine.income(0)] == [sign * 10 * mark * D("0.0003")]
