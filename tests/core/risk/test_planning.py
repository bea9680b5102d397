"""Plans of the order manager within the headroom, and denials without it."""

from __future__ import annotations

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
from kamou.core.model import Candidate, Denial, Plan, Quote, Side, TradingState
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.planning import deny_without_headroom, plan_entry, size_fraction
from kamou.core.risk.valuation import Valuation, value_book
from tests.core.trading_cases import NOON, Story, plan, quote

COSTS, LIMITS = CostModel(), RiskLimits()


def candidate(symbol: str = "SOLUSDT", side: Side = Side.LONG) -> Candidate:
    return Candidate(
        signal_id=f"{NOON}.test.{symbol}",
        strategy="test",
        symbol=symbol,
        side=side,
        score=0.5,
        close=100.0,
        stop_distance=2.0,
        target_distance=4.0,
        hold_ms=86_400_000,
        bar_opened_at_ms=NOON - 900_000,
        bar_closed_at_ms=NOON,
    )


def valued_at_noon(book: PositionBook, limits: RiskLimits, *quotes: Quote) -> Valuation:
    """Return the valuation of the book at these quotes; others are missing."""
    parameters = TradingParameters(limits=limits)
    return value_book(book, {q.symbol: q for q in quotes}, parameters=parameters, now_ms=NOON)


def early_denial(book: PositionBook, limits: RiskLimits, wanted: Candidate) -> Denial | None:
    return deny_without_headroom(
        wanted,
        valued_at_noon(book, limits),
        fraction=D(1),
        limits=limits,
    )


def planned(book: PositionBook, limits: RiskLimits, wanted: Candidate) -> Plan | Denial:
    return plan_entry(
        wanted,
        valued_at_noon(book, limits, quote(wanted.symbol)),
        fraction=D(1),
        attempt=1,
        parameters=TradingParameters(limits=limits),
    )


def test_an_empty_book_has_headroom() -> None:
    story = Story()
    book = story.ready()
    assert early_denial(book, LIMITS, candidate()) is None
    assert isinstance(planned(book, LIMITS, candidate()), Plan)


def test_a_candidate_without_risk_headroom_is_denied_without_a_quote() -> None:
    story = Story()
    story.ready()
    story.open(plan())
    spent = RiskLimits(open_risk_max=D("0.0001"))
    denial = early_denial(story.book, spent, candidate("XRPUSDT"))
    assert denial is not None
    assert denial.code == Deny.RISK_HEADROOM_EXHAUSTED.value
    shown = {f.name: f.value for f in denial.figures}
    assert (shown["left"], shown["needed"]) == ("0.00", "more than 0")


@given(
    open_risk=st.decimals(D("0.0001"), D("0.04"), places=4),
    notional=st.decimals(D("0.0001"), D("3"), places=4),
    side=st.sampled_from(Side),
)
@settings(max_examples=60)
def test_a_candidate_denied_without_a_quote_could_not_have_been_planned(
    open_risk: D, notional: D, side: Side
) -> None:
    story = Story()
    story.ready()
    story.open(plan())
    limits = RiskLimits(open_risk_max=open_risk, notional_total_max=notional)
    wanted = candidate("BTCUSDT", side)
    if early_denial(story.book, limits, wanted) is not None:
        assert isinstance(planned(story.book, limits, wanted), Denial)


def test_the_size_fraction_is_the_product_of_grant_refiner_and_trading_state() -> None:
    story = Story()
    book = story.ready()
    assert size_fraction(book, None, D(1), LIMITS) == 1
    quarter = LiveGrant(strategy="test", basis="canary", size_fraction=D("0.25"))
    assert size_fraction(book, quarter, D("0.5"), LIMITS) == D("0.125")
    book.trading.state = TradingState.REDUCED_SIZE
    assert size_fraction(book, quarter, D("0.5"), LIMITS) == D("0.0625")
