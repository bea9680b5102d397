"""List of the governor's rules.

A rule reads a ``ReviewContext`` and returns a ``Denial`` with its figures, or None. It does not
depend on other rules. To add one, write a function, add its code to ``core/codes.py`` and the
function to ``RULES``.
"""

from __future__ import annotations

from kamou.core.risk import rules_inputs as inputs
from kamou.core.risk import rules_plan as plan
from kamou.core.risk import rules_portfolio as portfolio
from kamou.core.risk import rules_rate as rate
from kamou.core.risk.rule import Rule

RULES: tuple[Rule, ...] = (
    inputs.data_valid,
    inputs.data_fresh,
    inputs.account_fresh,
    inputs.marks_fresh,
    inputs.clocks_agree,
    inputs.reconciled,
    plan.unexpired,
    plan.stop_present,
    plan.stop_side,
    plan.stop_within_liquidation,
    plan.mark_present,
    plan.price_collar,
    plan.leverage,
    plan.size_minimum,
    plan.size_step,
    plan.size_maximum,
    plan.value_maximum,
    portfolio.risk_per_trade,
    portfolio.exposure_per_symbol,
    portfolio.open_risk,
    portfolio.daily_budget,
    portfolio.cluster,
    portfolio.shock,
    portfolio.notional_total,
    portfolio.margin_total,
    rate.state_allows_entries,
    rate.duplicate,
    rate.symbol_held,
    rate.restricted,
    rate.strategy_live,
    rate.strategy_enabled,
    rate.entries_per_hour,
    rate.reentries_per_day,
    rate.messages,
    rate.cooldown,
)
"""All rules, in the order in which the governor applies them. A verdict has all denials."""
