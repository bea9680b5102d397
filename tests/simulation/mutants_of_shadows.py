"""Mutants in shadow trades: results that are too good, wrong, or absent.

Tests judge them, because no simulation has a shadow book.
"""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

CLOSING = "kamou/core/shadow/closing.py"
OPENING = "kamou/core/shadow/opening.py"
EXAMPLES = ("tests/core/shadow/test_closing.py",)
PAIR = "for refined, estimate in zip(candidates, estimates, strict=True)\n"
exits = partial(Mutant, file=CLOSING, faults="", seeds=1, tests=EXAMPLES)
BY_DEFINITION = "test_every_result_is_that_of_the_definition"

SHADOWS = (
    exits(
        name="a shadow trade reaches its target before its stop in one bar",
        old="    if side.is_stop_hit(stop, bar.low, bar.high):  # False for NaN\n",
        new="    if side.is_stop_hit(stop, bar.low, bar.high) and not side.is_limit_passed(\n"
        "        float(target), bar.low, bar.high\n    ):\n",
        fails=("test_the_stop_comes_first_when_one_bar_has_the_stop_and_the_target",),
    ),
    exits(
        name="a shadow stop fills at its price in a bar that opens beyond it",
        old="first = bar.open if whole else stop",
        new="first = stop",
        fails=("test_a_bar_that_opens_beyond_the_stop_fills_it_at_the_open",),
    ),
    exits(
        name="a touch fills the target of a shadow trade",
        old="is_traded_through(side, float(target), bar.low, bar.high)",
        new="side.opposite.is_stop_hit(float(target), bar.low, bar.high)",
        fails=(
            "test_a_target_that_is_touched_fills_nothing_and_one_that_is_passed_fills_as_maker",
        ),
    ),
    exits(
        name="a shadow trade reaches its target at a price that is older than it",
        old="    if whole and is_traded_through",
        new="    if is_traded_through",
        fails=(
            "test_in_the_bar_of_its_opening_a_trade_can_be_stopped_and_cannot_reach_its_target",
        ),
    ),
    exits(
        name="a shadow trade leaves at its time limit before the funding of that hour",
        old="range(first_hour_ms, bar.closed_at_ms + 1, HOUR_MS)",
        new="range(first_hour_ms, bar.closed_at_ms, HOUR_MS)",
        fails=("test_funding_is_paid_by_a_trade_that_is_open_at_the_settlement",),
    ),
    exits(
        name="an unknown funding settlement is free for a shadow trade",
        old="rates.get(hour_ms, math.nan)",
        new="rates.get(hour_ms, 0.0)",
        fails=("test_an_unknown_settlement_costs_the_assumed_rate_whatever_the_side",),
    ),
    exits(
        name="a shadow short pays the funding of a long",
        old="signed = trade.side.sign * trade.quantity",
        new="signed = trade.quantity",
        fails=("test_a_short_receives_what_a_long_pays",),
    ),
    exits(
        name="R of a shadow trade leaves out its fees",
        old="    pnl = gross - fees + funding\n",
        new="    pnl = gross + funding\n",
        fails=(BY_DEFINITION,),
    ),
    exits(
        name="slippage makes the exit of a shadow trade better",
        old="half_spread_bps, trade.side.closing, tick)",
        new="half_spread_bps, trade.side.opening, tick)",
        fails=("test_a_stop_and_a_time_limit_pay_spread_and_slippage_on_the_side_of_the_loss",),
    ),
    exits(
        name="R of a shadow trade counts from its filled entry",
        file=OPENING,
        tests=("tests/core/shadow/test_opening.py",),
        old="planned_risk=abs(prices.limit - prices.stop)",
        new="planned_risk=abs(entry - prices.stop)",
        fails=("test_its_size_costs_and_r_follow_from_the_definition_for_any_market",),
    ),
    exits(
        name="a shrunk candidate has a smaller shadow trade",
        file=OPENING,
        tests=("tests/core/shadow/test_opening.py",),
        old="Allowance(sizing_equity=terms.equity)",
        new="Allowance(sizing_equity=terms.equity,"
        " fraction=judged.refined.size_multiplier or Decimal(1))",
        fails=("test_a_shadow_trade_has_the_full_size_whatever_the_verdict_which_it_keeps",),
    ),
    exits(
        name="a refused candidate has no shadow trade",
        file="kamou/actors/refiner.py",
        old=PAIR,
        new=f"{PAIR}                        if refined.verdict is not RefinerVerdict.REFUSE\n",
        tests=("tests/actors/test_shadow_book.py",),
        fails=("test_a_refused_and_a_shrunk_candidate_have_the_shadow_trade_of_an_approved_one",),
    ),
    exits(
        name="a shadow trade of one strategy holds back the others in its symbol",
        file="kamou/core/vetoes/shadow_open.py",
        old="(candidate.strategy, candidate.symbol) not in context.shadows",
        new="candidate.symbol not in {symbol for _, symbol in context.shadows}",
        tests=("tests/core/vetoes/test_vetoes.py",),
        fails=(
            "test_a_candidate_is_vetoed_while_its_own_strategy_has_a_shadow_trade_in_its_symbol",
        ),
    ),
    exits(
        name="a shadow trade that closed has a second result",
        file="kamou/core/book/shadow_trades.py",
        old="            if self.open.pop(trade.shadow_id, None) is not None:\n",
        new="            if self.open.pop(trade.shadow_id, None) or True:\n",
        tests=("tests/core/book/test_shadow_trades.py",),
        fails=("test_a_second_result_of_a_shadow_trade_changes_nothing",),
    ),
    exits(
        name="bars that could not be read are never read again for shadow trades",
        file="kamou/actors/shadow_book.py",
        old="min(each.seen_ms for each in running)",
        new="self._passed_ms - self._native_ms",
        tests=("tests/actors/test_shadow_book.py",),
        fails=(
            "test_failed_reads_of_bars_and_rates_delay_results_and_change_none",
            "test_a_restart_in_the_middle_of_shadow_trades_changes_no_result",
            "test_a_result_that_came_while_nothing_ran_has_the_time_of_its_bar",
        ),
    ),
)
