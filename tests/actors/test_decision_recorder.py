"""Records of entry decisions and denials, each taken once.

Marks are listed once, and again when they or the trades change.
"""

from __future__ import annotations

import attrs
import pytest

from kamou.actors.decision_recorder import DecisionRecorder
from kamou.core.book.candidate_events import EntriesDenied
from kamou.core.book.decision_events import EntryDecision
from kamou.core.codes import Deny
from kamou.core.model import Quote
from kamou.core.risk.denials import deny_candidate, make_denial
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.valuation import value_book
from tests.core.risk.test_planning import candidate
from tests.core.trading_cases import NOON, D, Story, plan, quote


@pytest.fixture
def story() -> Story:
    """Return a story with an open trade in SOLUSDT."""
    story = Story()
    story.ready()
    story.open(plan())
    return story


def add(recorder: DecisionRecorder, story: Story, quotes: dict[str, Quote]) -> None:
    valuation = value_book(
        story.book,
        {"BTCUSDT": quote("BTCUSDT"), **quotes},
        parameters=TradingParameters(),
        now_ms=NOON + 500,
    )
    recorder.add(candidate("BTCUSDT"), valuation, funding_rate=None, grant=None)


def decisions(recorder: DecisionRecorder) -> tuple[EntryDecision, ...]:
    (event,) = recorder.take(NOON + 600)
    return event.decisions


def test_marks_are_listed_once_while_they_and_the_trades_stay_the_same(story: Story) -> None:
    recorder = DecisionRecorder("cycle:1")
    quotes = {"SOLUSDT": quote(at_ms=NOON)}
    for _ in range(2):
        add(recorder, story, quotes)
    add(recorder, story, {"SOLUSDT": quote(at_ms=NOON + 1)})
    first, second, third = decisions(recorder)
    mark = quotes["SOLUSDT"].mark
    assert (first.marks, first.ages_ms) == ((mark,), (500,))
    assert (second.marks, second.ages_ms) == ((), ())
    assert (third.marks, third.ages_ms) == ((mark,), (499,))


def test_an_equal_mark_of_another_trade_is_listed_and_an_unsound_quote_has_none(
    story: Story,
) -> None:
    recorder = DecisionRecorder("cycle:1")
    quotes = {symbol: quote(symbol, at_ms=NOON) for symbol in ("SOLUSDT", "ETHUSDT")}
    mark = quotes["SOLUSDT"].mark
    quotes["ETHUSDT"] = attrs.evolve(quotes["SOLUSDT"], symbol="ETHUSDT")
    add(recorder, story, quotes)
    story.book.trades.open["ETHUSDT"] = attrs.evolve(
        story.book.trades.open.pop("SOLUSDT"), symbol="ETHUSDT"
    )
    add(recorder, story, quotes)
    add(recorder, story, {"ETHUSDT": attrs.evolve(quotes["ETHUSDT"], mark=D("NaN"))})
    first, second, third = decisions(recorder)
    assert first.marks == second.marks == (mark,)
    assert third.marks == (None,)


def test_an_event_that_follows_another_lists_all_marks_again(story: Story) -> None:
    recorder = DecisionRecorder("cycle:1")
    assert recorder.take(NOON) == ()
    for _ in range(2):
        add(recorder, story, {"SOLUSDT": quote(at_ms=NOON)})
        (only,) = decisions(recorder)
        assert len(only.marks) == 1


def test_denials_are_one_event_with_the_time_of_the_latest_and_are_taken_once() -> None:
    recorder = DecisionRecorder("cycle:1")
    full = make_denial(Deny.RISK_HEADROOM_EXHAUSTED, bound_by="shock")
    denied = [
        deny_candidate(candidate(symbol), 1, full, at_ms)
        for symbol, at_ms in (("BTCUSDT", NOON + 7), ("ETHUSDT", NOON + 2))
    ]
    for each in denied:
        recorder.deny(each)
    (event,) = recorder.take_denials()
    assert event == EntriesDenied(at_ms=NOON + 7, cause_id="cycle:1", entries=tuple(denied))
    assert recorder.take_denials() == ()
