"""Openings of shadow trades: plan, size, entry price and costs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest

from kamou.core.book.candidate_events import RefinedCandidate
from kamou.core.book.shadow_events import ShadowTrade
from kamou.core.codes import Deny
from kamou.core.kinds import RefinerVerdict
from kamou.core.market.fill_prices import PriceModels, SlippageModel
from kamou.core.model import Candidate, Denial, Instrument, Quote, Side
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.planning import EntryMarket
from kamou.core.shadow.opening import (
    JudgedCandidate,
    ShadowTerms,
    deny_market,
    open_shadow_trade,
)
from tests.core.trading_cases import NOON, D, instrument, quote

TERMS = ShadowTerms(equity=D(10_000), parameters=TradingParameters(), models=PriceModels())


def judged(
    verdict: RefinerVerdict = RefinerVerdict.OFF, multiplier: str = "1", **changes: Any
) -> JudgedCandidate:
    made = Candidate(
        signal_id="sig",
        strategy="oi_momentum",
        symbol="SOLUSDT",
        side=Side.LONG,
        score=0.123456789,
        close=100.0,
        stop_distance=2.0,
        target_distance=6.0,
        hold_ms=3_600_000,
        bar_opened_at_ms=NOON - 900_000,
        bar_closed_at_ms=NOON,
    )
    refined = RefinedCandidate(
        candidate=attrs.evolve(made, **changes),
        verdict=verdict,
        size_multiplier=D(multiplier),
        reason_code="",
    )
    return JudgedCandidate(refined=refined, p_win_pct=40)


def opened(
    one: JudgedCandidate,
    listed: Instrument | None = None,
    at: Quote | None = None,
    terms: ShadowTerms = TERMS,
) -> ShadowTrade:
    market = EntryMarket(instrument=listed or instrument(), quote=at or quote(), gap=D("0.25"))
    made = open_shadow_trade(one, market, terms, NOON)
    assert isinstance(made, ShadowTrade), made
    return made


@pytest.mark.parametrize(
    ("verdict", "multiplier"),
    [
        (RefinerVerdict.APPROVE, "1"),
        (RefinerVerdict.SHRINK, "0.25"),
        (RefinerVerdict.REFUSE, "0"),
        (RefinerVerdict.UNANSWERED, "1"),
    ],
)
def test_a_shadow_trade_has_the_full_size_whatever_the_verdict_which_it_keeps(
    verdict: RefinerVerdict, multiplier: str
) -> None:
    made, plain = opened(judged(verdict, multiplier)), opened(judged())
    assert (made.verdict, made.size_multiplier, made.p_win_pct) == (verdict, D(multiplier), 40)
    same = attrs.evolve(made, verdict=plain.verdict, size_multiplier=plain.size_multiplier)
    assert same == plain


def test_it_keeps_signal_score_and_time_limit() -> None:
    made = opened(judged())
    assert (made.shadow_id, made.score) == ("sig", D("0.123457"))
    assert (made.opened_at_ms, made.closes_by_ms) == (NOON, NOON + 3_600_000)
    assert opened(judged(hold_ms=0)).closes_by_ms == 0


def test_its_size_costs_and_r_follow_from_the_definition_for_any_market() -> None:
    """The planned loss with costs and gap is at most a share of the constant equity."""
    rng = np.random.default_rng(20)
    for _ in range(400):
        side = Side.LONG if rng.random() < 0.5 else Side.SHORT
        tick = D(str(rng.choice(["0.01", "0.05", "0.001"])))
        mid, spread = round(float(rng.uniform(5, 900)), 2), int(rng.integers(0, 12))
        bid = D(str(mid)) // tick * tick
        seen = quote(bid=bid, ask=bid + spread * tick, mark=bid)
        listed = instrument(tick=tick, taker_fee=D("0.0008"), maker_fee=D("0.0001"))
        distance = mid * float(rng.uniform(0.01, 0.05))
        bps = float(rng.integers(0, 15))
        terms = ShadowTerms(
            equity=D(50_000),
            parameters=TradingParameters(costs=CostModel(slippage_bps=D(str(bps)))),
            models=PriceModels(slippage=SlippageModel(bps=bps)),
        )
        one = judged(side=side, stop_distance=distance, target_distance=3 * distance)
        made = opened(one, listed, seen, terms)
        sign, touch = side.sign, Fraction(seen.ask if side is Side.LONG else seen.bid)
        middle = (Fraction(seen.bid) + Fraction(seen.ask)) / 2
        limit, entry = Fraction(made.planned_entry), Fraction(made.entry_price)
        assert 0 <= sign * (limit - touch * (1 + sign * Fraction(10, 10_000))) < Fraction(tick)
        due = middle + sign * (
            Fraction(spread) * Fraction(tick) / 2 + middle * Fraction(bps) / 10_000
        )
        over = sign * (entry - due)  # rounded against the trade, and never beyond its limit
        near = Fraction(1, 10**6)
        assert entry == limit or -near <= over < Fraction(tick) + near
        assert sign * (limit - entry) >= 0
        units = Fraction(made.quantity) * Fraction(made.contract_size)
        risk = abs(limit - Fraction(made.stop_price)) * units
        assert Fraction(made.planned_risk) == risk
        assert abs(Fraction(made.fee) - entry * units * Fraction(8, 10_000)) < near
        assert made.fee_rate == D("0.0008")
        assert made.target_fee_rate == D("0.0002")  # of the setting, which is the higher one
        assert risk * Fraction(5, 4) <= Fraction(500)  # a hundredth of the equity, with the gap
        assert limit * units <= Fraction(7_500)  # 15 % of the equity
        one_more = units + Fraction(made.contract_size)
        costs = Fraction(17 + 2 * int(bps), 10_000) + Fraction(spread) * Fraction(tick) / middle
        worst = (Fraction(5, 4) * abs(limit - Fraction(made.stop_price)) / limit + costs) * limit
        assert one_more * worst > 470 or one_more * limit > 7_400  # and hardly less than that


def test_headroom_and_losses_of_the_account_are_no_part_of_its_terms() -> None:
    limits = RiskLimits(open_risk_max=D("0.0001"), daily_loss_max=D("0.0001"))
    tight = attrs.evolve(TERMS, parameters=TradingParameters(limits=limits))
    assert opened(judged(), terms=tight).quantity == opened(judged()).quantity


def test_a_plan_that_no_account_could_have_is_denied() -> None:
    far = judged(stop_distance=45.0, target_distance=90.0)
    market = EntryMarket(instrument=instrument(), quote=quote(), gap=D("0.25"))
    denied = open_shadow_trade(far, market, TERMS, NOON)
    assert isinstance(denied, Denial)
    assert denied.code == Deny.STOP_BEYOND_LIQUIDATION
    small = attrs.evolve(TERMS, equity=D(1))
    denied = open_shadow_trade(judged(), market, small, NOON)
    assert isinstance(denied, Denial)
    assert denied.code == Deny.QUANTITY_BELOW_MINIMUM


def test_a_missing_unsound_or_old_quote_opens_nothing() -> None:
    def code(listed: Instrument | None, seen: Quote | None, now_ms: int = NOON) -> str | None:
        denied = deny_market(listed, seen, TERMS, now_ms)
        return None if denied is None else denied.code

    assert code(instrument(), quote()) is None
    assert code(None, quote()) == Deny.DATA_INVALID
    assert code(instrument(), None) == Deny.PRICE_MARK_MISSING
    assert code(instrument(), quote(bid=D(0))) == Deny.DATA_INVALID
    assert code(instrument(), quote(), NOON + 10_000) is None
    assert code(instrument(), quote(), NOON + 10_001) == Deny.MARK_STALE
