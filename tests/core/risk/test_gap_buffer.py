"""Gap buffer from the overshoots of stops and liquidations that still count."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.book.recent_activity import Overshoot, RecentActivity, nearest_rank
from kamou.core.kinds import FillReason
from kamou.core.model import Candidate, Denial, OrderRole, Plan, Side
from kamou.core.risk.exposure import compute_exposure
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.core.risk.planning import plan_entry
from kamou.core.risk.valuation import value_book
from kamou.core.risk.verdict import Approved, Denied
from tests.core.trading_cases import DAY, NOON, D, Story, intent, plan, quote, review

PLAN = plan()
LIMITS = RiskLimits()
MEMORY_MS = 30 * DAY


def multiples(story: Story) -> list[Decimal]:
    return [each.multiple for each in story.book.recent_activity.overshoots]


def gap(story: Story, now_ms: int = NOON) -> Decimal:
    return story.book.recent_activity.gap_buffer(LIMITS, now_ms).value


# --- measured overshoots ------------------------------------------------------------------


def test_overshoot_is_measured_in_planned_stop_distances(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "50", "97.3")  # better than its trigger: an overshoot of 0
    story.fill(stop, "50", "95.5")
    assert multiples(story) == [0, D("0.5")]
    assert gap(story) == D("0.5")


@pytest.mark.parametrize("side", list(Side))
def test_a_liquidation_records_its_overshoot_beyond_the_stop(story: Story, side: Side) -> None:
    of = plan(side=side)
    story.open(of)
    close = intent(OrderRole.EXIT, of).side
    price = D(100) - 20 * side.sign  # 17 beyond the stop, which was planned 3 away
    story.fill(None, "100", str(price), side=close, reason=FillReason.LIQUIDATION, at_ms=NOON + 9)
    assert multiples(story) == [D(17) / 3]
    assert story.book.recent_activity.overshoots[0].at_ms == NOON + 9
    assert gap(story) == D(17) / 3


def test_a_liquidation_of_a_trade_without_a_plan_records_no_overshoot(story: Story) -> None:
    story.say(
        e.PositionAdopted(
            at_ms=NOON,
            trade_id="t",
            symbol="SOLUSDT",
            side=Side.LONG,
            quantity=D(5),
            contract_size=D("0.1"),
            entry_price=D(100),
            stop_price=D("99.99"),
        )
    )
    story.fill(None, "5", "80", reason=FillReason.LIQUIDATION)
    assert multiples(story) == []
    assert story.book.recent_activity.stop_outs_ms == {"SOLUSDT": NOON}


def test_an_exit_and_a_take_profit_record_no_overshoot(story: Story) -> None:
    story.open(PLAN)
    story.fill(story.send(intent(OrderRole.TAKE_PROFIT, PLAN)), "50", "90")
    story.fill(story.send(intent(OrderRole.EXIT, PLAN)), "50", "90")
    assert multiples(story) == []


# --- days for which an overshoot counts ----------------------------------------------------


@given(
    seen=st.lists(st.tuples(st.integers(0, 80 * 24), st.integers(0, 4_000)), max_size=700),
    now_h=st.integers(0, 120 * 24),
    days=st.integers(30, 60),
    least=st.integers(25, 200),
)
@settings(max_examples=60)
def test_the_gap_buffer_is_its_minimum_or_the_p99_of_the_newest_overshoots_that_count(
    seen: list[tuple[int, int]], now_h: int, days: int, least: int
) -> None:
    recent_activity = RecentActivity()
    seen.sort(key=lambda each: each[0])
    for hour, hundredths in seen:
        recent_activity.record_overshoot(
            Overshoot(at_ms=hour * 3_600_000, symbol="S", multiple=D(hundredths) / 100)
        )
    limits = RiskLimits(gap_buffer_min=D(least) / 100, gap_memory_days=days)
    found = recent_activity.gap_buffer(limits, now_h * 3_600_000)
    kept = sorted(h for hour, h in seen[-500:] if now_h - hour < days * 24)
    wanted = max([least, *([kept[math.ceil(0.99 * len(kept)) - 1]] if kept else [])])
    assert found.value * 100 == wanted
    assert found.measured == len(kept)
    assert (found.worst is None) == (not kept)
    if found.worst is not None:
        assert found.worst.multiple * 100 == kept[-1]


@pytest.mark.parametrize(
    ("number", "quantile", "found"),
    [(1, "0.99", 1), (100, "0.99", 99), (101, "0.99", 100), (200, "0.99", 198), (200, "0.5", 100)],
)
def test_the_nearest_rank_is_the_smallest_value_with_enough_values_at_or_below(
    number: int, quantile: str, found: int
) -> None:
    assert nearest_rank([D(n) for n in range(number, 0, -1)], D(quantile)) == found


def test_an_overshoot_that_denies_an_entry_stops_counting_after_30_days(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "100", "7")  # 90 beyond a distance of 3
    assert gap(story) == 30
    denied = {each.code: str(each) for each in verdict_at(story, NOON + MEMORY_MS - 1)}
    assert "STOP_BEYOND_LIQUIDATION" in denied
    shown = "gap_buffer=30 = max(0.25, p99 30 of 1 measured in 30 days; worst 30 of SOLUSDT,"
    assert f"{shown} counts until 2024-01-31)" in denied["STOP_BEYOND_LIQUIDATION"]
    assert "gap_buffer=30 = max(0.25" in denied["RISK_PER_TRADE_EXCEEDED"]
    freed = {each.code for each in verdict_at(story, NOON + MEMORY_MS)}
    assert not {"STOP_BEYOND_LIQUIDATION", "RISK_PER_TRADE_EXCEEDED"} & freed
    assert gap(story, NOON + MEMORY_MS) == D("0.25")


def test_open_risk_uses_the_gap_buffer_of_the_present_time(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "100", "95.5")
    story.open(plan("XRPUSDT"))
    at = {
        now_ms: compute_exposure(
            story.book,
            marks={"XRPUSDT": D(100)},
            parameters=TradingParameters(),
            now_ms=now_ms,
        ).open_risk
        for now_ms in (NOON, NOON + MEMORY_MS)
    }
    assert at[NOON] - at[NOON + MEMORY_MS] == (D("0.5") - D("0.25")) * 3 * 10


def test_a_loaded_book_has_the_time_of_each_overshoot(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "100", "95.5", at_ms=NOON + 7)
    assert PositionBook.load(story.book.dump()).recent_activity == story.book.recent_activity
    assert story.book.fork().recent_activity.overshoots is not story.book.recent_activity.overshoots


def verdict_at(story: Story, now_ms: int) -> tuple[Denial, ...]:
    verdict, _ = review_entry(review(story.book, two_percent(now_ms), now_ms=now_ms))
    return () if isinstance(verdict, Approved) else verdict.denials


def two_percent(now_ms: int) -> Plan:
    return plan(
        "XRPUSDT",
        permit_id="next",
        signal_id="next",
        stop_price=D(98),
        risk=D(30),
        planned_at_ms=now_ms,
        expires_at_ms=now_ms + 20_000,
    )


# --- shown arithmetic -----------------------------------------------------------------------


def test_a_permit_and_a_denial_show_the_arithmetic_of_the_gap_buffer(story: Story) -> None:
    _, event = review_entry(review(story.book, PLAN))
    assert isinstance(event, e.PermitGranted)
    figures = {each.name: each.value for each in event.figures}
    assert figures["gap_buffer"] == "0.25 = max(0.25, none measured in 30 days)"
    _, stop = story.open(PLAN)
    story.fill(stop, "100", "7")
    wanted = Candidate(
        signal_id=f"{NOON}.mean_reversion.XRPUSDT",
        strategy="mean_reversion",
        symbol="XRPUSDT",
        side=Side.LONG,
        score=0.8,
        close=100.0,
        stop_distance=2.0,
        target_distance=4.0,
        hold_ms=DAY,
        bar_opened_at_ms=NOON - 900_000,
        bar_closed_at_ms=NOON,
    )
    denied = plan_entry(
        wanted,
        value_book(
            story.book,
            {"XRPUSDT": quote("XRPUSDT")},
            parameters=TradingParameters(),
            now_ms=NOON,
        ),
        fraction=D(1),
        attempt=1,
        parameters=TradingParameters(),
    )
    assert isinstance(denied, Denial)
    assert [each.name for each in denied.figures] == ["stop", "entry", "gap", "gap_buffer"]
    assert denied.figures[-1].value.startswith("30 = max(0.25, p99 30 of 1 measured")
    verdict, _ = review_entry(review(story.book, two_percent(NOON)))
    assert isinstance(verdict, Denied)
