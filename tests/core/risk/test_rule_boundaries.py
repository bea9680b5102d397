"""Rules at the exact figure of their limit, where they pass, and a step beyond.

The book has 100 contracts of ADA open and a permit for 100 of DOT, both long. The plan is 100 of
SOL. In money: sizing equity 10,000; notional 1,000, 1,000 and 1,000.1 (the ask); risk 38.276, 41
and 41; the day's loss 0.8 (exit costs of ADA); costs of the permit 41 - 10 x 3 x 1.25 = 3.5; margin
200, 200 and 200.02, and 7 of other positions.
"""

from __future__ import annotations

from typing import Any

import pytest

from kamou.core.model import Side
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.verdict import Approved, Denied
from tests.core.trading_cases import NOON, D, Story, account, instrument, plan, quote, review


def limits(**changes: str | int) -> dict[str, Any]:
    made: dict[str, Any] = {k: v if isinstance(v, int) else D(v) for k, v in changes.items()}
    return {"limits": RiskLimits(**made)}


def venue(**changes: Any) -> dict[str, Any]:
    return {
        "instruments": {s: instrument(s) for s in ("ADAUSDT", "DOTUSDT")}
        | {"SOLUSDT": instrument(**changes)}
    }


@pytest.fixture
def story() -> Story:
    made = Story()
    made.ready()
    made.open(plan("ADAUSDT"))
    made.grant(plan("DOTUSDT"))
    return made


def denials(story: Story, of: dict[str, Any], changes: dict[str, Any]) -> dict[str, str]:
    inputs = {"account": account("10000.5", margin_used=D(7)), "tokens": 1.0} | changes
    verdict, _ = review_entry(review(story.book, plan(**of), **inputs))
    if isinstance(verdict, Approved):
        return {}
    assert isinstance(verdict, Denied)
    return {d.code: str(d).partition(": ")[2] for d in verdict.denials}


