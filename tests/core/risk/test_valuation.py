"""A valuation computes the headroom of each kind of trade once, and the same as anew."""

from __future__ import annotations

from decimal import Decimal as D

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.model import Side
from kamou.core.risk.exposure import compute_headroom
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.core.risk.sizing import Headroom
from kamou.core.risk.valuation import Valuation, value_book
from tests.core.trading_cases import NOON, Story, plan, quote

MAJOR, ALTCOINS = "BTCUSDT", ("SOLUSDT", "XRPUSDT", "unknown")
asked = st.tuples(st.sampled_from((MAJOR, *ALTCOINS)), st.sampled_from(Side))


def anew(valuation: Valuation, symbol: str, side: Side, limits: RiskLimits) -> Headroom:
    book, exposure, now = valuation.book, valuation.exposure, valuation.now
    return compute_headroom(book, exposure, now, symbol=symbol, side=side, limits=limits)


@given(
    risk=st.decimals(D("0.001"), D("0.05"), places=4),
    cluster=st.decimals(D("0.001"), D("0.05"), places=4),
    trades=st.lists(asked, min_size=1, max_size=12),
)
@settings(max_examples=60)
def test_the_headroom_of_each_trade_is_the_one_that_is_computed_anew(
    risk: D, cluster: D, trades: list[tuple[str, Side]]
) -> None:
    story = Story()
    story.ready()
    story.open(plan())
    limits = RiskLimits(open_risk_max=risk, cluster_risk_max=cluster)
    parameters = TradingParameters(limits=limits)
    valued = value_book(story.book, {}, parameters=parameters, now_ms=NOON)
    other = attrs.evolve(valued, quotes={"SOLUSDT": quote("SOLUSDT")})
    for symbol, side in trades:
        expected = anew(valued, symbol, side, limits)
        assert valued.headroom(symbol, side) == expected
        assert other.headroom(symbol, side) is valued.headroom(symbol, side)


def test_a_major_and_an_altcoin_and_the_two_sides_have_headrooms_of_their_own() -> None:
    story = Story()
    story.ready()
    story.open(plan())
    valued = value_book(story.book, {}, parameters=TradingParameters(), now_ms=NOON)
    found = [valued.headroom(s, side) for s in (MAJOR, "SOLUSDT") for side in Side]
    assert len({id(each) for each in found}) == 4
    assert len({str(each) for each in found}) == 4
