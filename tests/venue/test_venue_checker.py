"""The independent checker finds each broken rule, and nothing in an orderly run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou.core.day import HOUR_MS
from kamou.core.market.fill_prices import SettledFunding
from kamou.core.model import OrderSide, OrderType
from kamou.errors import RejectedError
from kamou.venue.checker import CheckLimits, CheckReport, check
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.state import AuditRecord, FillAudit, OrderAudit, OrderRequest
from tests.venue.memory_market import MemoryMarket, with_bars
from tests.venue.venue_orders import BUY, EXACT, SELL, at, engine_at, entry_with_exits, order, stop

D = Decimal


def judge(engine: Engine, audit_log: list[AuditRecord] | None = None) -> CheckReport:
    return check(
        engine.audit_log if audit_log is None else audit_log,
        engine.account(),
        engine.positions(),
        engine.source.instruments,
    )


def rules(report: CheckReport) -> list[str]:
    return [v.rule for v in report.violations]


def calm(**more: Any) -> Engine:
    return engine_at(
        MemoryMarket({"AAA": with_bars(after=150), "BBB": with_bars(after=150)}), **more
    )


def test_a_run_within_its_limits_has_no_violations_and_its_equity_is_recomputed() -> None:
    models = VenueModels(funding=SettledFunding(assumed_per_8h=D("0.0001")))
    bars = with_bars((100, 103, 99, 101, 900), (101, 101, 95, 96, 900), after=150)
    engine = engine_at(MemoryMarket({"AAA": bars, "BBB": with_bars(after=152)}), models=models)
    engine.place(*entry_with_exits())
    engine.advance(at(7))
    engine.place(order("b", SELL, 80, symbol="BBB"), (stop_b("b-stop", BUY, 80, 102),))
    engine.advance(at(0) + 9 * HOUR_MS)
    report = judge(engine)
    assert report.violations == ()
    assert (report.fills, report.orders, report.entries) == (3, 5, 2)
    assert report.fees == sum(f.fee for f in engine.fills(0))
    assert report.funding == sum(i.amount for i in engine.income(0)) < 0
    assert report.wallet_balance == engine.account().wallet_balance
    assert report.realized < 0
    assert report.worst_overshoot_r == pytest.approx(D("0.77") / D("2.02"))


def stop_b(name: str, side: OrderSide, quantity: int, price: float) -> OrderRequest:
    return attrs.evolve(stop(name, side, quantity, price), symbol="BBB")


def test_a_position_without_a_stop_for_more_than_ten_seconds_is_a_violation() -> None:
    engine = calm()
    engine.place(order("e", BUY, 100))
    engine.advance(at(2, 10_000))
    assert rules(judge(engine)) == []
    engine.advance(at(2, 10_001))
    assert rules(judge(engine)) == ["UNPROTECTED"]


def test_a_stop_placed_within_the_protection_deadline_is_no_violation() -> None:
    engine = calm()
    engine.place(order("e", BUY, 100))
    engine.advance(at(2, 10_000))
    engine.place(stop("s", SELL, 100, 98))
    engine.advance(at(9))
    assert rules(judge(engine)) == []
    engine.cancel("s")
    engine.advance(at(9, 5_000))
    engine.place(stop("s2", SELL, 100, 97.5))
    engine.advance(at(12))
    assert rules(judge(engine)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        stop("s", SELL, 99, 98),
        stop("s", BUY, 100, 102),
        order("s", SELL, 100, type=OrderType.LIMIT, limit_price=104, reduce_only=True),
        stop_b("s", SELL, 100, 98),
    ],
    ids=["too small", "wrong side", "no stop", "other symbol"],
)
def test_a_stop_that_does_not_close_the_whole_position_does_not_protect_it(
    wrong: OrderRequest,
) -> None:
    engine = calm()
    engine.place(order("e", BUY, 100))
    engine.place(wrong)
    engine.advance(at(4))
    assert rules(judge(engine)) == ["UNPROTECTED"]


def test_an_unprotected_period_is_reported_once_and_the_next_one_again() -> None:
    engine = calm()
    engine.place(order("e", BUY, 100))
    for bar in range(3, 6):
        engine.advance(at(bar))
        engine.place(
            order(f"other{bar}", BUY, 10, symbol="BBB"), (stop_b(f"s{bar}", SELL, 10, 95),)
        )
    engine.place(stop("s", SELL, 100, 98))
    engine.advance(at(6))
    engine.cancel("s")
    engine.advance(at(7))
    assert rules(judge(engine)) == ["UNPROTECTED", "UNPROTECTED"]


def test_a_removed_stop_is_a_violation_even_if_the_position_closes_later() -> None:
    engine = calm()
    engine.place(*entry_with_exits())
    engine.cancel("e-stop")
    engine.advance(at(4))
    engine.place(order("x", SELL, 100, reduce_only=True))
    assert rules(judge(engine)) == ["UNPROTECTED"]


def test_the_filled_part_of_a_stop_protects_nothing() -> None:
    engine = calm()
    engine.place(*entry_with_exits("a", 100, stop_at=99))
    seen = [e for e in engine.audit_log if "target" not in getattr(e, "client_order_id", "")]
    (filled,) = [e for e in seen if isinstance(e, FillAudit)]
    partly = attrs.evolve(
        filled, client_order_id="a-stop", side=SELL, reduce_only=True, quantity=D(60), price=D(99)
    )
    more = attrs.evolve(filled, client_order_id="b", quantity=D(10))
    late = attrs.evolve(filled, client_order_id="b", quantity=D(10), at_ms=at(5))
    assert "UNPROTECTED" in rules(judge(engine, [*seen, partly, more, late]))


def test_notional_over_the_limit_is_a_violation() -> None:
    engine = calm()
    engine.place(*entry_with_exits("a", 150, stop_at=99))
    assert rules(judge(engine)) == []  # 1,500 of 10,000
    engine.place(*entry_with_exits("b", 10, stop_at=99))
    assert rules(judge(engine)) == ["EXPOSURE"]


def test_risk_with_costs_and_gap_over_the_limit_is_a_violation() -> None:
    # 100 contracts of 0.1 at 100: each unit of distance costs 10 x 1.25, fees and slippage 1.3.
    within = calm()
    within.place(*entry_with_exits(stop_at=92.0))  # 100 + 1.3 of at most 105
    assert rules(judge(within)) == []
    beyond = calm()
    beyond.place(*entry_with_exits(stop_at=91.0))
    assert rules(judge(beyond)) == ["RISK"]


def test_the_risk_of_a_short_is_measured_to_its_farthest_stop() -> None:
    engine = calm()
    engine.place(order("e", SELL, 100), (stop("n", BUY, 50, 101), stop("f", BUY, 50, 110)))
    # Attached stops follow the filled size, so each covers the whole position; the farthest counts.
    assert rules(judge(engine)) == ["RISK"]


def test_a_client_order_id_used_twice_is_a_violation() -> None:
    engine = calm()
    engine.place(*entry_with_exits())
    with pytest.raises(RejectedError):
        engine.place(*entry_with_exits())
    with pytest.raises(RejectedError):
        engine.place(order("odd", BUY, "0.5"))
    assert rules(judge(engine)) == ["DUPLICATE_ID"]
    again = [*engine.audit_log, next(e for e in engine.audit_log if isinstance(e, OrderAudit))]
    assert rules(judge(engine, again)) == ["DUPLICATE_ID", "DUPLICATE_ID"]


def test_a_reduce_only_order_that_added_exposure_is_a_violation() -> None:
    engine = calm()
    engine.place(*entry_with_exits())
    lied = [
        attrs.evolve(e, reduce_only=True) if isinstance(e, FillAudit) else e
        for e in engine.audit_log
    ]
    assert rules(judge(engine, lied)) == ["REDUCE_INCREASED"]


def test_a_difference_of_a_cent_in_money_and_a_missing_position_are_violations() -> None:
    engine = calm()
    engine.place(*entry_with_exits())

    def violated_rules(**changes: Any) -> list[str]:
        account = attrs.evolve(engine.account(), **changes)
        found = check(
            engine.audit_log, account, engine.positions(), engine.source.instruments
        ).violations
        return [v.detail.split(":")[0] for v in found]

    assert violated_rules() == []
    assert violated_rules(wallet_balance=engine.account().wallet_balance + D("0.01")) == [
        "wallet balance"
    ]
    assert violated_rules(equity=engine.account().equity - D("0.01")) == ["equity"]
    (quiet,) = check(engine.audit_log, engine.account(), (), ()).violations
    assert quiet.detail.startswith("positions")


def test_the_recomputed_equity_agrees_after_a_scaled_and_reversed_position() -> None:
    engine = engine_at(
        MemoryMarket({"AAA": with_bars((100, 101, 100, 101, 9e3), (102, 103, 101, 103, 9e3))}),
        models=EXACT,
    )
    engine.place(order("a", BUY, 30))
    engine.advance(at(4))
    engine.place(order("b", BUY, 20))
    engine.place(order("c", SELL, 10, reduce_only=True))
    engine.advance(at(5))
    engine.place(order("d", SELL, 70))
    engine.place(stop("s", BUY, 30, 105))
    report = judge(engine)
    assert "EQUITY" not in rules(report)
    assert report.entries == 3
    assert engine.positions()[0].quantity == -30


def test_after_a_liquidation_the_recomputed_equity_agrees() -> None:
    engine = engine_at(MemoryMarket({"AAA": with_bars((100, 100, 70, 75, 1000))}))
    engine.place(order("e", BUY, 100, leverage=5))
    engine.advance(at(4))
    assert rules(judge(engine)) == ["UNPROTECTED"]  # without a stop until its liquidation


def test_an_empty_audit_log_and_entries_beyond_strict_limits_are_violations() -> None:
    assert check([], calm().account(), (), ()).violations[0].rule == "EQUITY"
    engine = calm()
    assert judge(engine).violations == ()
    engine.place(*entry_with_exits())
    strict = CheckLimits(exposure_per_symbol=D("0.01"), risk_per_trade=D("0.0001"))
    found = check(
        engine.audit_log, engine.account(), engine.positions(), engine.source.instruments, strict
    )
    assert sorted(rules(found)) == ["EXPOSURE", "RISK"]