# Code, plan and review that just pass, those that fail, and the figures of the denial.
Case = tuple[str, tuple[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, Any]], str]
BOTH_100_06 = {"entry_price": D("100.06"), "limit_price": D("100.06")}
BOTH_100_07 = {"entry_price": D("100.07"), "limit_price": D("100.07")}
NO_OVERSHOOT = " gap_buffer=0.25 = max(0.25, none measured in 30 days)"
HALF = {"leverage": 2, "stop_price": D(85)}  # liquidation at 50 / 0.8 = 62.5; 2 x 1.25 x 15 = 37.5
CASES: list[Case] = [
    (
        "RISK_PER_TRADE_EXCEEDED",
        ({}, limits(risk_per_trade="0.0041")),
        ({}, limits(risk_per_trade="0.0040")),
        "risk=0.41% limit=0.40% bound_by=plan",
    ),
    (
        "EXPOSURE_SYMBOL_EXCEEDED",
        ({}, limits(exposure_per_symbol="0.10001")),
        ({}, limits(exposure_per_symbol="0.1")),
        "exposure=10.00% limit=10.00%",
    ),
    (
        "RISK_OPEN_EXCEEDED",
        ({}, limits(open_risk_max="0.0120276")),
        ({}, limits(open_risk_max="0.0120275")),
        "open=0.79% new=0.41% limit=1.20%",
    ),
    (
        "RISK_OPEN_EXCEEDED",  # never more than the day may lose
        ({}, limits(daily_loss_max="0.0120276")),
        ({}, limits(daily_loss_max="0.0120275")),
        "open=0.79% new=0.41% limit=1.20%",
    ),
    (
        "RISK_DAY_BUDGET_EXCEEDED",
        ({}, limits(daily_loss_max="0.0121076")),
        ({}, limits(daily_loss_max="0.0121075")),
        "lost=0.01% open=0.79% new=0.41% limit=1.21%",
    ),
    (
        "RISK_CLUSTER_EXCEEDED",
        ({}, limits(cluster_risk_max="0.0120276")),
        ({}, limits(cluster_risk_max="0.0120275")),
        "side=long risk=1.20% limit=1.20%",
    ),
    (
        "RISK_SHOCK_EXCEEDED",  # 0.1 x 3,000.1 = 300.01 = 304.31 - 0.8 - 3.5
        ({}, limits(daily_loss_max="0.030431")),
        ({}, limits(daily_loss_max="0.030430")),
        "loss=3.00% left=3.00% move=10.00%",
    ),
    (
        "CAPITAL_NOTIONAL_EXCEEDED",
        ({}, limits(notional_total_max="0.30001")),
        ({}, limits(notional_total_max="0.3")),
        "notional=30.00% limit=30.00%",
    ),
    (
        "CAPITAL_MARGIN_EXCEEDED",
        ({}, limits(margin_total_max="0.060702")),
        ({}, limits(margin_total_max="0.060701")),
        "margin=6.07% limit=6.07%",
    ),
    (
        "NOTIONAL_EXCEEDS_MAXIMUM",
        ({}, limits(order_value_max="1000.1")),
        ({}, limits(order_value_max="1000")),
        "value=1000.10 limit=1000",
    ),
    (
        "QUANTITY_EXCEEDS_MAXIMUM",
        ({}, limits(order_contracts_max="100")),
        ({}, limits(order_contracts_max="99")),
        "quantity=100 limit=99",
    ),
    (
        "QUANTITY_EXCEEDS_MAXIMUM",
        ({}, venue(qty_max=D(100))),
        ({}, venue(qty_max=D(99))),
        "quantity=100 limit=99",
    ),
    (
        "QUANTITY_BELOW_MINIMUM",
        ({}, venue(qty_min=D(100), notional_min=D("1000.1"))),
        ({}, venue(notional_min=D("1000.2"))),
        "quantity=100 minimum=1 notional=1000.10 notional_min=1000.2",
    ),
    (
        "QUANTITY_BELOW_MINIMUM",
        ({}, venue(qty_min=D(100))),
        ({}, venue(qty_min=D(101))),
        "quantity=100 minimum=101 notional=1000.10 notional_min=5",
    ),
    (
        "LEVERAGE_EXCEEDED",
        ({}, limits(leverage_max=5)),
        ({}, limits(leverage_max=4)),
        "leverage=5 limit=4",
    ),
    (
        "LEVERAGE_EXCEEDED",
        ({}, venue(leverage_max=5)),
        ({}, venue(leverage_max=4)),
        "leverage=5 limit=4",
    ),
    (
        "STOP_BEYOND_LIQUIDATION",
        (HALF, venue(maintenance_margin_rate=D("0.1994"))),
        (HALF | {"stop_price": D("84.99")}, venue(maintenance_margin_rate=D("0.1994"))),
        "liquidation=62.5 distance=37.50% needed=37.52%" + NO_OVERSHOOT,
    ),
    (
        "STOP_BEYOND_LIQUIDATION",  # above a short: 150 / 1.2 = 125, 25 away
        (
            {"side": Side.SHORT, "leverage": 2, "stop_price": D(110)},
            venue(maintenance_margin_rate=D("0.1994")),
        ),
        (
            {"side": Side.SHORT, "leverage": 2, "stop_price": D("110.01")},
            venue(maintenance_margin_rate=D("0.1994")),
        ),
        "liquidation=125 distance=25.00% needed=25.02%" + NO_OVERSHOOT,
    ),
    (
        "PRICE_COLLAR_EXCEEDED",  # three spreads of 0.02
        (BOTH_100_06, limits(collar_min="0")),
        (BOTH_100_07, limits(collar_min="0")),
        "price=limit 100.07 mark=100 away=0.07% limit=0.06%",
    ),
    (
        "PRICE_COLLAR_EXCEEDED",
        ({"entry_price": D(101)}, {}),
        ({"entry_price": D("101.01")}, {}),
        "price=entry 101.01 mark=100 away=1.01% limit=1.00%",
    ),
    (
        "PRICE_COLLAR_EXCEEDED",
        ({"entry_price": D("99.9"), "limit_price": D("99.9")}, {}),
        ({"entry_price": D("99.9"), "limit_price": D("99.91")}, {}),
        "limit_price=99.91 sized_at=99.9",
    ),
    (
        "PRICE_COLLAR_EXCEEDED",  # a short may not sell for less
        ({"side": Side.SHORT, "stop_price": D(103), "limit_price": D("100.01")}, {}),
        ({"side": Side.SHORT, "stop_price": D(103), "limit_price": D("99.99")}, {}),
        "limit_price=99.99 sized_at=100",
    ),
    (
        "STOP_WRONG_SIDE",
        ({"stop_price": D("99.99")}, {}),
        ({"stop_price": D(100)}, {}),
        "side=long entry=100 mark=100 stop=100",
    ),
    (
        "STOP_WRONG_SIDE",
        ({"side": Side.SHORT, "stop_price": D("100.31")}, {"quote": quote(mark=D("100.3"))}),
        ({"side": Side.SHORT, "stop_price": D("100.3")}, {"quote": quote(mark=D("100.3"))}),
        "side=short entry=100 mark=100.3 stop=100.3",
    ),
    (
        "STOP_WRONG_SIDE",  # below the mark, and above the entry
        ({"stop_price": D("99.9")}, {"quote": quote(mark=D("100.5"))}),
        ({"stop_price": D("100.2")}, {"quote": quote(mark=D("100.5"))}),
        "side=long entry=100 mark=100.5 stop=100.2",
    ),
    (
        "STOP_WRONG_SIDE",  # above the mark, and below the entry
        ({"side": Side.SHORT, "stop_price": D("100.1")}, {"quote": quote(mark=D("99.5"))}),
        ({"side": Side.SHORT, "stop_price": D("99.8")}, {"quote": quote(mark=D("99.5"))}),
        "side=short entry=100 mark=99.5 stop=99.8",
    ),
    (
        "QUANTITY_OFF_STEP",
        ({}, venue(lot=D(50))),
        ({}, venue(lot=D(40))),
        "quantity=100 lot=40 contract_size=0.1 venue_contract_size=0.1",
    ),
    (
        "PLAN_EXPIRED",
        ({"expires_at_ms": NOON + 1_001}, {}),
        ({"expires_at_ms": NOON + 1_000}, {}),
        "late_ms=0",
    ),
    (
        "DATA_STALE",
        ({}, {"quote": quote(at_ms=NOON - 9_000)}),
        ({}, {"quote": quote(at_ms=NOON - 9_001)}),
        "age_ms=10001 limit_ms=10000",
    ),
    (
        "DATA_STALE",
        ({}, {"quote": quote(at_ms=NOON + 2_000)}),
        ({}, {"quote": quote(at_ms=NOON + 2_001)}),
        "age_ms=-1001 limit_ms=10000",
    ),
    (
        "MARK_STALE",
        ({}, {"marks": {"ADAUSDT": quote("ADAUSDT", at_ms=NOON - 9_000)}}),
        ({}, {"marks": {"ADAUSDT": quote("ADAUSDT", at_ms=NOON - 9_001)}}),
        "symbol=ADAUSDT age_ms=10001 limit_ms=10000",
    ),
    (
        "MARK_STALE",
        ({}, {}),
        ({}, {"marks": {}}),
        "symbol=ADAUSDT age_ms=none limit_ms=10000",
    ),
    (
        "CLOCK_SKEWED",
        ({}, {"clock_offset_ms": -1_000}),
        ({}, {"clock_offset_ms": -1_001}),
        "offset_ms=-1001 limit_ms=1000",
    ),
    (
        "RATE_MESSAGES_EXCEEDED",
        ({}, {"tokens": 1.0}),
        ({}, {"tokens": 0.99}),
        "tokens=0.99 limit_per_s=10",
    ),
    (
        "RATE_ENTRIES_EXCEEDED",  # one open trade, one permit
        ({}, limits(entries_per_strategy_hour=3)),
        ({}, limits(entries_per_strategy_hour=2)),
        "strategy=mean_reversion entries=2 limit=2",
    ),
]


