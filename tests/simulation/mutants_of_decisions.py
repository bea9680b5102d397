"""Defects in what a decision rests on: its inputs, what is due, the day, the side.

Contract specifications and inputs come from the journal, due actions and denials are values, and
the figures of a day, a round trip and a side have one formula each.
"""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

BOOK = "kamou/core/book/book_state.py"
BOOK_FOLD = "kamou/core/book/fold.py"
DAY = "kamou/core/day.py"
DENIALS = "kamou/core/risk/denials.py"
DUE = "kamou/core/book/due_actions.py"
ENTRIES = "kamou/actors/entries.py"
RECORDER = "kamou/actors/decision_recorder.py"
SIDES = "kamou/core/sides.py"
FOLD_TESTS = "tests/core/book/test_book_fold.py"
REPLAY_TESTS = "tests/simulation/test_decisions_replayed.py"
DUE_TESTS = "tests/core/book/test_due_actions.py"
DAY_TESTS = "tests/core/test_day.py"
DENIAL_TESTS = "tests/core/risk/test_denials.py"
RECORDER_TESTS = "tests/actors/test_decision_recorder.py"
SIDE_TESTS = "tests/core/test_sides.py"
judged = partial(Mutant, faults="", seeds=1)

INPUTS = (
    judged(
        name="all books share one dictionary of instruments",
        file=BOOK,
        old="    instruments: dict[str, Instrument] = attrs.field(factory=dict)",
        new="    instruments: dict[str, Instrument] = attrs.field(default={})",
        tests=(FOLD_TESTS,),
        fails=(
            "test_a_book_has_a_contract_specification_from_its_own_event_on_and_shares_it_with_no_book",
        ),
    ),
    judged(
        name="a contract specification stays the first that a book folded",
        file=BOOK_FOLD,
        old="    book.instruments[event.instrument.symbol] = event.instrument\n",
        new="    book.instruments.setdefault(event.instrument.symbol, event.instrument)\n",
        tests=(FOLD_TESTS,),
        fails=(
            "test_a_book_has_a_contract_specification_from_its_own_event_on_and_shares_it_with_no_book",
        ),
    ),
    judged(
        name="at a first start no contract specification is committed",
        file="kamou/core/reconciliation/venue_view.py",
        old="        if known.get(each.symbol) != each\n",
        new="        if known.get(each.symbol, each) != each\n",
        tests=("tests/core/reconciliation/test_changed_instruments.py",),
        fails=("test_an_unrecorded_stop_stays_until_its_position_is_adopted_and_protected",),
    ),
    judged(
        name="the inputs of a decision leave out the funding rate",
        file=ENTRIES,
        old="funding_rate=rate, grant=grant)",
        new="funding_rate=None, grant=grant)",
        tests=(REPLAY_TESTS,),
        fails=("test_each_plan_and_verdict_of_a_day_follows_from_the_journal_alone",),
    ),
    judged(
        name="the inputs of a permitted entry are journalled at the cycle's end",
        file=ENTRIES,
        old="            inputs = recorder.take(self._clock.now_ms())\n",
        new="            inputs = ()\n",
        tests=(REPLAY_TESTS,),
        fails=("test_the_inputs_of_a_permitted_entry_are_committed_with_its_intents",),
    ),
    judged(
        name="denials that one event has are in the next event again",
        file=RECORDER,
        old="        denied, self._denied = self._denied, []\n",
        new="        denied = self._denied\n",
        tests=(RECORDER_TESTS,),
        fails=("test_denials_are_one_event_with_the_time_of_the_latest_and_are_taken_once",),
    ),
    judged(
        name="an entry is sent before the denials of its cycle until then are committed",
        file=ENTRIES,
        old="            if denials := recorder.take_denials():\n",
        new="            if denials := ():\n",
        tests=(REPLAY_TESTS,),
        fails=("test_no_entry_is_sent_before_the_denials_of_its_cycle_until_then_are_committed",),
    ),
)

