"""Changes of the trading state for the worse and for the better."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.codes import StateReason
from kamou.core.day import Day
from kamou.core.kinds import DriftKind
from kamou.core.model import TradingState
from kamou.core.risk.governor import (
    Decision,
    EquityRead,
    EquityReads,
    Pending,
    decide_command,
    decide_resume,
    next_state,
)
from kamou.core.risk.limits import RiskLimits
from tests.core.trading_cases import DAY, NOON, D, Story, closed_cycle, income, mark

T = TradingState
LIMITS = RiskLimits()


def read(equity: str, at_ms: int = NOON, **more: Any) -> EquityRead:
    return EquityRead(equity=D(equity), at_ms=at_ms, **more)


def judge(
    story: Story, seen: EquityRead | None, pending: Pending | None = None, **more: Any
) -> Decision:
    now_ms = more.pop("now_ms", seen.at_ms if seen else NOON)
    reads = EquityReads(
        newest=seen,
        pending=pending,
        started_at_ms=more.pop("started_at_ms", 0),
        fresh_since_ms=more.pop("fresh_since_ms", None),
    )
    return next_state(story.book, reads, limits=LIMITS, now_ms=now_ms, **more)


def put(story: Story, state: TradingState, reason: StateReason, at_ms: int = NOON) -> None:
    before = story.book.trading.state
    story.say(e.StateChanged(at_ms=at_ms, before=before, after=state, reason=reason))


def twice(story: Story, equity: str) -> Decision:
    first = judge(story, read(equity))
    return judge(story, read(equity, NOON + 5_000), first.pending)


# Reference vector "breaker": opening equity 10,000, limit 4.82 %, equity 9,518.
def test_the_daily_loss_limit_acts_at_exactly_the_limit(story: Story) -> None:
    limits = RiskLimits(daily_loss_max=D("0.0482"))
    assert Day(equity_start=D(10000), equity=D(9518)).loss == D("0.0482")
    reads = EquityReads(newest=read("9518"))
    first = next_state(story.book, reads, limits=limits, now_ms=NOON)
    reads = EquityReads(newest=read("9518", NOON + 5_000), pending=first.pending)
    second = next_state(story.book, reads, limits=limits, now_ms=NOON + 5_000)
    assert second.after is T.REDUCE_ONLY


def test_a_read_with_an_unexplained_balance_leaves_a_pending_breach_pending(
    story: Story,
) -> None:
    """Seed 510349: two lists of income omitted the same withdrawal."""
    first = judge(story, read("2000", explained=False))
    assert (first.after, first.pending) == (T.ACTIVE, None)
    breach = judge(story, read("9000"))
    again = judge(story, read("2000", NOON + 5_000, explained=False), breach.pending)
    assert (again.after, again.pending) == (T.ACTIVE, breach.pending)
    assert judge(story, read("9000", NOON + 10_000), again.pending).after is T.FLATTENING


def test_the_operator_cannot_resume_on_an_unexplained_balance(story: Story) -> None:
    put(story, T.REDUCE_ONLY, StateReason.OPERATOR_HALT)
    unsure = read("10000", explained=False)
    assert decide_resume(story.book, unsure, limits=LIMITS, now_ms=NOON).after is T.REDUCE_ONLY
    assert decide_resume(story.book, read("10000"), limits=LIMITS, now_ms=NOON).after is T.ACTIVE


def test_a_deposit_does_not_hide_a_loss(story: Story) -> None:
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "500")))
    assert story.book.measure_day(D(10018)).loss == D("0.0482")
    assert twice(story, "10018").after is T.REDUCE_ONLY


@pytest.mark.parametrize(
    ("equity", "state", "reason"),
    [
        ("9801", T.ACTIVE, None),
        ("9800", T.REDUCED_SIZE, StateReason.DAY_LOSS_HALF),
        ("9600", T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT),
        ("9401", T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT),
        ("9400", T.FLATTENING, StateReason.DAY_LOSS_SEVERE),
    ],
)
def test_each_share_of_the_daily_loss_limit_has_its_trading_state(
    story: Story, equity: str, state: TradingState, reason: StateReason | None
) -> None:
    decided = twice(story, equity)
    assert decided.after is state
    assert decided.reason is reason
    event = decided.event(NOON)
    if reason is None:
        assert event is None
    else:
        assert event is not None
        assert (event.before, event.after, event.reason) == (T.ACTIVE, state, reason.value)
        assert {f.name for f in event.figures} >= {"day_pnl", "limit", "equity"}


def test_a_first_breaching_read_changes_no_state_and_sets_the_time_of_the_second(
    story: Story,
) -> None:
    first = judge(story, read("9500"))
    assert first.after is T.ACTIVE
    assert first.read_again_ms == NOON + 5_000
    early = judge(story, read("9500", NOON + 4_999), first.pending)
    assert early.after is T.ACTIVE
    assert early.pending == first.pending
    assert judge(story, read("9500", NOON + 5_000), early.pending).after is T.REDUCE_ONLY


def test_a_read_within_every_loss_limit_drops_the_pending_breach(story: Story) -> None:
    first = judge(story, read("9500"))
    calm = judge(story, read("9990", NOON + 5_000), first.pending)
    assert calm.pending is None
    assert judge(story, read("9500", NOON + 10_000), calm.pending).after is T.ACTIVE


def test_the_milder_of_two_breaches_applies_and_the_worse_stays_pending(story: Story) -> None:
    first = judge(story, read("9700"))
    second = judge(story, read("9300", NOON + 5_000), first.pending)
    assert second.after is T.REDUCED_SIZE
    assert second.pending == Pending(level=T.FLATTENING, at_ms=NOON + 5_000)
    assert second.read_again_ms == NOON + 10_000
    put(story, T.REDUCED_SIZE, StateReason.DAY_LOSS_HALF)
    third = judge(story, read("9300", NOON + 10_000), second.pending)
    assert third.after is T.FLATTENING


STALE = [
    None,
    read("NaN"),
    read("Infinity"),
    read("9000", marks_at_ms=NOON - 10_001),
    read("9000", NOON - 900_001),
]


@pytest.mark.parametrize("seen", STALE)
def test_unknown_equity_changes_no_state_at_first(story: Story, seen: EquityRead | None) -> None:
    started_at_ms = NOON - 900_001
    pending = Pending(level=T.FLATTENING, at_ms=0)
    decided = judge(story, seen, pending, now_ms=NOON, started_at_ms=started_at_ms)
    assert decided.event(NOON) is None
    assert decided.pending == pending


@pytest.mark.parametrize("seen", STALE)
def test_equity_unknown_for_60_seconds_leads_to_reduce_only_and_never_to_flattening(
    story: Story, seen: EquityRead | None
) -> None:
    inputs: dict[str, Any] = {"started_at_ms": NOON - 900_001}
    pending = Pending(level=T.FLATTENING, at_ms=0)
    waiting = judge(story, seen, pending, now_ms=NOON + 59_999, **inputs)
    assert waiting.event(NOON) is None
    decided = judge(story, seen, pending, now_ms=NOON + 60_000, **inputs)
    assert (decided.after, decided.reason) == (T.REDUCE_ONLY, StateReason.EQUITY_UNKNOWN)
    assert decided.pending is not None  # the pending breach stays
    put(story, T.REDUCE_ONLY, StateReason.EQUITY_UNKNOWN)
    again = judge(story, seen, decided.pending, now_ms=NOON + 60_000, **inputs)
    assert again.event(NOON) is None
    assert again.pending is not None


def test_a_mark_that_was_fresh_when_it_was_read_does_not_age_by_itself(story: Story) -> None:
    seen = read("10000", marks_at_ms=NOON - 10_000)
    assert judge(story, seen, now_ms=NOON + 600_000).event(NOON) is None


@pytest.mark.parametrize("reason", [StateReason.EQUITY_UNKNOWN, StateReason.RECONCILE_MISMATCH])
def test_a_halt_on_unknown_data_ends_with_two_fresh_reads_and_a_clean_reconciliation(
    story: Story, reason: StateReason
) -> None:
    put(story, T.REDUCE_ONLY, reason)
    first_ms, second_ms = NOON + 300_000, NOON + 305_000
    seen = read("9900", second_ms)
    assert judge(story, seen, fresh_since_ms=first_ms).after is T.REDUCE_ONLY  # not reconciled
    story.say(closed_cycle(NOON + 300_000))
    assert judge(story, seen).after is T.REDUCE_ONLY  # one read
    assert judge(story, seen, fresh_since_ms=first_ms + 1).after is T.REDUCE_ONLY  # too close
    decided = judge(story, seen, fresh_since_ms=first_ms)
    assert (decided.after, decided.reason) == (T.ACTIVE, StateReason.DATA_RECOVERED)
    losing = judge(story, read("9600", second_ms), fresh_since_ms=first_ms)
    assert (losing.after, losing.reason) == (T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT)


def test_the_next_day_does_not_end_a_halt_on_unknown_data(story: Story) -> None:
    put(story, T.REDUCE_ONLY, StateReason.EQUITY_UNKNOWN)
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    assert judge(story, read("9500", at_ms)).after is T.REDUCE_ONLY


def test_exit_costs_are_part_of_the_days_loss(story: Story) -> None:
    first = judge(story, read("9610", exit_costs=D(10)))
    second = judge(story, read("9610", NOON + 5_000, exit_costs=D(10)), first.pending)
    assert second.after is T.REDUCE_ONLY
    assert twice(story, "9610").after is T.REDUCED_SIZE


def test_drift_changes_the_trading_state_to_reduce_only(story: Story) -> None:
    story.say(
        e.DriftFound(at_ms=NOON, symbol="ADAUSDT", kind=DriftKind.QUANTITY_DIFFERS, figures=())
    )
    decided = judge(story, read("10000"))
    assert (decided.after, decided.reason) == (T.REDUCE_ONLY, StateReason.RECONCILE_MISMATCH)


def test_failed_protection_flattens_at_once(story: Story) -> None:
    decided = judge(story, None, protection_failed=True)
    assert (decided.after, decided.reason) == (T.FLATTENING, StateReason.PROTECTION_FAILED)
    put(story, T.FLATTENING, StateReason.PROTECTION_FAILED)
    assert judge(story, None, protection_failed=True).event(NOON) is None
    assert judge(story, read("10000")).after is T.FLATTENING  # only the operator ends it


def test_a_full_disk_halts_until_there_is_space_and_a_clean_reconciliation(story: Story) -> None:
    decided = judge(story, read("10000"), disk_full=True)
    assert (decided.after, decided.reason) == (T.REDUCE_ONLY, StateReason.DISK_FULL)
    put(story, T.REDUCE_ONLY, StateReason.DISK_FULL)
    assert judge(story, read("10000")).after is T.REDUCE_ONLY
    story.say(closed_cycle(NOON + 300_000))
    ended = judge(story, read("10000", NOON + 300_000))
    assert (ended.after, ended.reason) == (T.ACTIVE, StateReason.DATA_RECOVERED)


def next_day(story: Story, equity: str = "9500") -> int:
    """Open the next day and return its 00:10; no reconciliation has run yet."""
    midnight = NOON + DAY // 2
    story.say(e.DayOpened(at_ms=midnight, day="2024-01-02", equity=D(equity)), mark(equity))
    return midnight + 600_000


@pytest.mark.parametrize("state", [T.REDUCED_SIZE, T.REDUCE_ONLY])
def test_the_state_of_a_days_loss_ends_in_the_next_utc_day_after_a_clean_reconciliation(
    story: Story, state: TradingState
) -> None:
    put(story, state, StateReason.DAY_LOSS_LIMIT)
    assert judge(story, read("10000", NOON + 60_000)).after is state  # the halt lasts for the day
    at_ms = next_day(story)
    assert judge(story, read("9500", at_ms)).after is state  # not reconciled since
    story.say(closed_cycle(at_ms))
    decided = judge(story, read("9500", at_ms))
    assert (decided.after, decided.reason) == (T.ACTIVE, StateReason.DAY_ROLLED)


def test_a_new_day_whose_loss_reaches_its_limit_is_halted_again(story: Story) -> None:
    put(story, T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT)
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    decided = judge(story, read("9100", at_ms))
    assert (decided.after, decided.reason) == (T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT)
    put(story, T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT, at_ms)
    assert judge(story, read("9500", at_ms + 60_000)).after is T.REDUCE_ONLY


def test_the_state_does_not_change_before_the_new_day_is_open(story: Story) -> None:
    decided = judge(story, read("1", NOON + DAY))
    assert decided.event(NOON) is None
    assert decided.pending is None


@pytest.mark.parametrize("reason", [StateReason.OPERATOR_HALT, StateReason.RESTART_STORM])
def test_a_new_day_ends_no_halt_that_only_the_operator_ends(
    story: Story, reason: StateReason
) -> None:
    put(story, T.REDUCE_ONLY, reason)
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    assert judge(story, read("9500", at_ms)).after is T.REDUCE_ONLY


@pytest.mark.parametrize("state", [T.FLATTENING])
def test_the_operator_ends_flattening_in_two_steps(story: Story, state: TradingState) -> None:
    put(story, state, StateReason.OPERATOR_FLATTEN)
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    assert judge(story, read("9500", at_ms)).after is state
    first = decide_resume(story.book, read("9500", at_ms), limits=LIMITS, now_ms=at_ms)
    assert (first.after, first.reason) == (T.REDUCE_ONLY, StateReason.OPERATOR_RESUME)
    put(story, T.REDUCE_ONLY, StateReason.OPERATOR_RESUME)
    assert judge(story, read("9500", at_ms)).after is T.REDUCE_ONLY  # step 2 is the operator's
    second = decide_resume(story.book, read("9500", at_ms), limits=LIMITS, now_ms=at_ms)
    assert second.after is T.ACTIVE


def test_a_resume_fails_at_the_daily_loss_limit_or_on_unknown_data(story: Story) -> None:
    put(story, T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT)
    losing = decide_resume(story.book, read("9600"), limits=LIMITS, now_ms=NOON)
    assert losing.event(NOON) is None
    assert losing.figures
    assert losing.refusal == "the day's loss still demands the trading state reduce_only"
    unknown = decide_resume(story.book, None, limits=LIMITS, now_ms=NOON)
    assert unknown.event(NOON) is None
    assert unknown.refusal == "account or marks are not known, or too old"
    unexplained = attrs.evolve(read("9700"), explained=False)
    assert decide_resume(story.book, unexplained, limits=LIMITS, now_ms=NOON).refusal == (
        "a change of the wallet balance is not explained"
    )
    better = decide_resume(story.book, read("9700"), limits=LIMITS, now_ms=NOON)
    assert better.after is T.REDUCED_SIZE
    assert not better.refusal
    put(story, T.REDUCED_SIZE, StateReason.OPERATOR_RESUME)
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    assert judge(story, read("9500", at_ms)).after is T.ACTIVE


def test_a_resume_in_the_active_state_changes_nothing(story: Story) -> None:
    assert decide_resume(story.book, None, limits=LIMITS, now_ms=NOON).event(NOON) is None


def test_a_halt_or_flatten_command_never_improves_the_trading_state(story: Story) -> None:
    halt = decide_command(story.book, T.REDUCE_ONLY, StateReason.OPERATOR_HALT)
    assert halt.after is T.REDUCE_ONLY
    put(story, T.FLATTENING, StateReason.OPERATOR_FLATTEN)
    assert (
        decide_command(story.book, T.REDUCE_ONLY, StateReason.OPERATOR_HALT).after is T.FLATTENING
    )
    assert (
        decide_command(story.book, T.FLATTENING, StateReason.OPERATOR_FLATTEN).after is T.FLATTENING
    )


def test_an_operators_halt_replaces_the_reason_of_a_days_loss_and_a_full_disk_does_not(
    story: Story,
) -> None:
    put(story, T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT)
    full = decide_command(story.book, T.REDUCE_ONLY, StateReason.DISK_FULL)
    assert full.event(NOON) is None
    halted = decide_command(story.book, T.REDUCE_ONLY, StateReason.OPERATOR_HALT)
    assert halted.reason is StateReason.OPERATOR_HALT
    put(story, T.REDUCE_ONLY, StateReason.OPERATOR_HALT)
    assert decide_command(story.book, T.REDUCE_ONLY, StateReason.OPERATOR_HALT).event(NOON) is None
