"""The governor's rules: the explicit list, never discovered.

A rule looks at a ``ReviewContext`` and returns a ``Denial`` with its figures, or None. It never
looks at another rule's answer. To add one: a function, a code in ``core/codes.py``, a row here.
"""

from __future__ import annotations

from kamou.core.risk import rules_inputs as inputs
from kamou.core.risk import rules_plan as plan
from kamou.core.risk import rules_portfolio as portfolio
from kamou.core.risk import rules_rate as conduct
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
    portfolio.admission,
    portfolio.cluster,
    portfolio.shock,
    portfolio.notional_total,
    portfolio.margin_total,
    conduct.state_allows_entries,
    conduct.duplicate,
    conduct.symbol_held,
    conduct.restricted,
    conduct.strategy_live,
    conduct.strategy_enabled,
    conduct.entries_per_hour,
    conduct.reentries_per_day,
    conduct.messages,
    conduct.cooldown,
)
"""Every rule, asked in this order. All are asked and every denial is kept."""