ACTIONS = (
    judged(
        name="an order of unknown outcome is queried as late as any other",
        file=DUE,
        old=" or order.unknown_since_ms\n",
        new="\n",
        tests=(DUE_TESTS,),
        fails=("test_an_order_in_flight_is_queried_after_five_seconds_or_at_once_if_unknown",),
    ),
    judged(
        name="an order that ended or rests is queried in one millisecond only",
        file=DUE,
        old="and age_ms >= ORDER_RETRY_MS\n",
        new="and age_ms == ORDER_RETRY_MS\n",
        tests=(DUE_TESTS,),
        fails=("test_a_query_stays_due_however_late_it_is_and_is_never_due_twice",),
    ),
    judged(
        name="every trade is looked at twice",
        file=DUE,
        old="for trade in unprotected_first]\n",
        new="for trade in (*unprotected_first, *unprotected_first)]\n",
        tests=(DUE_TESTS,),
        fails=("test_unprotected_trades_are_checked_first_and_make_the_book_urgent",),
    ),
    judged(
        name="unprotected trades are looked at last",
        file=DUE,
        old="key=lambda t: not t.unprotected_since_ms)",
        new="key=lambda t: t.unprotected_since_ms)",
        tests=(DUE_TESTS,),
        fails=("test_unprotected_trades_are_checked_first_and_make_the_book_urgent",),
    ),
    judged(
        name="the time of the next look leaves out time limits",
        file=DUE,
        old="    return min([cycle, *holds, *(",
        new="    return min([cycle, *(",
        tests=(DUE_TESTS,),
        fails=("test_the_next_look_is_at_the_time_limit_of_a_trade_if_it_comes_before_the_cycle",),
    ),
    judged(
        name="the denial of a reducing order names the permit of its entry",
        file=DENIALS,
        old='        permit_id="",\n',
        new="        permit_id=intent.trade_id,\n",
        tests=(DENIAL_TESTS,),
        fails=("test_the_denial_of_a_reducing_order_has_the_trade_and_the_role_and_no_permit",),
    ),
    judged(
        name="the denial of a candidate has the permit id of its first attempt",
        file=DENIALS,
        old="make_permit_id(candidate.signal_id, attempt)",
        new="make_permit_id(candidate.signal_id, 1)",
        tests=(DENIAL_TESTS,),
        fails=("test_the_denial_of_a_candidate_has_the_permit_id_that_its_plan_would_have",),
    ),
)

FORMULAS = (
    judged(
        name="a day's loss counts a withdrawal",
        file=DAY,
        old="self.equity - self.equity_start - self.net_deposits\n",
        new="self.equity - self.equity_start - max(Decimal(0), self.net_deposits)\n",
        tests=(DAY_TESTS,),
        fails=("test_the_loss_is_what_is_missing_after_transfers_and_exit_costs",),
    ),
    judged(
        name="a day's return counts a deposit as a profit",
        file=DAY,
        old="        return growth - 1.0\n",
        new="        return float(self.stretches[-1].end / self.stretches[0].start) - 1.0\n",
        tests=(DAY_TESTS,),
        fails=("test_the_return_is_the_product_over_the_stretches_without_exit_costs",),
    ),
    judged(
        name="a round trip costs no fee at its exit",
        file="kamou/core/risk/costs.py",
        old="        fees = self.fee_in * entry + self.fee_out * exit_\n",
        new="        fees = self.fee_in * entry\n",
        tests=("tests/core/risk/test_costs.py",),
        fails=("test_a_round_trip_costs_fees_spread_slippage_and_payable_funding",),
    ),
    judged(
        name="a short gains when the price rises",
        file=SIDES,
        old="        return (after - before) * self.sign\n",
        new="        return after - before\n",
        tests=(SIDE_TESTS,),
        fails=("test_a_long_gains_what_the_price_rises_and_a_short_what_it_falls",),
    ),
    judged(
        name="a stop is reached only beyond its price",
        file=SIDES,
        old="        return self.loss(stop, price) >= 0\n",
        new="        return self.loss(stop, price) > 0\n",
        tests=(SIDE_TESTS,),
        fails=("test_a_long_has_reached_its_stop_at_or_below_it_and_a_short_at_or_above_it",),
    ),
    judged(
        name="the stop of a short is rounded as the stop of a long",
        file=SIDES,
        old="        return ROUND_FLOOR if self is Side.LONG else ROUND_CEILING\n",
        new="        return ROUND_FLOOR\n",
        tests=(SIDE_TESTS,),
        fails=("test_prices_are_rounded_up_or_down_to_the_tick_by_side_and_purpose",),
    ),
    judged(
        name="the worse price of a sell is the higher one",
        file=SIDES,
        old="        return max(a, b) if self is OrderSide.BUY else min(a, b)\n",
        new="        return max(a, b)\n",
        tests=(SIDE_TESTS,),
        fails=("test_the_higher_price_is_worse_for_a_buy_and_the_lower_price_for_a_sell",),
    ),
    judged(
        name="the result of a short has the sign of a long's",
        file="kamou/core/book/trades.py",
        old="trade.side.gain(trade.entered_value, trade.exited_value) * trade.contract_size\n",
        new="(trade.exited_value - trade.entered_value) * trade.contract_size\n",
        tests=("tests/core/book/test_trades.py",),
        fails=("test_a_short_that_is_stopped_above_its_entry_price_loses",),
    ),
)

DECISIONS = (*INPUTS, *ACTIONS, *FORMULAS)
