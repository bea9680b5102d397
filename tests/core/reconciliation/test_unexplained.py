"""Unexplained differences of one view: positions that a list omits, and money."""

from __future__ import annotations

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.kinds import DriftKind, FillSource
from kamou.core.model import OrderRole, OrderSide
from kamou.core.reconciliation.reconciliation import reconcile
from kamou.core.reconciliation.unexplained import unexplained_money, unlisted_positions
from kamou.core.reconciliation.venue_view import NO_SYMBOL, ReconcileSettings
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    account,
    fill,
    income,
    intent,
    plan,
    venue_position,
)
from tests.core.venue_views import HELD, INPUTS, NEXT_MS, RESTING, STOP, SURE_MS, kinds, look, run

SETTINGS = ReconcileSettings()
TOLERANCE = SETTINGS.balance_tolerance


# --- fills without a position ----------------------------------------------------------


def test_a_fill_without_a_trade_leaves_a_position_that_the_venue_must_list(story: Story) -> None:
    story.fill(None, "3", "100", symbol="ETHUSDT", side=OrderSide.SELL, at_ms=NOON + 1_000)
    now_ms = NOON + 2_000
    assert unlisted_positions(story.book, (), SETTINGS, now_ms) == {"ETHUSDT": D(-3)}
    assert unlisted_positions(story.book, ("ETHUSDT",), SETTINGS, now_ms) == {}
    after_ms = NOON + 1_000 + SETTINGS.unassigned_ms
    assert unlisted_positions(story.book, (), SETTINGS, after_ms) == {}


def test_an_external_position_that_was_closed_again_is_not_expected(story: Story) -> None:
    for side in (OrderSide.SELL, OrderSide.BUY):
        story.fill(None, "3", "100", symbol="ETHUSDT", side=side, at_ms=NOON + 1_000)
    assert unlisted_positions(story.book, (), SETTINGS, NOON + 2_000) == {}


def test_a_view_without_an_expected_position_does_not_agree_and_a_later_one_adopts_it(
    story: Story,
) -> None:
    theirs = story.fill(None, "3", "100", symbol="ETHUSDT", at_ms=NEXT_MS - 10_000)
    listed = (venue_position("ETHUSDT", "-3"),)
    seen = look(fills=(theirs,))
    incomplete = run(story, seen)
    assert not incomplete.agreed
    assert incomplete.deferred == ("ETHUSDT",)
    assert list(incomplete.pending_mismatches) == [("ETHUSDT", D(-3))]
    found = run(story, attrs.evolve(seen, positions=listed), now_ms=NEXT_MS + 5_000)
    assert "PositionAdopted" in kinds(found.repairs)
    assert story.book.trades.unassigned == {}


def test_a_position_that_no_list_shows_is_no_longer_expected_after_one_minute(story: Story) -> None:
    theirs = story.fill(None, "3", "100", symbol="ETHUSDT", at_ms=NEXT_MS - 60_000)
    found = run(story, look(fills=(theirs,)))
    assert found.agreed


# --- unexplained money -------------------------------------------------------------


def test_fills_fees_and_income_explain_a_balance_to_the_cent(story: Story) -> None:
    story.open(plan(), at_ms=NOON + 1)
    assert unexplained_money(story.book, account("9999.5", at_ms=NEXT_MS), D(0)) == 0
    story.say(
        e.FillRecorded(
            at_ms=NEXT_MS,
            fill=fill(STOP, "100", "97", at_ms=NOON + 60_000),
            source=FillSource.STREAM,
        ),
        e.IncomeRecorded(at_ms=NEXT_MS, income=income("transfer", "-500", at_ms=NOON + 70_000)),
    )
    # A loss of 3 a unit on 10 units, two fees of 0.5, and 500 withdrawn.
    assert unexplained_money(story.book, account("9469", at_ms=NEXT_MS), D(0)) == 0
    assert unexplained_money(story.book, account("9369", at_ms=NEXT_MS), TOLERANCE) == -100


@pytest.mark.parametrize(
    ("balance", "left"), [("9991", "0"), ("9989", "-11"), ("10011", "11"), ("NaN", "0")]
)
def test_a_balance_change_is_unexplained_only_beyond_the_tolerance_in_either_direction(
    story: Story, balance: str, left: str
) -> None:
    read = account(balance, at_ms=NEXT_MS)
    assert unexplained_money(story.book, read, TOLERANCE) == D(left)


