"""Exposure of longs and of shorts, which are their mirror image.

The figures are computed here a second time, from the definitions, for books of both sides.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.kinds import RiskPart, SizeLimit
from kamou.core.model import Plan, Side
from kamou.core.risk.equity import exit_costs
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.core.risk.verdict import Denied
from tests.core.trading_cases import (
    INSTRUMENTS,
    NOON,
    D,
    Story,
    account,
    equity_now,
    exposure_at,
    headroom_of,
    plan,
    quote,
    review,
    venue_position,
)
from tests.core.venue_views import INPUTS, look, run

MAJORS = {"BTCUSDT", "ETHUSDT"}
EXIT_RATE = D("0.0008")  # 6 bps taker fee and 2 bps slippage
GAP = D("0.25")


def wish(symbol: str, side: Side, quantity: int = 100, number: int = 0) -> Plan:
    """Return a plan at 100 with contracts of 0.1 base units, a stop 3 away and own ids."""
    return plan(
        symbol,
        side,
        permit_id=f"p{number}",
        signal_id=f"s{number}",
        quantity=D(quantity),
        notional=D(quantity) * 10,
        risk=D(quantity) * D("0.41"),
    )


@pytest.mark.parametrize(("side", "away"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_open_risk_grows_as_the_mark_moves_away_from_the_stop_on_either_side(
    story: Story, side: Side, away: int
) -> None:
    story.open(wish("SOLUSDT", side))
    stop = D(100) - 3 * away
    costs = 10 * (GAP * 3 + EXIT_RATE * stop)  # 10 units
    for gained, distance in ((0, 3), (5, 8), (-2, 1), (-3, 0), (-10, 0)):
        marks = {"SOLUSDT": D(100 + gained * away)}
        assert exposure_at(story, marks).open_risk == 10 * distance + costs


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(INSTRUMENTS)),
            st.sampled_from(Side),
            st.integers(1, 90),
            st.booleans(),  # True: opened; False: only a permit
        ),
        max_size=6,
        unique_by=lambda drawn: drawn[0],
    )
)
def test_net_and_total_notional_and_the_cluster_risk_are_sums_by_side(
    drawn: list[tuple[str, Side, int, bool]],
) -> None:
    story = Story()
    story.ready()
    held = total = D(0)
    reserved = {Side.LONG: D(0), Side.SHORT: D(0)}
    clusters = {Side.LONG: D(0), Side.SHORT: D(0)}
    for number, (symbol, side, quantity, opened) in enumerate(drawn):
        made = wish(symbol, side, quantity, number)
        if opened:
            story.open(made)
        else:
            story.grant(made)
        long = side is Side.LONG
        stop = 97 if long else 103
        opened_risk = D(quantity) / 10 * (3 + GAP * 3 + EXIT_RATE * stop)
        risk = opened_risk if opened else D(quantity) * D("0.41")
        total += quantity * 10
        signed = quantity * 10 if long else -quantity * 10
        if opened:
            held += signed
        else:
            reserved[side] += signed
        if symbol not in MAJORS:
            clusters[side] += risk
    seen = exposure_at(story)
    assert seen.net_notional == {side: held + money for side, money in reserved.items()}
    assert seen.notional_total == total
    assert seen.cluster == clusters


@pytest.mark.parametrize("held", list(Side))
def test_a_position_leaves_its_opposite_side_twice_its_notional_more_shock_headroom(
    story: Story, held: Side
) -> None:
    story.open(wish("BTCUSDT", held))
    other = Side.SHORT if held is Side.LONG else Side.LONG
    limits = RiskLimits(shock_move=D("0.1"))
    notionals = {
        side: headroom_of(story, side=side, limits=limits).notionals[SizeLimit.SHOCK]
        for side in (held, other)
    }
    assert notionals[other] - notionals[held] == 2 * 1000


@pytest.mark.parametrize("held", list(Side))
def test_altcoins_of_one_side_share_a_cluster_limit_and_those_of_the_other_do_not(
    story: Story, held: Side
) -> None:
    story.open(wish("SOLUSDT", held))
    other = Side.SHORT if held is Side.LONG else Side.LONG
    tight = RiskLimits(cluster_risk_max=D("0.006"))  # 60: one trade of 38 or 41, not two
    for side, expected in ((held, True), (other, False)):
        verdict, _ = review_entry(review(story.book, wish("ADAUSDT", side, number=1), limits=tight))
        found = {d.code for d in verdict.denials} if isinstance(verdict, Denied) else set()
        assert ("RISK_CLUSTER_EXCEEDED" in found) is expected


# --- sizing equity --------------------------------------------------------------------


@pytest.mark.parametrize(("mid", "smaller"), [("110", "wallet_balance"), ("98", "equity")])
def test_the_notional_limit_is_a_fraction_of_the_smaller_of_equity_and_wallet_balance(
    story: Story, mid: str, smaller: str
) -> None:
    """An open profit may be lost before a stop fills, so it makes no trade larger."""
    story.open(plan("BTCUSDT"), at_ms=NOON + 100)
    marks = {"BTCUSDT": quote("BTCUSDT", mid, NOON + 900)}
    now = review(story.book, plan(), marks=marks).now
    open_profit = 10 * (D(mid) - 100)  # 10 units
    assert (now.wallet_balance, now.equity) == (D("9999.5"), D("9999.5") + open_profit)
    assert (
        now.sizing_equity == {"wallet_balance": now.wallet_balance, "equity": now.equity}[smaller]
    )
    limits = RiskLimits(notional_total_max=D(1))
    exposure = exposure_at(story, {"BTCUSDT": D(mid)})
    headroom = headroom_of(story, "SOLUSDT", exposure=exposure, now=now, limits=limits)
    assert headroom.notionals[SizeLimit.NOTIONAL_TOTAL] == now.sizing_equity - 10 * D(mid)


@pytest.mark.parametrize(("equity", "balance"), [("10000", "8000"), ("8000", "10000")])
def test_an_adopted_position_risks_a_fraction_of_the_smaller_of_equity_and_wallet_balance(
    story: Story, equity: str, balance: str
) -> None:
    seen = look(
        account=account(equity, NOON + 300_000, wallet_balance=D(balance)),
        positions=(venue_position("SOLUSDT", "100"),),
    )
    run(story, seen, INPUTS)
    # (1 % of 8,000 / 10 units - 8 bps of the mark) / 1.25 = 6.336, rounded towards the mark.
    assert story.book.trades.open["SOLUSDT"].stop_price == D("93.67")


@pytest.mark.parametrize(("side", "sign"), [(Side.LONG, 1), (Side.SHORT, -1)])
def test_a_review_computes_the_worst_case_of_longs_and_of_shorts_by_one_formula(
    story: Story, side: Side, sign: int
) -> None:
    parts = dict(review(story.book, plan("SOLUSDT", side)).risk_parts)
    stop = 100 - 3 * sign
    assert parts[RiskPart.PRICE] == 10 * 3
    assert parts[RiskPart.GAP] == 10 * 3 * GAP
    fees = D("0.0006") * (100 + stop) + D("0.0003") * (100 + stop)  # fee, spread and slippage
    assert parts[RiskPart.COSTS] == 10 * (fees + D("0.0003") * 100)  # and funding of 24 hours


@pytest.mark.parametrize("sign", [1, -1])
def test_exit_costs_apply_on_either_side_and_are_zero_without_an_instrument(sign: int) -> None:
    held = (
        venue_position("SOLUSDT", str(100 * sign), "110"),
        venue_position("ADAUSDT", "50", "20"),
        venue_position("UNLISTED", "100", "110"),
    )
    # 10 units at 110 and 5 at 20, taker fee and slippage of 8 bps
    assert exit_costs(held, INSTRUMENTS, CostModel()) == (1100 + 100) * EXIT_RATE
    dear = {"SOLUSDT": attrs.evolve(INSTRUMENTS["SOLUSDT"], taker_fee=D("0.001"))}
    assert exit_costs(held[:1], dear, CostModel()) == 1100 * D("0.0012")
    cheap = {"SOLUSDT": attrs.evolve(INSTRUMENTS["SOLUSDT"], taker_fee=D("0.0001"))}
    assert exit_costs(held[:1], cheap, CostModel()) == 1100 * EXIT_RATE


@pytest.mark.parametrize(("opened_at_ms", "counted"), [(-1, 0), (0, 200), (100, 200)])
def test_the_planner_adds_the_margin_only_of_trades_opened_since_the_equity_snapshot(
    story: Story, opened_at_ms: int, counted: int
) -> None:
    story.open(plan("BTCUSDT"), at_ms=NOON + opened_at_ms)
    story.book.account.margin_used = D(70)
    story.grant(plan("DOTUSDT"))  # reserves 200 more
    headroom = headroom_of(story)
    q = equity_now(story.book).sizing_equity
    assert headroom.notionals[SizeLimit.MARGIN_TOTAL] == D("0.8") * q - 70 - 200 - counted


@pytest.mark.parametrize("side", list(Side))
def test_reserved_costs_lower_the_shock_headroom_of_both_sides_and_notional_that_of_its_own(
    story: Story, side: Side
) -> None:
    story.grant(plan("DOTUSDT"))  # long, 1,000; 3.5 of its risk of 41 are costs
    headroom = headroom_of(story, side=side)
    # On the other side the permit is no hedge, because its entry may not fill.
    taken = 1000 if side is Side.LONG else 0
    assert headroom.notionals[SizeLimit.SHOCK] == (400 - D("3.5")) / D("0.1") - taken
    assert headroom.risks == {"day_budget": 400 - 41, "open_risk": 400 - 41}


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(("open_risk", "day"), [("0.04", "0.03"), ("0.03", "0.04")])
def test_the_risk_headroom_is_each_limit_less_the_open_risk(
    story: Story, side: Side, open_risk: str, day: str
) -> None:
    story.grant(plan("DOTUSDT"))
    limits = RiskLimits(open_risk_max=D(open_risk), daily_loss_max=D(day))
    risks = headroom_of(story, "ADAUSDT", side, limits=limits).risks
    assert risks == {
        "day_budget": D(day) * 10000 - 41,
        "open_risk": 300 - 41,
        "cluster": 200 - (41 if side is Side.LONG else 0),
    }


@pytest.mark.parametrize("side", list(Side))
def test_a_stop_that_filled_beyond_its_price_records_its_overshoot_on_either_side(
    story: Story, side: Side
) -> None:
    _, stop = story.open(plan("SOLUSDT", side))
    story.fill(stop, "50", str(100 - 6 * side.sign))  # one stop distance of 3 beyond
    story.fill(stop, "50", str(100 - 2 * side.sign))  # better than the stop price
    assert [each.multiple for each in story.book.recent_activity.overshoots] == [1, 0]


def test_a_permit_without_remaining_contracts_adds_no_exposure(story: Story) -> None:
    wanted = plan("DOTUSDT")
    story.grant(wanted)
    story.book.permits.reservations[wanted.permit_id] = attrs.evolve(
        story.book.permits.reservations[wanted.permit_id], remaining=D(0)
    )
    assert exposure_at(story) == exposure_at(Story())


def test_the_age_of_the_marks_is_that_of_the_oldest(story: Story) -> None:
    for number, symbol in enumerate(("SOLUSDT", "ADAUSDT", "DOTUSDT")):
        story.open(wish(symbol, Side.LONG, number=number))
    ages = {"SOLUSDT": 3, "ADAUSDT": 7, "DOTUSDT": 5}
    marks = {symbol: quote(symbol, at_ms=NOON - age) for symbol, age in ages.items()}
    assert review(story.book, plan("BTCUSDT"), marks=marks).now.marks_at_ms == NOON - 7


def test_the_reserved_costs_of_a_permit_are_never_negative(story: Story) -> None:
    story.grant(plan("DOTUSDT", risk=D(30)))  # less than its stop and gap: 37.5
    story.grant(plan("ADAUSDT", permit_id="p", signal_id="s"))  # 3.5 above them
    assert exposure_at(story).reserved_costs == D("3.5")
