"""Entries beyond a limit, which disable their strategy until it is resumed."""

from __future__ import annotations

import pytest

from kamou.core.book.position_book import PositionBook
from kamou.core.book.recent_activity import Entry
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.risk.governor import review_entry
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.repetition import find_repetition
from kamou.core.risk.verdict import Approved, Denied
from tests.core.trading_cases import NOON, Story, plan, review

LIMITS = RiskLimits()  # 6 entries per hour, 2 re-entries into a symbol per day
MINUTE_MS = 60_000


def enter(story: Story, number: int, at_ms: int = NOON, symbol: str = "") -> None:
    """Record entries that filled a minute apart, the last of them at ``at_ms``."""
    for n in reversed(range(number)):
        story.book.recent_activity.record_entry(
            Entry(
                at_ms=at_ms - n * MINUTE_MS, strategy="mean_reversion", symbol=symbol or f"S{n}USDT"
            )
        )


def found(story: Story, now_ms: int = NOON) -> list[StrategyDisabled]:
    return list(find_repetition(story.book, LIMITS, now_ms))


def test_as_many_entries_as_the_limit_allows_disable_no_strategy(story: Story) -> None:
    enter(story, 6)
    enter(story, 3, NOON - 30 * MINUTE_MS - 3_600_000, "ADAUSDT")  # the first is not a re-entry
    assert found(story) == []


@pytest.mark.parametrize(("early_ms", "disabled"), [(0, False), (1, True)])
def test_an_entry_counts_until_it_is_exactly_an_hour_old(
    story: Story, early_ms: int, disabled: bool
) -> None:
    enter(story, 7)
    oldest_ms = NOON - 6 * MINUTE_MS
    assert bool(found(story, oldest_ms + 3_600_000 - early_ms)) is disabled


def test_an_entry_beyond_the_hours_limit_disables_its_strategy_and_no_other(story: Story) -> None:
    enter(story, 7)
    (event,) = found(story)
    assert (event.strategy, event.code) == ("mean_reversion", "RATE_ENTRIES_EXCEEDED")
    assert [(f.name, f.value) for f in event.figures] == [("entries", "7"), ("limit", "6")]
    story.say(event)
    assert found(story) == []  # it is disabled already
    later_ms = NOON + 3 * 3_600_000  # the hour is long over
    later = {"now_ms": later_ms, "limits": LIMITS}
    verdict, _ = review_entry(review(story.book, plan(), **later))
    assert isinstance(verdict, Denied)
    assert f"STRATEGY_DISABLED: strategy=mean_reversion since_ms={NOON}" in map(
        str, verdict.denials
    )
    other = plan("BTCUSDT", strategy="oi_momentum")
    assert isinstance(review_entry(review(story.book, other))[0], Approved)


def test_a_third_reentry_into_a_symbol_disables_its_strategy(story: Story) -> None:
    enter(story, 4, symbol="ADAUSDT")
    (event,) = found(story)
    assert event.code == "RATE_REENTRIES_EXCEEDED"
    assert ("symbol", "ADAUSDT") in {(f.name, f.value) for f in event.figures}
    assert found(story, NOON + 86_400_000) == []  # another day


@pytest.mark.parametrize(("first_ms", "disabled"), [(0, True), (-1, False)])
def test_an_entry_belongs_to_the_new_day_from_exactly_midnight_on(
    story: Story, first_ms: int, disabled: bool
) -> None:
    midnight_at_ms = NOON - NOON % 86_400_000
    enter(story, 1, midnight_at_ms + first_ms, "ADAUSDT")
    enter(story, 3, midnight_at_ms + 4 * 3_600_000, "ADAUSDT")
    assert bool(found(story, NOON)) is disabled


def test_a_disabled_strategy_stays_disabled_in_a_snapshot(story: Story) -> None:
    enter(story, 7)
    story.say(*found(story))
    assert PositionBook.load(story.book.dump()).trading.disabled == {"mean_reversion": NOON}


def test_entries_before_the_operator_resumed_do_not_disable_again_and_new_ones_do(
    story: Story,
) -> None:
    enter(story, 7)
    story.say(*found(story))
    resumed_ms = NOON + MINUTE_MS
    story.say(StrategyResumed(at_ms=resumed_ms, strategy="mean_reversion", note="seen"))
    assert story.book.trading.disabled == {}
    assert found(story, resumed_ms) == []
    enter(story, 6, resumed_ms + 7 * MINUTE_MS)
    assert found(story, resumed_ms + 7 * MINUTE_MS) == []
    enter(story, 1, resumed_ms + 8 * MINUTE_MS, "ADAUSDT")
    assert len(found(story, resumed_ms + 8 * MINUTE_MS)) == 1
