"""Defects of the gate: blocks, evidence, states, demotion, grants, and who commits."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

TRANSITIONS = "kamou/core/record/gate_transitions.py"
DEMOTION = "kamou/core/record/demotion.py"
STATES = "kamou/core/book/gate_states.py"
GRANTS = "kamou/core/record/gate.py"
GUARD_TESTS = "tests/core/record/test_gate_guards.py"
GRANT_TESTS = "tests/core/record/test_earned_gate.py"
DEMOTION_TESTS = "tests/core/record/test_demotion.py"
ACTOR_TESTS = "tests/actors/test_gate_actor.py"
ENTRY_TESTS = "tests/actors/test_entries.py"
judged = partial(Mutant, faults="", seeds=1)
simulated = partial(Mutant, faults="earned_gate", seeds=10, hours=0.5)
with_history = partial(
    Mutant, faults="gate_history", seeds=20, hours=0.5, notices=(HardRule.TRANSITION,)
)

GATE = (
    simulated(
        name="a strategy without a grant gets that of a canary",
        file=GRANTS,
        old="""            assert gate.state in (GateState.SHADOW, GateState.HALTED), gate
            return None
""",
        new="""            full = CANARY_FRACTION
""",
        notices=(HardRule.UNEARNED,),
    ),
    simulated(
        name="a canary gets a third of both caps",
        file=GRANTS,
        old='CANARY_FRACTION = Decimal("0.25")\n',
        new='CANARY_FRACTION = Decimal("0.34")\n',
        notices=(HardRule.UNEARNED,),
    ),
    simulated(
        name="the gate's actor looks only once",
        file="kamou/actors/gate.py",
        old="        if self._seen.get(strategy) == key:\n",
        new="        if strategy in self._seen:\n",
        notices=(HardRule.TRANSITION,),
    ),
    simulated(
        name="the hash of a change leaves out the PnL",
        file=TRANSITIONS,
        old="{t.symbol},{t.r},{t.pnl}",
        new="{t.symbol},{t.r},",
        notices=(HardRule.TRANSITION,),
    ),
    with_history(
        name="a second attempt needs no more than the first",
        file="kamou/core/record/promotion.py",
        old="self.minima.e_value * 2 ** (self.attempt - 1)",
        new="self.minima.e_value",
    ),
    with_history(
        name="LIVE needs 29 closes of a canary",
        file="kamou/core/record/canary.py",
        old="CLOSES_MIN = 30\n",
        new="CLOSES_MIN = 29\n",
    ),
    with_history(
        name="a canary may be 0.2 R below its shadow trades",
        file="kamou/core/record/canary.py",
        old='SHORTFALL_MAX = Decimal("0.10")',
        new='SHORTFALL_MAX = Decimal("0.20")',
    ),
    with_history(
        name="LIVE is never earned",
        file=TRANSITIONS,
        old="    if look.gate.state is not GateState.CANARY or look.live_lacks:\n",
        new="    if look.gate.state is GateState.CANARY or look.live_lacks:\n",
    ),
    with_history(
        name="no drawdown demotes",
        file=TRANSITIONS,
        old="    elif found.drawdown > limits.drawdown:\n",
        new="    elif found.drawdown < ZERO:\n",
        also=(
            (
                TRANSITIONS,
                "from kamou.core.model import Figure\n",
                "from kamou.core.model import ZERO, Figure\n",
            ),
        ),
    ),
    with_history(
        name="a promotion to LIVE names the e-value of a canary as its threshold",
        file=TRANSITIONS,
        old="e_value_blocks=evaluation.e_value_blocks, threshold=look.live_e_value_min)",
        new="e_value_blocks=evaluation.e_value_blocks, threshold=20)",
    ),
    with_history(
        name="a demotion has a cooldown of a day",
        file=TRANSITIONS,
        old="COOLDOWN_MS = 7 * DAY_MS\n",
        new="COOLDOWN_MS = DAY_MS\n",
    ),
    with_history(
        name="a size that was halved stays halved",
        file=TRANSITIONS,
        old="    if is_half_size(look) == look.gate.half_size:\n",
        new="    if look.gate.half_size or not is_half_size(look):\n",
    ),
    with_history(
        name="a live strategy at half size trades at full size",
        file=GRANTS,
        old="        share = full * HALF if gate.half_size else full\n",
        new="        share = full * HALF if gate.half_size and full < 1 else full\n",
        notices=(HardRule.UNEARNED,),
    ),
    with_history(
        name="a promotion keeps no limits of its own",
        file=TRANSITIONS,
        old="    return attrs.evolve(changed, limits=calibrate_limits(look.counted))\n",
        new="    return attrs.evolve(changed, limits=calibrate_limits(look.counted[:30]))\n",
    ),
    judged(
        name="an open shadow trade holds back no block",
        file=TRANSITIONS,
        old="        return min(today_ms, day_start_ms(self.open_since_ms))\n",
        new="        return today_ms\n",
        tests=(GUARD_TESTS,),
        fails=("test_a_block_with_an_open_trade_holds_back_itself_and_every_later_block",),
    ),
    judged(
        name="the block of the present day counts",
        file=TRANSITIONS,
        old="        today_ms = day_start_ms(now_ms)\n",
        new="        today_ms = day_start_ms(now_ms) + DAY_MS\n",
        tests=(GUARD_TESTS,),
        fails=("test_a_block_counts_only_when_its_utc_day_is_over",),
    ),
    judged(
        name="only counted trades can halt a strategy",
        file=TRANSITIONS,
        old="describe_ruin(make_blocks(ended), record.closed)",
        new="describe_ruin(make_blocks(ended), counted)",
        tests=(GUARD_TESTS,),
        fails=("test_a_ruinous_trade_halts_at_once_and_a_ruinous_block_when_it_counts",),
    ),
    judged(
        name="a halted strategy may earn a canary again",
        file=TRANSITIONS,
        old="""    if gate.state is GateState.HALTED:
        return None
    look = look_at(""",
        new="""    if gate.state is GateState.HALTED:
        gate = StrategyGate()
    look = look_at(""",
        tests=(GUARD_TESTS,),
        fails=("test_a_halted_strategy_stays_halted_whatever_it_earns",),
    ),
    judged(
        name="a promotion does not wait for the end of the cooldown",
        file=TRANSITIONS,
        old="    if look.now_ms < gate.not_before_ms or evaluation.decision",
        new="    if evaluation.decision",
        tests=(GUARD_TESTS,),
        fails=("test_no_promotion_comes_before_the_end_of_the_cooldown",),
    ),
    judged(
        name="LIVE needs only the e-value of a canary",
        file=TRANSITIONS,
        old="        live_e_value_min=terms.e_value_min * LIVE_FACTOR,\n",
        new="        live_e_value_min=terms.e_value_min,\n",
        tests=(GUARD_TESTS,),
        fails=("test_live_needs_six_times_the_e_value_of_a_canary",),
    ),
    judged(
        name="LIVE does not need the conditions of a canary at its look",
        file=TRANSITIONS,
        old="        found = list(self.evaluation.reasons)\n",
        new="        found: list[str] = []\n",
        tests=(GUARD_TESTS,),
        fails=("test_live_needs_the_conditions_of_a_canary_at_the_same_look",),
    ),
    judged(
        name="an open real trade holds back no pair",
        file="kamou/core/record/canary.py",
        old="        until_ms = min(until_ms, day_start_ms(open_since_ms))\n",
        new="        until_ms = min(until_ms, open_since_ms)\n",
        tests=(GUARD_TESTS,),
        fails=("test_each_condition_alone_keeps_a_canary_from_live",),
    ),
    judged(
        name="the trades of the reference are monitored",
        file=TRANSITIONS,
        old="if t.opened_at_ms >= self.gate.reference_until_ms)",
        new="if t.opened_at_ms >= self.gate.from_ms)",
        tests=(GUARD_TESTS,),
        fails=("test_trades_before_the_canary_do_not_demote_it",),
    ),
    judged(
        name="a demotion stays in its attempt",
        file=TRANSITIONS,
        old="        attempt=look.gate.attempt + 1,\n",
        new="        attempt=look.gate.attempt,\n",
        tests=(GUARD_TESTS,),
        fails=("test_a_demotion_begins_a_new_attempt_with_a_cooldown_and_fresh_data",),
    ),
    judged(
        name="fresh data begin with the day of the demotion",
        file=STATES,
        old="from_ms=day_start_ms(event.at_ms) + DAY_MS if demoted",
        new="from_ms=day_start_ms(event.at_ms) if demoted",
        tests=(GUARD_TESTS,),
        fails=("test_a_demotion_begins_a_new_attempt_with_a_cooldown_and_fresh_data",),
    ),
    judged(
        name="the CUSUM is that of the last trade, not the largest",
        file=DEMOTION,
        old="        cusum, drawdown = max(cusum, level), max(drawdown, peak - wealth)\n",
        new="        cusum, drawdown = level, max(drawdown, peak - wealth)\n",
        tests=(GUARD_TESTS,),
        fails=("test_a_crossing_of_the_cusum_demotes_though_later_trades_lower_it",),
    ),
    judged(
        name="the CUSUM expects the whole mean of the reference",
        file=DEMOTION,
        old="    k, level, wealth, peak = reference_mean / 2, ZERO, ZERO, ZERO\n",
        new="    k, level, wealth, peak = reference_mean, ZERO, ZERO, ZERO\n",
        tests=(DEMOTION_TESTS,),
        fails=("test_cusum_and_drawdown_follow_from_their_definitions",),
    ),
    judged(
        name="limits come from trades that are resampled one by one",
        file=DEMOTION,
        old="    return results, np.flatnonzero(np.diff(days, prepend=days[0] - 1))\n",
        new="    return results, np.arange(len(days))\n",
        tests=(DEMOTION_TESTS,),
        fails=("test_a_busy_record_is_judged_over_a_month_of_days",),
    ),
    judged(
        name="limits of a busy strategy hold for 300 trades",
        file=DEMOTION,
        old="HORIZON_BLOCKS = 30\n",
        new="HORIZON_BLOCKS = 1\n",
        tests=(DEMOTION_TESTS,),
        fails=("test_a_busy_record_is_judged_over_a_month_of_days",),
    ),
    judged(
        name="a canary trades at full size",
        file=GRANTS,
        old='CANARY_FRACTION = Decimal("0.25")\n',
        new='CANARY_FRACTION = Decimal("1")\n',
        tests=(GRANT_TESTS,),
        fails=("test_a_canary_gets_a_quarter_and_a_live_strategy_all_of_both_caps",),
    ),
    judged(
        name="half size is forgotten",
        file=GRANTS,
        old="        share = full * HALF if gate.half_size else full\n",
        new="        share = full\n",
        tests=(GRANT_TESTS,),
        fails=("test_half_size_halves_what_the_state_grants",),
    ),
    judged(
        name="trades from before the canary count as its closes",
        file=STATES,
        old="GateState.CANARY or event.opened_at_ms < gate.canary_at_ms:\n",
        new="GateState.CANARY:\n",
        tests=(GRANT_TESTS,),
        fails=("test_only_trades_that_a_canary_opened_are_kept_with_their_newest_r",),
    ),
    judged(
        name="a signal without a grant is planned",
        file="kamou/actors/entries.py",
        old="        if self._gate.find_grant(candidate.strategy, executor.book) is None:\n",
        new="        if False:\n",
        tests=(ENTRY_TESTS,),
        fails=("test_signals_of_a_strategy_without_a_grant_are_denied_before_any_plan",),
    ),
    judged(
        name="the governor commits a change twice",
        file="kamou/actors/risk_governor.py",
        old="find(change.strategy).is_followed_by(change):\n",
        new="find(change.strategy):\n",
        tests=(ACTOR_TESTS,),
        fails=("test_the_governor_drops_a_change_that_another_one_came_before",),
    ),
    judged(
        name="a proposal that is lost is not made again",
        file="kamou/actors/gate.py",
        old="""        self._governor.put_nowait(ChangeGate(cause_id=strategy, change=change))
""",
        new="""        self._governor.put_nowait(ChangeGate(cause_id=strategy, change=change))
        self._seen[strategy] = key
""",
        tests=(ACTOR_TESTS,),
        fails=("test_a_proposal_that_nobody_committed_is_made_again",),
    ),
)
