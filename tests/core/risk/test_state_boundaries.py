"""Trading state at the exact millisecond and figure at which it changes."""

from __future__ import annotations

from typing import Any

import pytest

from kamou.core.book import events as e
from kamou.core.codes import StateReason
from kamou.core.kinds import DriftKind
from kamou.core.risk.governor import Pending, decide_command, decide_resume
from kamou.core.risk.states import EquityRead, overdue_ms
from tests.core.risk.test_governor_states import LIMITS, T, judge, next_day, put, read
from tests.core.trading_cases import DAY, NOON, D, Story, closed_cycle, income


def test_a_state_change_has_the_figures_of_the_day(story: Story) -> None:
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "-50")))
    first = judge(story, read("9540", exit_costs=D("10.004")))
    second = judge(story, read("9540", NOON + 5_000, exit_costs=D("10.004")), first.pending)
    event = second.event(NOON + 5_000)
    assert event is not None
    assert event.at_ms == NOON + 5_000
    assert {f.name: f.value for f in event.figures} == {
        "day_pnl": "-4.20%",  # (9,540 - 10,000 + 50 - 10) / 10,000
        "limit": "4.00%",
        "equity": "9540",
        "day_equity": "10000",
        "net_deposits": "-50",
        "exit_costs": "10.00",
    }


@pytest.mark.parametrize(
    ("read_at", "marks_at", "now", "expected"),
    [
        (0, None, 900_000, 0),
        (0, None, 900_001, 1),
        (0, 0, 900_000, 0),
        (0, -10_000, 500_000, -400_000),  # fresh when it was read
        (0, -10_001, 0, 1),  # stale when it was read
        (0, -10_001, 500_000, 500_001),  # and it ages until the next read
        (0, -10_001, 1_000_000, 1_000_001),  # the older of the two
        (0, -15_000, 0, 5_000),
    ],
)
def test_account_and_marks_are_overdue_beyond_their_age_limits(
    read_at: int, marks_at: int | None, now: int, expected: int
) -> None:
    seen = EquityRead(
        equity=D(1),
        at_ms=NOON + read_at,
        marks_at_ms=None if marks_at is None else NOON + marks_at,
    )
    assert overdue_ms(seen, LIMITS, NOON + now) == expected


def test_a_halt_without_a_fresh_read_has_the_time_by_which_the_read_is_overdue(
    story: Story,
) -> None:
    late = judge(story, None, started_at_ms=NOON, now_ms=NOON + 900_000 + 60_001)
    assert [(f.name, f.value) for f in late.figures] == [("overdue_ms", "60001")]
    assert judge(story, None, started_at_ms=NOON, now_ms=NOON + 900_000 + 60_000).reason is None
    full = judge(story, read("10000"), disk_full=True)
    assert [(f.name, f.value) for f in full.figures] == [("overdue_ms", "0")]


def test_a_halt_names_a_full_disk_before_drift_and_drift_before_an_old_read(story: Story) -> None:
    old: dict[str, Any] = {"started_at_ms": NOON, "now_ms": NOON + 900_000 + 60_001}
    story.say(
        e.DriftFound(at_ms=NOON, symbol="ADAUSDT", kind=DriftKind.QUANTITY_DIFFERS, figures=())
    )
    assert judge(story, None, disk_full=True, **old).reason is StateReason.DISK_FULL
    assert judge(story, None, **old).reason is StateReason.RECONCILE_MISMATCH


def test_a_pending_breach_outlasts_unknown_data(
    story: Story,
) -> None:
    waiting = judge(story, read("9500")).pending
    put(story, T.REDUCE_ONLY, StateReason.EQUITY_UNKNOWN)
    kept = judge(story, None, waiting, started_at_ms=NOON, now_ms=NOON + 970_000)
    assert kept.pending == waiting
    assert kept.after is T.REDUCE_ONLY


def test_a_pending_breach_no_worse_than_the_state_is_replaced(story: Story) -> None:
    put(story, T.REDUCED_SIZE, StateReason.DAY_LOSS_HALF)
    old = Pending(level=T.REDUCED_SIZE, at_ms=NOON - 60_000)
    decided = judge(story, read("9500"), old)
    assert (decided.after, decided.reason) == (T.REDUCED_SIZE, None)
    assert decided.pending == Pending(level=T.REDUCE_ONLY, at_ms=NOON)
    assert decided.read_again_ms == NOON + 5_000
    done = judge(story, read("9500", NOON + 5_000), decided.pending)
    assert (done.after, done.pending, done.read_again_ms) == (T.REDUCE_ONLY, None, None)


def test_a_second_breach_milder_than_the_first_sets_the_milder_state(story: Story) -> None:
    first = judge(story, read("9300"))
    assert first.pending == Pending(level=T.FLATTENING, at_ms=NOON)
    second = judge(story, read("9700", NOON + 5_000), first.pending)
    assert (second.after, second.reason) == (T.REDUCED_SIZE, StateReason.DAY_LOSS_HALF)
    assert (second.pending, second.read_again_ms) == (None, None)