@pytest.mark.parametrize(("code", "passing", "beyond", "found"), CASES)
def test_a_rule_passes_at_its_limit_and_denies_a_step_beyond_with_its_figures(
    story: Story,
    code: str,
    passing: tuple[dict[str, Any], dict[str, Any]],
    beyond: tuple[dict[str, Any], dict[str, Any]],
    found: str,
) -> None:
    assert code not in denials(story, *passing)
    assert denials(story, *beyond).get(code) == found


def test_a_denial_for_invalid_inputs_names_them(story: Story) -> None:
    for of, changes, named in (
        ({"quantity": D("NaN")}, {}, "quantity"),
        ({"contract_size": D(0)}, {}, "contract_size"),
        ({"limit_price": D("Infinity")}, {}, "limit_price"),
        ({"target_price": D(-1)}, {}, "target_price"),
        ({"leverage": 0}, {}, "leverage"),
        ({}, {"quote": None}, "quote"),
        ({}, {"quote": quote(ask=D("99.98"))}, "crossed_quote"),
        ({}, {"quote": quote(bid=D("NaN"))}, "bid"),
        ({}, {"instruments": {}}, "instrument"),
        ({}, {"account": None}, "account"),
        ({}, {"account": account(equity="0")}, "equity,wallet_balance"),
    ):
        assert denials(story, of, changes)["DATA_INVALID"] == f"what={named}"
    level = quote(ask=D("99.99"))  # a bid equal to the ask is not crossed
    assert "DATA_INVALID" not in denials(story, {}, {"quote": level})
    assert "DATA_INVALID" not in denials(story, {"leverage": 1}, {})


