"""Defects in the life of an entry that rests, and in that of its shadow."""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

DUE = "kamou/core/book/due_actions.py"
RESTING = "kamou/core/shadow/resting.py"
DUE_TESTS = ("tests/core/book/test_resting_entries.py",)
VENUE_TESTS = ("tests/core/reconciliation/test_resting_entries_at_the_venue.py",)
RUN_TESTS = ("tests/actors/test_resting_entries_in_a_run.py",)
SHADOW_TESTS = ("tests/core/shadow/test_resting_shadows.py",)
judged = partial(Mutant, faults="", seeds=1)

RESTING_ENTRIES = (
    judged(
        name="a resting entry outlives its deadline",
        file=DUE,
        old="<= now_ms < order.rests_until_ms:",
        new="<= now_ms:",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_ends_at_its_deadline_and_not_before",),
    ),
    judged(
        name="a clock that is set back prolongs a resting entry without a limit",
        file=DUE,
        old="not order.intent.intended_at_ms <= now_ms <",
        new="not now_ms <",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_ends_if_the_clock_was_set_back_behind_its_intent",),
    ),
    judged(
        name="a resting entry stays when its contract changes",
        file=DUE,
        old=" or instrument.contract_size != plan.contract_size:",
        new=":",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_ends_if_its_contract_changes",),
    ),
    judged(
        name="a resting entry adds to a trade that has begun to close",
        file=DUE,
        old="(trade.exited > 0 or ",
        new="(",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_ends_as_soon_as_a_part_of_its_trade_closed",),
    ),
    judged(
        name="a resting entry adds to a trade beyond its time limit",
        file=DUE,
        old=' or 0 < trade.hold_until_ms <= now_ms):\n        return "its',
        new='):\n        return "its',
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_ends_at_the_time_limit_of_its_trade",),
    ),
    judged(
        name="a resting entry without an attached stop is not queried",
        file=DUE,
        old="        calm = attached_stop and order.resting\n",
        new="        calm = order.resting\n",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_is_queried_each_second_only_if_its_stop_is_not_attached",),
    ),
    judged(
        name="no look is planned at the deadline of a resting entry",
        file=DUE,
        old="*(at_ms for at_ms in rests if at_ms > now_ms)])",
        new="])",
        tests=DUE_TESTS,
        fails=("test_a_resting_entry_is_queried_each_second_only_if_its_stop_is_not_attached",),
    ),
    judged(
        name="a stop shrinks to the position while its entry may still fill",
        file="kamou/core/reconciliation/protection.py",
        old="    if left > most:\n",
        new="    if left > trade.quantity:\n",
        tests=VENUE_TESTS,
        fails=("test_a_stop_is_made_smaller_only_after_the_entry_has_ended",),
    ),
    judged(
        name="any larger position is taken for fills of a resting entry",
        file="kamou/core/reconciliation/reconciliation.py",
        old="sign <= o.remaining\n",
        new="sign\n",
        tests=VENUE_TESTS,
        fails=("test_fills_that_no_list_has_yet_explain_a_position_up_to_the_rest_of_the_entry",),
    ),
    judged(
        name="a reconciliation ends a resting entry when its permit expires",
        file="kamou/core/reconciliation/orphan_orders.py",
        old="    if known.intent.post_only:\n",
        new="    if False:\n",
        tests=VENUE_TESTS,
        fails=(
            "test_a_reconciliation_cancels_a_resting_entry_at_its_deadline_not_at_its_permits_expiry",
        ),
    ),
    judged(
        name="an entry that may rest is sent without post-only",
        file="kamou/exchange/embedded.py",
        old="        post_only=intent.post_only,\n",
        new="",
        tests=DUE_TESTS,
        fails=("test_an_entry_is_post_only_exactly_if_its_plan_may_rest",),
    ),
    judged(
        name="an orderly stop leaves resting entries at the venue",
        file="kamou/actors/order_manager.py",
        old="            await self._cancel_resting()\n",
        new="            pass\n",
        tests=RUN_TESTS,
        fails=("test_an_orderly_stop_cancels_resting_entries_and_keeps_stops",),
    ),
    judged(
        name="a shadow entry fills in a bar from before it was placed",
        file=RESTING,
        old="        whole = trade.opened_at_ms <= bar.opened_at_ms\n",
        new="        whole = True\n",
        tests=SHADOW_TESTS,
        fails=("test_an_entry_fills_at_the_first_whole_bar_or_the_mark_that_is_beyond_its_limit",),
    ),
    judged(
        name="a shadow entry fills after its deadline",
        file=RESTING,
        old=" < bar.closed_at_ms <= until_ms:",
        new=" < bar.closed_at_ms:",
        tests=SHADOW_TESTS,
        fails=("test_an_entry_fills_at_the_first_whole_bar_or_the_mark_that_is_beyond_its_limit",),
    ),
    judged(
        name="a touch fills a limit",
        file="kamou/core/market/fill_prices.py",
        old="    return side.is_limit_passed(limit, low, high)\n",
        new="    return side.is_limit_passed(limit, low, high) or limit in (low, high)\n",
        tests=SHADOW_TESTS,
        fails=("test_a_limit_is_traded_through_only_strictly_beyond_it",),
    ),
)