@pytest.mark.parametrize(("agreed_at", "ends"), [(NOON, False), (NOON + 1, True)])
@pytest.mark.parametrize("reason", [StateReason.DISK_FULL, StateReason.EQUITY_UNKNOWN])
def test_a_halt_on_a_full_disk_or_unknown_equity_ends_only_after_a_clean_reconciliation(
    story: Story, reason: StateReason, agreed_at: int, ends: bool
) -> None:
    put(story, T.REDUCE_ONLY, reason)
    story.say(closed_cycle(agreed_at))
    decided = judge(story, read("10000", NOON + 5_000), fresh_since_ms=NOON)
    assert (decided.after is T.ACTIVE) is ends


@pytest.mark.parametrize(
    ("since", "agreed", "ends"),
    [(-1, 0, True), (0, 0, False), (0, 1, False), (-1, -1, False)],  # ms after midnight
)
def test_a_days_halt_ends_only_with_a_clean_reconciliation_of_the_next_day(
    story: Story, since: int, agreed: int, ends: bool
) -> None:
    midnight = NOON + DAY // 2
    put(story, T.REDUCE_ONLY, StateReason.DAY_LOSS_LIMIT, midnight + since)
    at_ms = next_day(story)
    story.say(closed_cycle(midnight + agreed))
    decided = judge(story, read("9500", at_ms))
    assert (decided.after is T.ACTIVE) is ends


def test_a_halt_on_unknown_data_ends_in_the_state_of_the_days_loss(story: Story) -> None:
    put(story, T.REDUCE_ONLY, StateReason.EQUITY_UNKNOWN)
    story.say(closed_cycle(NOON + 1))
    decided = judge(story, read("9750", NOON + 5_000), fresh_since_ms=NOON)
    assert (decided.after, decided.reason) == (T.REDUCED_SIZE, StateReason.DATA_RECOVERED)
    assert decided.figures


def test_reduced_size_after_a_resume_can_be_halted_and_ends_with_the_next_day(
    story: Story,
) -> None:
    put(story, T.REDUCED_SIZE, StateReason.OPERATOR_RESUME)
    assert (
        decide_command(story.book, T.REDUCE_ONLY, StateReason.OPERATOR_HALT).after is T.REDUCE_ONLY
    )
    assert decide_command(story.book, T.ACTIVE, StateReason.OPERATOR_HALT).reason is None
    at_ms = next_day(story)
    story.say(closed_cycle(at_ms))
    assert judge(story, read("9500", at_ms)).after is T.ACTIVE


@pytest.mark.parametrize(
    ("equity", "after"),
    [
        ("9801", T.ACTIVE),
        ("9800", T.REDUCED_SIZE),
        ("9601", T.REDUCED_SIZE),
        ("9600", T.REDUCE_ONLY),
    ],
)
def test_a_resume_leads_to_the_state_of_the_days_loss(
    story: Story, equity: str, after: object
) -> None:
    put(story, T.REDUCE_ONLY, StateReason.OPERATOR_HALT)
    decided = decide_resume(story.book, read(equity), limits=LIMITS, now_ms=NOON)
    assert decided.after is after
    assert decided.figures
    assert (decided.reason is None) is (after is T.REDUCE_ONLY)


def test_failed_protection_leads_to_flattening_from_each_other_trading_state(
    story: Story,
) -> None:
    pending = Pending(level=T.REDUCE_ONLY, at_ms=NOON)
    for state in (T.ACTIVE, T.REDUCED_SIZE, T.REDUCE_ONLY):
        put(story, state, StateReason.OPERATOR_HALT)
        decided = judge(story, None, pending, protection_failed=True)
        assert (decided.before, decided.after, decided.pending) == (state, T.FLATTENING, pending)
    put(story, T.FLATTENING, StateReason.OPERATOR_FLATTEN)
    kept = judge(story, read("10000"), pending, protection_failed=True)
    assert (kept.after, kept.reason, kept.pending) == (T.FLATTENING, None, pending)


def test_an_equity_read_counts_until_exactly_its_age_limit(story: Story) -> None:
    seen = read("9500")
    assert judge(story, seen, now_ms=NOON + 900_000).pending == Pending(
        level=T.REDUCE_ONLY, at_ms=NOON
    )
    assert judge(story, seen, now_ms=NOON + 900_001).pending is None


def test_the_state_does_not_change_before_the_first_read_of_a_run(story: Story) -> None:
    decided = judge(story, None, Pending(level=T.REDUCE_ONLY, at_ms=NOON), started_at_ms=NOON)
    assert (decided.after, decided.reason) == (T.ACTIVE, None)
    assert decided.pending is not None


def test_the_state_does_not_change_on_a_day_that_opened_without_equity(story: Story) -> None:
    story.book.day.equity = D(0)
    assert judge(story, read("9000")).pending is None
    assert judge(story, read("9000")).reason is None