def test_a_payment_in_the_millisecond_of_a_read_explains_a_balance_with_or_without_it(
    story: Story,
) -> None:
    story.say(e.IncomeRecorded(at_ms=NEXT_MS, income=income("transfer", "-500", at_ms=NEXT_MS)))
    for balance in ("10000", "9500"):
        assert unexplained_money(story.book, account(balance, at_ms=NEXT_MS), TOLERANCE) == 0
    later = account("10000", at_ms=NEXT_MS + 1)
    assert unexplained_money(story.book, later, TOLERANCE) == 500


def test_a_fill_with_an_unknown_balance_effect_leaves_no_unexplained_money(story: Story) -> None:
    story.fill(None, "3", "100", symbol="ETHUSDT", at_ms=NOON + 1_000)
    assert unexplained_money(story.book, account("5000", at_ms=NEXT_MS), TOLERANCE) == 0


def test_an_unexplained_balance_is_recorded_only_after_the_waiting_time(
    story: Story,
) -> None:
    view = look(account=account("2000", at_ms=NEXT_MS))
    pending = run(story, view)
    assert pending.pending_mismatches == {(NO_SYMBOL, D(-8000)): NEXT_MS}
    assert (pending.agreed, pending.money_explained, pending.marks) == (False, False, ())
    inputs = attrs.evolve(INPUTS, pending_mismatches=pending.pending_mismatches)
    early = run(story, view, inputs, now_ms=NEXT_MS + SURE_MS - 1)
    assert (early.money_explained, early.marks) == (False, ())
    sure = run(story, view, inputs, now_ms=NEXT_MS + SURE_MS)
    assert sure.money_explained
    assert kinds(sure.marks) == ["EquityRecorded", "CycleClosed"]
    assert story.book.account.wallet_balance == D(2000)


def test_an_unexplained_balance_that_has_lasted_is_recorded_between_cycles(story: Story) -> None:
    """Otherwise each reconciliation until the cycle's end would find the change again."""
    run(story, look())
    view = look(account=account("2000", at_ms=NEXT_MS + 1), at_ms=NEXT_MS + 1)
    pending = run(story, view)
    inputs = attrs.evolve(INPUTS, pending_mismatches=pending.pending_mismatches)
    sure = run(story, view, inputs, now_ms=NEXT_MS + SURE_MS)
    assert kinds(sure.marks) == ["EquityRecorded"]


@pytest.mark.parametrize("due", [False, True])
def test_a_reconciliation_between_cycles_records_the_equity_only_if_a_snapshot_is_due(
    story: Story, due: bool
) -> None:
    """After a flatten, for example, an equity snapshot is due at once."""
    run(story, look())
    inputs = attrs.evolve(INPUTS, mark_due=due)
    found = reconcile(story.book, look(), inputs, cycle_at_ms=NEXT_MS, now_ms=NEXT_MS)
    assert kinds(found.marks) == (["EquityRecorded"] if due else [])


def test_an_equity_snapshot_between_cycles_does_not_end_drift(story: Story) -> None:
    """Only the reconciliation that closes a cycle may find that book and venue agree."""
    run(story, look())
    view = look(account=account("2000", at_ms=NEXT_MS + 1), at_ms=NEXT_MS + 1)
    pending = run(story, view)
    inputs = attrs.evolve(INPUTS, pending_mismatches=pending.pending_mismatches)
    story.say(
        e.DriftFound(at_ms=NEXT_MS, symbol="ETHUSDT", kind=DriftKind.QUANTITY_DIFFERS, figures=())
    )
    between = reconcile(story.book, view, inputs, cycle_at_ms=NEXT_MS, now_ms=NEXT_MS + SURE_MS)
    assert kinds(between.marks) == ["EquityRecorded"]
    closing = reconcile(
        story.book, view, inputs, cycle_at_ms=NEXT_MS + 300_000, now_ms=NEXT_MS + SURE_MS
    )
    assert kinds(closing.marks) == ["DriftExplained", "EquityRecorded", "CycleClosed"]


def test_a_withdrawal_that_a_later_list_shows_explains_the_balance(story: Story) -> None:
    view = look(account=account("2000", at_ms=NEXT_MS))
    assert not run(story, view).agreed
    moved = income("transfer", "-8000", at_ms=NEXT_MS - 100, symbol="")
    found = run(story, attrs.evolve(view, income=(moved,)))
    assert found.agreed
    assert kinds(found.marks) == ["EquityRecorded", "CycleClosed"]


def test_a_balance_change_by_an_unlisted_stop_fill_is_unexplained(story: Story) -> None:
    """The balance includes a fill that the list of fills omits."""
    story.open(plan())
    assert intent(OrderRole.STOP_LOSS, plan()) == STOP
    lost = account("9000", at_ms=NEXT_MS)
    found = run(story, look(account=lost, positions=HELD, open_orders=RESTING))
    assert not found.money_explained
