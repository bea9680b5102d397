"""Resumes of the operator, which need known equity and an agreeing book."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kamou.core.book import events as e
from kamou.core.codes import StateReason
from kamou.core.kinds import DriftKind
from kamou.core.model import TradingState
from kamou.core.risk.governor import EquityRead, decide_resume
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import NOON, D, Story

LIMITS = RiskLimits()
AGE_MS = LIMITS.account_age_max_s * 1000
MARK_AGE_MS = LIMITS.quote_age_max_s * 1000


@pytest.fixture(params=[TradingState.REDUCED_SIZE, TradingState.REDUCE_ONLY])
def halted(request: pytest.FixtureRequest) -> Story:
    """Return a story without a loss or drift that the operator may resume."""
    story = Story()
    story.ready()
    reason = StateReason.OPERATOR_HALT
    before = story.book.trading.state
    story.say(e.StateChanged(at_ms=NOON, before=before, after=request.param, reason=reason))
    return story


def resumed(story: Story, read: EquityRead | None, now_ms: int = NOON) -> bool:
    """Return True if the resume led to the active state; no reason means no change."""
    before = story.book.trading.state
    decided = decide_resume(story.book, read, limits=LIMITS, now_ms=now_ms)
    assert (decided.reason is None) is (decided.after is before)
    return decided.after is TradingState.ACTIVE


def test_drift_prevents_a_resume_until_it_is_explained(halted: Story) -> None:
    read = EquityRead(equity=D(10000), at_ms=NOON)
    halted.say(
        e.DriftFound(at_ms=NOON, symbol="SOLUSDT", kind=DriftKind.POSITION_UNKNOWN, figures=())
    )
    assert not resumed(halted, read)
    halted.say(e.DriftExplained(at_ms=NOON, reason="book and venue agree again"))
    assert resumed(halted, read)


def test_an_account_read_beyond_its_age_limit_prevents_a_resume(halted: Story) -> None:
    read = EquityRead(equity=D(10000), at_ms=NOON)
    assert resumed(halted, read, NOON + AGE_MS)
    assert not resumed(halted, read, NOON + AGE_MS + 1)


def test_a_mark_that_was_stale_when_it_was_read_prevents_a_resume(halted: Story) -> None:
    fresh = EquityRead(equity=D(10000), at_ms=NOON, marks_at_ms=NOON - MARK_AGE_MS)
    stale = EquityRead(equity=D(10000), at_ms=NOON, marks_at_ms=NOON - MARK_AGE_MS - 1)
    assert resumed(halted, fresh)
    assert not resumed(halted, stale)


@pytest.mark.parametrize("equity", [D("NaN"), D("Infinity")])
def test_an_equity_read_that_is_missing_or_not_finite_prevents_a_resume(
    halted: Story, equity: Decimal
) -> None:
    assert not resumed(halted, EquityRead(equity=equity, at_ms=NOON))
    assert not resumed(halted, EquityRead(equity=D(10000), exit_costs=equity, at_ms=NOON))
    assert not resumed(halted, None)


def test_a_day_that_is_not_open_prevents_a_resume(halted: Story) -> None:
    halted.book.day.equity = D(0)
    assert not resumed(halted, EquityRead(equity=D(10000), at_ms=NOON))