def test_a_permit_has_the_figures_of_its_review(story: Story) -> None:
    verdict, event = review_entry(
        review(story.book, plan(), account=account("10000.5", margin_used=D(7)))
    )
    assert isinstance(verdict, Approved)
    assert {f.name: f.value for f in event.figures} == {  # type: ignore[union-attr]  # of a grant
        "sizing_equity": "10000.00",
        "risk": "0.41%",
        "gap_buffer": "0.25 = max(0.25, none measured in 30 days)",
        "exposure": "10.00%",
        "bound_by": "risk",
        "open_risk": "0.79%",
        "day_lost": "0.01%",
        "notional_total": "30.00%",
    }


@pytest.mark.parametrize(
    ("stop", "part"),
    # Sums of the parts, with a limit of 100: 110; 99 and 101.0; 80, 82.0 and 102.0.
    [("89", "price"), ("90.1", "costs"), ("92", "gap")],
)
def test_the_denial_names_the_part_that_takes_the_risk_over_its_limit(
    story: Story, stop: str, part: str
) -> None:
    found = denials(story, {"stop_price": D(stop)}, {})["RISK_PER_TRADE_EXCEEDED"]
    assert found.endswith(f"bound_by={part}")


@pytest.mark.parametrize("side", list(Side))
def test_a_plan_is_reviewed_at_the_worst_price_of_its_fill_and_of_its_valuation(
    story: Story, side: Side
) -> None:
    sign = side.sign
    worse = plan(
        side=side,
        entry_price=D(100),
        limit_price=D(100) + D("0.4") * sign,
        stop_price=D(100) - 3 * sign,
        risk=D(1),
    )
    seen = quote(bid=D("100.5"), ask=D("100.6"), mark=D("100.55"))
    context = review(story.book, worse, quote=seen)
    assert context.price == D(100) + D("0.4") * sign
    # A long is worth the ask when it fills, a short the mark or the bid.
    assert context.notional == 10 * (D("100.6") if side is Side.LONG else D("100.55"))


def test_a_hedge_passes_the_shock_rule_only_if_it_lowers_the_net_notional(story: Story) -> None:
    tight = limits(shock_move="0.5", daily_loss_max="0.03")  # 1,000 of shock, 300 a day
    for side, quantity, passes in (
        (Side.SHORT, 90, True),  # position 1,000 less 900; a permit of 1,000 does not count
        (Side.SHORT, 190, True),  # net -900: nearly as bad on the other side
        (Side.SHORT, 200, False),  # net -1,000: as bad on the other side
        (Side.LONG, 1, False),
    ):
        sign = side.sign
        of = {
            "side": side,
            "quantity": D(quantity),
            "stop_price": D(100) - 3 * sign,
            "limit_price": D(100),
        }
        assert ("RISK_SHOCK_EXCEEDED" not in denials(story, of, tight)) is passes, quantity


def test_a_shock_denial_without_daily_budget_shows_zero_left(story: Story) -> None:
    found = denials(story, {}, {"account": account("9000")})
    assert found["RISK_SHOCK_EXCEEDED"].startswith("loss=3.33% left=0.00%")


@pytest.mark.parametrize(("age_ms", "denied"), [(900_000, False), (900_001, True)])
def test_a_reconciliation_counts_until_exactly_its_age_limit(
    story: Story, age_ms: int, denied: bool
) -> None:
    found = denials(story, {}, {"now_ms": NOON + age_ms})
    assert ("NOT_RECONCILED" in found) is denied
    assert not denied or found["NOT_RECONCILED"] == f"age_ms={age_ms}"


@pytest.mark.parametrize(("age_ms", "denied"), [(900_000, False), (900_001, True)])
def test_an_account_read_is_valid_to_its_age_limit(story: Story, age_ms: int, denied: bool) -> None:
    read = account("10000.5")
    late = denials(story, {}, {"now_ms": read.at_ms + age_ms, "account": read})
    limit = f"age_ms={age_ms} limit_ms=900000"
    assert (late.get("ACCOUNT_STALE") == limit) is denied
