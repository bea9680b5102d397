"""Position book: reservations, trades, money and drift after events."""

from __future__ import annotations

import attrs
import pytest

from kamou.core.book import account_state, book_orders, fold, permits, reconciliation_state
from kamou.core.book import events as e
from kamou.core.book.retention import OVERLAP_MS
from kamou.core.codes import StateReason
from kamou.core.day import HOUR_MS
from kamou.core.kinds import DriftKind, FillReason, FillSource
from kamou.core.model import Figure, OrderRole, OrderSide, OrderStatus, Side, TradingState
from tests.core.trading_cases import (
    DAY,
    NOON,
    D,
    Story,
    client,
    closed_cycle,
    income,
    intent,
    mark,
    order_closed,
    plan,
)

PLAN = plan()


# --- reservations ------------------------------------------------------------------


def test_a_reservation_shrinks_as_its_fills_become_a_trade(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 100
    story.fill(entry, "40", "100")
    reservation = story.book.permits.reservations[PLAN.permit_id]
    assert reservation.remaining == 60
    assert reservation.risk == PLAN.risk * D("0.6")
    assert reservation.notional == 600
    assert story.book.trades.position("SOLUSDT") == 40
    story.say(order_closed(entry, OrderStatus.CANCELED, "40"))
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 0
    ended = story.book.orders.find(entry.client_order_id)
    assert ended is not None
    assert ended.settled


def test_fills_that_the_venue_counts_but_has_not_listed_stay_reserved(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.say(order_closed(entry, OrderStatus.CANCELED, "40"))
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 40
    assert story.book.orders.has_live_entry("SOLUSDT")
    story.fill(entry, "40", "100")
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 0
    assert not story.book.orders.unsettled


def test_an_unused_permit_expires_and_its_id_stays_known(story: Story) -> None:
    story.grant(PLAN)
    assert story.book.releasable_permits(PLAN.expires_at_ms - 1) == ()
    assert story.book.releasable_permits(PLAN.expires_at_ms) == ((PLAN.permit_id, "expired"),)
    story.say(e.PermitReleased(at_ms=NOON, permit_id=PLAN.permit_id, reason="expired"))
    assert not story.book.permits.reservations
    assert PLAN.permit_id in story.book.permits.released


def test_a_permit_is_held_until_its_order_ends_and_its_trade_is_published(story: Story) -> None:
    late_ms = NOON + DAY
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    stop = story.send(intent(OrderRole.STOP_LOSS, PLAN))
    assert story.book.releasable_permits(late_ms) == ()
    story.fill(entry, "100", "100")
    assert story.book.releasable_permits(late_ms) == ()
    story.fill(stop, "100", "97")
    assert story.book.releasable_permits(late_ms) == ()
    story.say(*story.book.pending_closures(NOON))
    assert story.book.releasable_permits(late_ms) == ((PLAN.permit_id, "trade_closed"),)


def test_an_entry_that_ended_without_a_fill_frees_its_permit(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.say(
        e.PermitConsumed(
            at_ms=NOON, permit_id=PLAN.permit_id, client_order_id=entry.client_order_id
        )
    )
    story.say(order_closed(entry, OrderStatus.EXPIRED))
    assert story.book.releasable_permits(NOON) == ((PLAN.permit_id, "no_fill"),)


def test_consuming_or_releasing_a_permit_that_the_book_does_not_have_reserves_nothing(
    story: Story,
) -> None:
    story.say(
        e.PermitConsumed(at_ms=NOON, permit_id="x", client_order_id="y"),
        e.PermitReleased(at_ms=NOON, permit_id="x", reason="expired"),
    )
    assert not story.book.permits.reservations


# --- trades ------------------------------------------------------------------------


def test_a_flat_trade_is_offered_for_publication_until_it_is_published(story: Story) -> None:
    _, stop = story.open(PLAN)
    assert story.book.pending_closures(NOON) == ()
    story.fill(stop, "100", "97", at_ms=NOON + 5)
    (closure,) = story.book.pending_closures(NOON + 6)
    assert closure.trade_id == PLAN.signal_id
    assert closure.exit_reason == "stop_loss"
    assert "SOLUSDT" not in story.book.trades.open
    story.say(closure)
    assert story.book.pending_closures(NOON + 6) == ()


def test_a_trade_held_at_a_full_hour_is_published_with_that_hours_funding(story: Story) -> None:
    _, stop = story.open(PLAN)
    hour_ms = NOON + HOUR_MS
    story.fill(stop, "100", "97", at_ms=hour_ms + 500)
    assert story.book.pending_closures(hour_ms + 500) == ()
    funding = income("funding", "0.5", at_ms=hour_ms)
    # This machine's clock has reached the cycle, the venue's time has not reached the hour.
    story.say(mark("10000", at_ms=hour_ms - 1), closed_cycle(hour_ms))
    assert story.book.pending_closures(hour_ms + 500) == ()
    story.say(e.IncomeRecorded(at_ms=hour_ms + 1_000, income=funding), mark("10000", at_ms=hour_ms))
    (closure,) = story.book.pending_closures(hour_ms + 1_000)
    assert closure.funding == D("0.5")


@pytest.mark.parametrize("opened_after_ms", [0, 1])
def test_a_trade_opened_since_the_last_full_hour_does_not_wait_for_that_hours_funding(
    story: Story, opened_after_ms: int
) -> None:
    hour_ms = NOON + HOUR_MS
    _, stop = story.open(PLAN, at_ms=hour_ms + opened_after_ms)
    story.fill(stop, "100", "97", at_ms=hour_ms + 500)
    assert len(story.book.pending_closures(hour_ms + 500)) == 1


def test_a_trade_is_not_over_while_its_entry_may_still_fill(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    stop = story.send(intent(OrderRole.STOP_LOSS, PLAN))
    story.fill(entry, "60", "100")
    story.fill(stop, "60", "97")
    assert story.book.pending_closures(NOON) == ()
    story.say(order_closed(entry, OrderStatus.CANCELED, "60"))
    assert len(story.book.pending_closures(NOON)) == 1


def test_fills_that_arrive_out_of_order_sum_to_the_right_quantity(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    stop = story.send(intent(OrderRole.STOP_LOSS, PLAN))
    story.fill(entry, "60", "100")
    story.fill(stop, "100", "97")
    assert story.book.trades.position("SOLUSDT") == -40  # the rest of the entry is not listed yet
    story.fill(entry, "40", "100")
    (closure,) = story.book.pending_closures(NOON)
    assert closure.quantity == 100


def test_a_late_fill_reopens_a_trade_that_was_not_published(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.fill(stop, "100", "97")
    story.fill(stop, "20", "96")
    assert story.book.trades.position("SOLUSDT") == -20
    assert story.book.pending_closures(NOON) == ()


def test_a_fill_is_counted_once_however_often_it_is_reported(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    done = story.fill(entry, "40", "100")
    story.say(e.FillRecorded(at_ms=NOON, fill=done, source=FillSource.RECONCILE))
    assert story.book.trades.position("SOLUSDT") == 40


def test_a_fill_without_an_order_or_a_permit_opens_no_trade(story: Story) -> None:
    story.fill(None, "5", "100", side=OrderSide.BUY)
    orphan = story.send(intent(OrderRole.ENTRY, PLAN))  # no permit, so no plan
    story.fill(orphan, "5", "100")
    assert not story.book.trades.open


def test_a_liquidation_closes_the_trade_and_is_recorded_as_a_stop_out(story: Story) -> None:
    story.open(PLAN)
    story.fill(None, "100", "80", reason=FillReason.LIQUIDATION, at_ms=NOON + 9)
    (closure,) = story.book.pending_closures(NOON + 9)
    assert closure.exit_reason == "liquidation"
    assert story.book.recent_activity.stop_outs_ms == {"SOLUSDT": NOON + 9}


def test_entries_are_counted_since_an_instant_and_dropped_when_they_are_a_day_old(
    story: Story,
) -> None:
    story.open(PLAN)
    recent_activity = story.book.recent_activity
    assert recent_activity.count_strategy_entries("mean_reversion", NOON - 1) == 1
    assert recent_activity.count_strategy_entries("mean_reversion", NOON) == 0
    assert recent_activity.count_symbol_entries("SOLUSDT", NOON) == 1
    later = plan("ETHUSDT", planned_at_ms=NOON + DAY)
    story.open(later, at_ms=NOON + DAY)
    assert len(recent_activity.entries) == 1


# --- protection, money ---------------------------------------------------------------


def test_a_trade_is_protected_after_read_back_and_not_before(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.fill(entry, "100", "100")
    assert not story.book.trades.open["SOLUSDT"].protected
    confirmed = e.StopConfirmed(
        at_ms=NOON, symbol="SOLUSDT", client_order_id="s", quantity=D(100), trigger_price=D(97)
    )
    story.say(confirmed)
    assert story.book.trades.open["SOLUSDT"].protected
    lost = e.ProtectionLost(at_ms=NOON + 1, symbol="SOLUSDT", reason="gone")
    story.say(lost)
    assert story.book.trades.open["SOLUSDT"].unprotected_since_ms == NOON + 1
    other = Story()
    other.say(confirmed, lost)
    assert not other.book.trades.open


def test_funding_accrues_to_the_trade_even_when_it_is_flat_already(story: Story) -> None:
    _, stop = story.open(PLAN)
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("funding", "-0.4")))
    story.fill(stop, "100", "97")
    late = e.IncomeRecorded(at_ms=NOON, income=income("funding", "0.1"))
    story.say(late)
    story.say(late)
    (closure,) = story.book.pending_closures(NOON)
    assert closure.funding == D("-0.3")
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("funding", "1", symbol="ADAUSDT")))
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("insurance", "1")))
    assert story.book.transfers.net_deposits == 0


def test_sizing_equity_is_the_smaller_of_equity_and_wallet_balance(story: Story) -> None:
    assert story.book.account.sizing_equity == 10000
    story.say(attrs.evolve(mark("9000"), wallet_balance=D(9500)))
    assert story.book.account.sizing_equity == 9000
    story.say(attrs.evolve(mark("9900"), wallet_balance=D(9500)))
    assert story.book.account.sizing_equity == 9500


# --- reconciliation, state -------------------------------------------------------------


def test_a_correction_settles_orders_whose_fills_were_never_listed(story: Story) -> None:
    story.grant(PLAN)
    entry = story.send(intent(OrderRole.ENTRY, PLAN))
    story.fill(entry, "40", "100")
    story.say(order_closed(entry, OrderStatus.CANCELED, "60"))
    assert story.book.orders.unsettled
    story.say(
        e.PositionCorrected(
            at_ms=NOON, symbol="SOLUSDT", quantity=D(60), price=D(100), reason="inferred"
        )
    )
    assert story.book.trades.position("SOLUSDT") == 60
    assert not story.book.orders.unsettled
    assert story.book.permits.reservations[PLAN.permit_id].remaining == 0


def test_a_correction_to_zero_contracts_ends_the_trade(story: Story) -> None:
    story.open(PLAN)
    gone = e.PositionCorrected(
        at_ms=NOON, symbol="SOLUSDT", quantity=D(0), price=D(99), reason="inferred"
    )
    story.say(gone)
    (closure,) = story.book.pending_closures(NOON)
    assert closure.exit_reason == "external"
    story.say(gone)  # no open trade: the correction has no effect
    assert len(story.book.trades.finished) == 1


def test_an_adopted_position_is_a_trade_of_the_book(story: Story) -> None:
    story.say(
        e.PositionAdopted(
            at_ms=NOON,
            trade_id="t",
            symbol="SOLUSDT",
            side=Side.SHORT,
            quantity=D(5),
            contract_size=D("0.1"),
            entry_price=D(100),
            stop_price=D(103),
        )
    )
    assert story.book.trades.position("SOLUSDT") == -5
    assert story.book.trades.open["SOLUSDT"].adopted


@pytest.mark.parametrize(
    ("quantity", "unless_held", "adopted"),
    [("100", True, False), ("99", True, True), ("100", False, True)],
)
def test_an_adoption_is_skipped_only_if_it_allows_that_and_fills_explain_the_position(
    story: Story, quantity: str, unless_held: bool, adopted: bool
) -> None:
    """The order manager recorded the fill while the reconciler read a list without it.

    An event without ``unless_held``, as older journals have it, is always applied.
    """
    story.open(PLAN)
    story.say(
        e.PositionAdopted(
            at_ms=NOON,
            unless_held=unless_held,
            trade_id="t",
            symbol="SOLUSDT",
            side=Side.LONG,
            quantity=D(quantity),
            contract_size=D("0.1"),
            entry_price=D(100),
            stop_price=D(97),
        )
    )
    trade = story.book.trades.open["SOLUSDT"]
    assert (trade.adopted, trade.planned_distance is None) == (adopted, adopted)


def test_fill_keys_are_dropped_once_no_query_reaches_their_time(story: Story) -> None:
    entry, _ = story.open(PLAN)
    assert len(story.book.reconciliation.fills_seen) == 1
    story.say(closed_cycle(NOON + OVERLAP_MS), closed_cycle(NOON + OVERLAP_MS + 1))
    assert len(story.book.reconciliation.fills_seen) == 1
    assert story.book.fills_since_ms() == NOON
    story.say(closed_cycle(NOON + OVERLAP_MS + 2, drift=1))
    assert story.book.reconciliation.clean_at_ms == NOON + OVERLAP_MS + 1
    assert len(story.book.reconciliation.fills_seen) == 1
    story.say(closed_cycle(NOON + OVERLAP_MS + 2))
    assert story.book.reconciliation.fills_seen == {}
    assert story.book.orders.find(entry.client_order_id) is not None


def test_fills_are_read_since_5_min_before_the_first_run_or_the_clean_cycle_before_the_last() -> (
    None
):
    story = Story()
    assert story.book.fills_since_ms() == 0
    story.ready()
    assert story.book.fills_since_ms() == NOON - NOON % DAY - OVERLAP_MS
    story.say(closed_cycle(NOON + 1))
    assert story.book.fills_since_ms() == NOON - OVERLAP_MS


def test_drift_stays_until_it_is_explained(story: Story) -> None:
    found = e.DriftFound(at_ms=NOON, symbol="SOLUSDT", kind=DriftKind.QUANTITY_DIFFERS, figures=())
    story.say(found, closed_cycle(NOON + 1))
    assert story.book.reconciliation.drifting
    story.say(e.DriftExplained(at_ms=NOON, reason="a withdrawal"))
    assert not story.book.reconciliation.drifting


def test_the_trading_state_is_that_of_the_last_state_change(story: Story) -> None:
    story.say(
        e.StateChanged(
            at_ms=NOON,
            before=TradingState.ACTIVE,
            after=TradingState.REDUCE_ONLY,
            reason=StateReason.OPERATOR_HALT,
            figures=(Figure(name="a", value="b"),),
        )
    )
    assert story.book.trading.state is TradingState.REDUCE_ONLY
    assert (story.book.trading.reason, story.book.trading.since_ms) == ("OPERATOR_HALT", NOON)


def test_the_book_keeps_the_newest_settled_orders_released_permits_and_seen_keys(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "PERMITS_KEPT", 3)
    monkeypatch.setattr(book_orders, "CLOSED_KEPT", 3)
    for module in (account_state, fold, reconciliation_state):
        monkeypatch.setattr(module, "SEEN_KEPT", 3)
    for n in range(9):
        order = story.send(intent(OrderRole.STOP_LOSS, PLAN, f"s{n}"))
        story.say(order_closed(order, OrderStatus.CANCELED))
        story.say(e.PermitReleased(at_ms=NOON, permit_id=f"p{n}", reason="expired"))
        story.fill(None, "1", "1", side=OrderSide.BUY)
        story.say(e.IncomeRecorded(at_ms=NOON, income=income("insurance", "1")))
    book = story.book
    assert list(book.orders.settled) == [client(f"s{n}") for n in (6, 7, 8)]
    assert list(book.permits.released) == ["p6", "p7", "p8"]
    seen = book.reconciliation.fills_seen, book.reconciliation.incomes_seen
    kept = (*seen, book.payments, book.account.changes)
    assert [len(each) for each in kept] == [3, 3, 3, 3]
