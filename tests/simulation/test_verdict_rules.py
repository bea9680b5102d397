"""The monitor reports a broken verdict or budget of the refiner, and nothing next to it."""

from __future__ import annotations

from decimal import Decimal

from kamou.core.book.refiner_events import RefinerCallsEnded, RefinerCallsReserved
from kamou.core.day import DAY_MS
from kamou.core.refiner_codes import RefinerFailure
from kamou.core.refining.calls import Question, fail, make_result
from kamou.core.refining.prompt import make_prompt
from kamou.venue.violations import HardRule
from tests.exchange.port_fakes import plan_of
from tests.refining_cases import candidate
from tests.simulation.stories import NONE, begin
from tests.venue.venue_orders import at

D = Decimal


def test_a_permit_for_a_refused_candidate_is_reported() -> None:
    story = begin()
    story.grant(plan_of(), share="0")
    assert story.rules == [HardRule.VERDICT]


def test_a_permit_beyond_the_share_of_a_verdict_is_reported() -> None:
    # 15 % of 10,000 USDT is the full size, and the equity may have moved by 5 %.
    story = begin()
    story.grant(plan_of(notional=D(788)), share="0.5")
    assert story.rules == [HardRule.VERDICT]


def test_a_permit_within_the_share_of_a_verdict_is_allowed() -> None:
    story = begin()
    story.grant(plan_of(notional=D(787)), share="0.5")
    assert story.rules == NONE


def test_the_larger_share_counts_if_a_bar_was_ranked_and_judged_twice() -> None:
    story = begin()
    story.refine(plan_of(), "1")
    story.grant(plan_of(), share="0")
    assert story.rules == NONE


def reserved(at_ms: int, usd: str) -> RefinerCallsReserved:
    return RefinerCallsReserved(
        at_ms=at_ms, cause_id="cycle", cycle_at_ms=at_ms, calls=1, reserved_usd=D(usd)
    )


def ended(at_ms: int, usd: str) -> RefinerCallsEnded:
    """Return the end of the calls that were reserved at the same time."""
    asked = candidate()
    question = Question(
        signal_id=asked.signal_id, prompt=make_prompt(asked, 1), reserved_usd=D(usd)
    )
    outcome = fail(RefinerFailure.SERVER_ERROR, D(usd))
    return RefinerCallsEnded(
        at_ms=at_ms,
        cause_id="cycle",
        cycle_at_ms=at_ms,
        reserved_at_ms=at_ms,
        answers=(make_result(question, outcome, model="one", latency_ms=1),),
    )


def test_reservations_beyond_the_budget_of_a_day_are_reported() -> None:
    story = begin()
    story.commit(reserved(at(1), "0.5"), reserved(at(2), "0.5"))
    assert story.rules == NONE
    story.commit(reserved(at(3), "0.01"))
    assert story.rules == [HardRule.BUDGET]


def test_a_settled_call_leaves_what_it_did_not_cost_to_later_calls() -> None:
    story = begin()
    story.commit(reserved(at(1), "1"), ended(at(1), "0.4"), reserved(at(2), "0.6"))
    assert story.rules == NONE


def test_the_budget_of_the_next_day_is_another_one() -> None:
    story = begin()
    story.commit(reserved(at(1), "1"), reserved(at(1) + DAY_MS, "1"))
    assert story.rules == NONE
    story.commit(reserved(at(2), "0.1"))  # a clock that was set back
    assert story.rules == [HardRule.BUDGET]


def test_calls_that_cost_more_than_they_reserved_are_reported() -> None:
    story = begin()
    story.commit(reserved(at(1), "0.4"), ended(at(1), "0.41"))
    assert story.rules == [HardRule.BUDGET]
