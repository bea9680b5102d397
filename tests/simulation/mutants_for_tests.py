"""Defects that survived every test once, each with the tests that notice it now.

Simulations do not judge these: a second guard hides some of the defects there, and no simulation
runs the kill switch.
"""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

BUDGET = "tests/core/risk/test_day_budget.py"
SIDES = "tests/core/risk/test_both_sides.py"
RESUME = "tests/core/risk/test_resume.py"
EQUITY = "kamou/core/risk/equity.py"
EXPOSURE = "kamou/core/risk/exposure.py"
STATES = "kamou/core/risk/states.py"
SUPERVISOR = "kamou/supervisor.py"
COUNTING = "tests/test_supervisor_counting.py"
survivor = partial(Mutant, faults="", seeds=1)

FOR_TESTS = (
    survivor(
        name="flatten sends the signed quantity, so shorts stay open",
        file="kamou/runs/flatten.py",
        old="        quantity=abs(position.quantity),\n",
        new="        quantity=position.quantity,\n",
        tests=("tests/runs/test_kill_switch.py",),
        fails=("test_longs_and_shorts_are_closed_to_the_last_contract",),
    ),
    survivor(
        name="limits are fractions of equity, whatever the wallet balance is",
        file=EQUITY,
        old="        return min(self.equity, self.wallet_balance)\n",
        new="        return self.equity\n",
        tests=(SIDES,),
        fails=(
            "test_the_notional_limit_is_a_fraction_of_the_smaller_of_equity_and_wallet_balance",
        ),
    ),
    survivor(
        name="adopted positions are sized on equity, whatever the wallet balance is",
        file="kamou/core/reconciliation/reconciliation.py",
        old="sizing_equity=min(account.equity, account.wallet_balance)",
        new="sizing_equity=account.equity",
        tests=(SIDES,),
        fails=(
            "test_an_adopted_position_risks_a_fraction_of_the_smaller_of_equity_and_wallet_balance",
        ),
    ),
    survivor(
        name="the daily budget leaves out deposits and withdrawals",
        file="kamou/core/book/book_state.py",
        old="            net_deposits=net_deposits,\n",
        new="            net_deposits=ZERO,\n",
        tests=(BUDGET,),
        fails=("test_deposits_and_withdrawals_do_not_change_the_day_loss",),
    ),
    survivor(
        name="a resume passes in spite of drift",
        file=STATES,
        old="""    if book.reconciliation.drifting:
        return "the book and the exchange differ"
""",
        new="",
        tests=(RESUME,),
        fails=("test_drift_prevents_a_resume_until_it_is_explained",),
    ),
    survivor(
        name="a resume passes on an old read of the equity",
        file=STATES,
        old='or overdue_ms(read, limits, now_ms) > 0:\n        return "account or',
        new=':\n        return "account or',
        tests=(RESUME,),
        fails=("test_an_account_read_beyond_its_age_limit_prevents_a_resume",),
    ),
    survivor(
        name="funding is settled on the entry price",
        file="kamou/venue/account.py",
        old="abs(position.quantity) * self.view.mark(position) * size",
        new="abs(position.quantity) * position.entry_price * size",
        tests=("tests/venue/test_venue_paths.py",),
        fails=("test_funding_is_paid_on_the_notional_at_the_mark_and_not_at_the_entry",),
    ),
    survivor(
        name="orders in flight are canceled as orphan orders",
        file="kamou/core/reconciliation/orphan_orders.py",
        old=" or order.created_at_ms > late_ms:",
        new=":",
        tests=("tests/core/reconciliation/test_reconciliation.py",),
        fails=(
            "test_an_order_that_the_book_does_not_have_is_canceled_only_after_the_time_in_flight",
        ),
    ),
    survivor(
        name="fills and income are asked for without an overlap",
        file="kamou/core/book/retention.py",
        old="OVERLAP_MS = 300_000",
        new="OVERLAP_MS = 0",
        tests=("tests/actors/test_overlap.py",),
        fails=("test_funding_that_the_venue_lists_four_minutes_late_is_recorded",),
    ),
    survivor(
        name="fills alone are asked for without an overlap",
        file="kamou/actors/reconciler.py",
        old="await port.fills(since_ms)",
        new="await port.fills(book.reconciliation.clean_at_ms)",
        tests=("tests/actors/test_overlap.py",),
        fails=("test_every_reconciliation_reads_fills_and_income_of_the_last_five_minutes",),
    ),
    survivor(
        name="a hedge counts as more of the same direction",
        file=EXPOSURE,
        old="        held += notional * trade.side.sign\n",
        new="        held += notional\n",
        tests=(SIDES,),
        fails=("test_net_and_total_notional_and_the_cluster_risk_are_sums_by_side",),
    ),
    survivor(
        name="a permitted entry counts as a hedge",
        file=EXPOSURE,
        old="net_notional={side: held + signed for side, signed in reserved.items()},",
        new="net_notional=dict.fromkeys(reserved, held + sum(reserved.values())),",
        tests=(SIDES,),
        fails=("test_net_and_total_notional_and_the_cluster_risk_are_sums_by_side",),
    ),
    survivor(
        name="the headroom for the shock is that of a long",
        file=EXPOSURE,
        old="- exposure.net_notional[side] * side.sign",
        new="- exposure.net_notional[side]",
        tests=(SIDES,),
        fails=("test_a_position_leaves_its_opposite_side_twice_its_notional_more_shock_headroom",),
    ),
    survivor(
        name="the cluster of one direction counts the other",
        file=EXPOSURE,
        old="            cluster[side] += risk\n",
        new="            cluster[Side.LONG] += risk\n",
        tests=(SIDES,),
        fails=("test_net_and_total_notional_and_the_cluster_risk_are_sums_by_side",),
    ),
    survivor(
        name="a short has no open risk",
        file=EXPOSURE,
        old="trade.side.loss(mark, trade.stop_price)",
        new="mark - trade.stop_price",
        tests=(SIDES,),
        fails=("test_open_risk_grows_as_the_mark_moves_away_from_the_stop_on_either_side",),
    ),
    survivor(
        name="a crash that is part of a restart counts",
        file=SUPERVISOR,
        old="expected = incarnation.covered or self._closing",
        new="expected = self._closing",
        tests=(COUNTING,),
        fails=("test_the_supervisor_counts_ends_in_one_moment_and_failed_starts_as_otp_does",),
    ),
    survivor(
        name="a crash of a restarted child is part of the restart while siblings start",
        file=SUPERVISOR,
        old="expected = incarnation.covered or self._closing",
        new="expected = any(c.recovery for c in self._children if c is not child) or self._closing",
        tests=(COUNTING,),
        fails=("test_the_supervisor_counts_ends_in_one_moment_and_failed_starts_as_otp_does",),
    ),
    survivor(
        name="a restart exactly one period ago is forgotten",
        file=SUPERVISOR,
        old="while self._restarts[0][0] < now_s",
        new="while self._restarts[0][0] <= now_s",
        tests=("tests/test_supervisor_together.py",),
        fails=("test_a_restart_exactly_one_period_ago_still_counts",),
    ),
)
