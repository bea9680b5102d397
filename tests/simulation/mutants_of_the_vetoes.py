"""Defects in the regimes and the later vetoes. Simulations have no regimes: tests judge these."""

from __future__ import annotations

from functools import partial

from tests.simulation.mutants import Mutant

REGIME = "kamou/core/indicators/regime.py"
FINDINGS = "kamou/core/record/record_findings.py"
FUNDING = "kamou/core/vetoes/funding_window.py"
ACTOR = "kamou/actors/veto.py"
OF_REGIMES = ("tests/core/indicators/test_regime.py",)
OF_MARKETS = ("tests/core/vetoes/test_market_vetoes.py",)
OF_RECORDS = ("tests/core/record/test_record_findings.py",)
OF_INPUTS = ("tests/actors/test_veto_inputs.py",)
BY_DEFINITION = "test_the_label_is_that_of_the_definition_at_every_bar"
defect = partial(Mutant, faults="", seeds=1)

VETOES = (
    defect(
        name="a shock waits for its confirmation",
        file=REGIME,
        old="        self._volatility.show(shown, shown == SHOCK)\n",
        new="        self._volatility.show(shown, shown == UNKNOWN)\n",
        tests=OF_REGIMES,
        fails=("test_a_shock_counts_at_the_bar_that_shows_it", BY_DEFINITION),
    ),
    defect(
        name="the day of a bar is compared with itself",
        file=REGIME,
        old="""        percentile, days = self._compare_with_past(moves)
        shown = self._find_volatility(percentile)
        self._volatility.show(shown, shown == SHOCK)
        if close_ms % DAY_MS == 0:
            self._days[(close_ms // DAY_MS - 1) % len(self._days)] = moves
""",
        new="""        if close_ms % DAY_MS == 0:
            self._days[(close_ms // DAY_MS - 1) % len(self._days)] = moves
        percentile, days = self._compare_with_past(moves)
        shown = self._find_volatility(percentile)
        self._volatility.show(shown, shown == SHOCK)
""",
        tests=OF_REGIMES,
        fails=(BY_DEFINITION,),
    ),
    defect(
        name="days that a gap skipped keep the moves of 90 days before",
        file=REGIME,
        old="            self._days[day % len(self._days)] = np.nan\n",
        new="            pass\n",
        tests=OF_REGIMES,
        fails=(BY_DEFINITION,),
    ),
    defect(
        name="a regime changes at the first bar that shows it",
        file=REGIME,
        old="        confirmed = (self._streak >= self._terms.confirm_bars) & old_enough\n",
        new="        confirmed = old_enough\n",
        tests=OF_REGIMES,
        fails=(BY_DEFINITION,),
    ),
    defect(
        name="an unknown regime is allowed",
        file="kamou/core/vetoes/regime.py",
        old="    if regime is None or regime.trend is None or regime.volatility in (None,"
        " Volatility.SHOCK):\n",
        new="    if regime is None or regime.trend is None:\n        return True\n"
        "    if regime.volatility in (None, Volatility.SHOCK):\n",
        tests=OF_MARKETS,
        fails=("test_an_unknown_regime_of_the_symbol_or_of_bitcoin_stops_every_strategy",),
    ),
    defect(
        name="a shock of Bitcoin stops only strategies with labels of Bitcoin",
        file="kamou/core/vetoes/regime.py",
        old="    if context.bitcoin or any(",
        new="    if any(",
        tests=OF_MARKETS,
        fails=("test_a_strategy_enters_in_the_regimes_of_the_designs_table_alone",),
    ),
    defect(
        name="a short is vetoed for the funding that it would receive",
        file=FUNDING,
        old="        cost_bps = rate * candidate.side.sign * BPS_PER_UNIT\n",
        new="        cost_bps = abs(rate) * BPS_PER_UNIT\n",
        tests=OF_MARKETS,
        fails=("test_no_entry_pays_more_than_5_bps_of_funding_within_15_minutes",),
    ),
    defect(
        name="after a missed settlement no later one is near",
        file=FUNDING,
        old="    left_ms = interval_ms - (context.now_ms - known_ms) % interval_ms\n",
        new="    left_ms = interval_ms - (context.now_ms - known_ms)\n",
        tests=OF_MARKETS,
        fails=(
            "test_no_entry_pays_more_than_5_bps_of_funding_within_15_minutes",
            "test_without_a_rate_both_sides_are_assumed_to_pay_at_multiples_of_the_interval",
        ),
    ),
    defect(
        name="a fast move of Bitcoin pauses Bitcoin alone",
        file="kamou/core/vetoes/velocity.py",
        old="    for symbol in (candidate.symbol, context.bitcoin):\n",
        new="    for symbol in (candidate.symbol,):\n",
        tests=OF_MARKETS,
        fails=("test_a_move_of_the_symbol_or_of_bitcoin_above_both_limits_pauses_entries",),
    ),
    defect(
        name="a long needs depth at the bid",
        file="kamou/core/vetoes/depth.py",
        old="    buys = candidate.side is Side.LONG\n",
        new="    buys = candidate.side is Side.SHORT\n",
        tests=OF_MARKETS,
        fails=("test_an_entry_needs_500_usdt_at_the_price_that_it_takes",),
    ),
    defect(
        name="minute bars that cannot be read count as no move",
        file="kamou/actors/veto_inputs.py",
        old="        except (UnreachableError, RateLimitedError):\n            return None\n",
        new="        except (UnreachableError, RateLimitedError):\n            return seen\n",
        tests=OF_INPUTS,
        fails=("test_minute_bars_that_cannot_be_read_leave_the_moves_unknown",),
    ),
    defect(
        name="a candidate with a losing record is entered for real",
        file=ACTOR,
        old="                shadow_only.append(candidate)\n",
        new="                cleared.append(candidate)\n",
        tests=OF_INPUTS,
        fails=("test_a_candidate_that_only_its_record_vetoes_goes_on_for_the_shadow_record_alone",),
    ),
    defect(
        name="one veto of the record is enough to pass for the shadow record",
        file=ACTOR,
        old="            if SHADOW_ONLY.issuperset(each.code for each in denials):\n",
        new="            if not SHADOW_ONLY.isdisjoint(each.code for each in denials):\n",
        tests=OF_INPUTS,
        fails=("test_a_candidate_that_only_its_record_vetoes_goes_on_for_the_shadow_record_alone",),
    ),
    defect(
        name="fast closes count before an open trade of an earlier block",
        file=FINDINGS,
        old="    return now_ms if open_since_ms is None else min(now_ms, open_since_ms)\n",
        new="    return now_ms\n",
        tests=OF_RECORDS,
        fails=("test_a_block_counts_once_its_day_is_over_and_no_earlier_trade_is_open",),
    ),
    defect(
        name="the win rate is judged by Wilson's bound alone after every block",
        file=FINDINGS,
        old="        return self.e_value(1 / (1 + reward_to_risk)) * WIN_RATE_ALPHA >= 1\n",
        new="        return True\n",
        tests=OF_RECORDS,
        fails=(
            "test_a_strategy_that_breaks_even_is_rarely_vetoed_however_often_one_looks",
            "test_the_win_rate_is_too_low_if_both_wilson_and_the_bets_on_blocks_say_so",
        ),
    ),
    defect(
        name="hours and symbols are looked at after every block",
        file=FINDINGS,
        old="        if trades >= wanted:\n",
        new="        if trades >= FIRST_LOOK_TRADES:\n",
        tests=OF_RECORDS,
        fails=("test_before_100_trades_no_cell_is_looked_at_and_between_looks_findings_stay",),
    ),
)
