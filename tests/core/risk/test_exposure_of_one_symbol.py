"""Value and cap of a plan in a symbol with a position, a permit or an entry."""

from __future__ import annotations

from typing import Any

import pytest

from kamou.core.model import Denial, OrderRole, Side
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.costs import TradeCosts
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.sizing import Allowance, UnsizedTrade, size_trade
from kamou.core.risk.verdict import Denied
from tests.core.trading_cases import D, Story, exposure_at, instrument, intent, plan, quote, review

SECOND: dict[str, Any] = {"permit_id": "second", "signal_id": "second"}


def denials(story: Story, quantity: str, **changes: Any) -> dict[str, str]:
    of = plan(quantity=D(quantity), risk=D(1), **SECOND)
    verdict, _ = review_entry(review(story.book, of, **changes))
    assert isinstance(verdict, Denied)  # at least by SYMBOL_HELD
    return {d.code: str(d).partition(": ")[2] for d in verdict.denials}


def hold(story: Story) -> None:
    story.open(plan())


def promise(story: Story) -> None:
    story.grant(plan())


def rest(story: Story) -> None:
    story.grant(plan())
    story.send(intent(OrderRole.ENTRY, plan()))


def fill_in_part(story: Story) -> None:
    story.grant(plan())
    story.fill(story.send(intent(OrderRole.ENTRY, plan())), "40", "100")


@pytest.mark.parametrize("first", [hold, promise, rest, fill_in_part])
def test_the_cap_of_a_symbol_counts_its_position_its_permits_and_its_resting_entries(
    story: Story, first: Any
) -> None:
    """The cap is 15 % of 10,000, 1,000 are used, and a contract costs 10.001."""
    first(story)
    code = "EXPOSURE_SYMBOL_EXCEEDED"
    assert code not in denials(story, "49")
    over = denials(story, "51")
    assert over[code] == "exposure=15.10% limit=15.00%"


def test_the_exposure_of_a_symbol_is_the_sum_of_its_position_and_its_permits(
    story: Story,
) -> None:
    story.open(plan())
    story.grant(plan(notional=D(300), **SECOND))
    story.grant(plan(notional=D(20), permit_id="third", signal_id="third"))
    story.grant(plan("ADAUSDT", permit_id="elsewhere", signal_id="elsewhere"))
    exposure = exposure_at(story, {"SOLUSDT": D(110)})
    assert exposure.notional == {"SOLUSDT": 1_100 + 300 + 20, "ADAUSDT": 1_000}
    assert exposure.notional_total == 2_420


@pytest.mark.parametrize("existing", [0, 1])
def test_a_size_that_the_risk_limit_makes_too_small_has_no_headroom_denial(existing: int) -> None:
    """An equity of 100 may lose 1, a contract loses 1.27, and 14 or 15 of exposure are left."""
    trade = UnsizedTrade(
        entry=D(100),
        stop=D(90),
        side=Side.LONG,
        instrument=instrument(),
        costs=TradeCosts(fee_in=D("0.0006"), fee_out=D("0.0006"), slip=D("0.0005"), funding=D(0)),
        gap=D("0.25"),
    )
    allowance = Allowance(sizing_equity=D(100), existing_notional=D(existing))
    small = size_trade(trade, allowance, RiskLimits())
    assert isinstance(small, Denial)
    assert str(small).startswith("QUANTITY_BELOW_MINIMUM: contracts=0 ")
    assert str(small).endswith(" bound_by=risk")


@pytest.mark.parametrize(("fraction", "cap"), [("1", "15.00%"), ("0.25", "3.75%")])
def test_the_cap_of_a_symbol_is_scaled_by_the_size_fraction_of_the_grant(
    story: Story, fraction: str, cap: str
) -> None:
    story.open(plan())
    grant = LiveGrant(strategy=plan().strategy, basis="canary", size_fraction=D(fraction))
    said = denials(story, "51", grant=grant)["EXPOSURE_SYMBOL_EXCEEDED"]
    assert said == f"exposure=15.10% limit={cap}"


def test_the_cap_of_a_symbol_leaves_other_symbols_out(story: Story) -> None:
    story.open(plan("ADAUSDT"))
    of = plan(quantity=D(51), risk=D(1), **SECOND)
    verdict, _ = review_entry(review(story.book, of))
    assert not isinstance(verdict, Denied)


def test_a_position_in_the_plans_symbol_is_valued_at_the_quote_of_the_plan(story: Story) -> None:
    """100 contracts of 0.1 bought at 100 are worth 1,100 at a mark of 110."""
    story.open(plan())
    context = review(story.book, plan(**SECOND), quote=quote(mid="110"), marks={})
    assert context.exposure.notional == {"SOLUSDT": 1_100}
    assert context.now.equity == context.now.wallet_balance + 100


def test_without_a_quote_of_the_plan_positions_are_valued_at_their_own_marks(story: Story) -> None:
    story.open(plan())
    marks = {"SOLUSDT": quote(mid="110")}
    context = review(story.book, plan(**SECOND), quote=None, marks=marks)
    assert context.quotes == marks
    assert context.exposure.notional == {"SOLUSDT": 1_100}
