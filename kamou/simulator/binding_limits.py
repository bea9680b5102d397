"""Names of the limits that decided sizes and denials, for the coverage of a swarm."""

from __future__ import annotations

from collections.abc import Iterator

from kamou.core.book import events as e
from kamou.core.codes import Deny
from kamou.core.model import Plan

NOT_RISK = ("exposure", "quantity_max", "value_max")
"""The names in ``bound_by`` that are not limits on risk."""

BOUND = {
    Deny.RISK_PER_TRADE_EXCEEDED: "risk",
    Deny.EXPOSURE_SYMBOL_EXCEEDED: "exposure",
    Deny.RISK_OPEN_EXCEEDED: "open_risk",
    Deny.RISK_DAY_BUDGET_EXCEEDED: "day_budget",
    Deny.RISK_CLUSTER_EXCEEDED: "cluster",
    Deny.RISK_SHOCK_EXCEEDED: "shock",
    Deny.CAPITAL_NOTIONAL_EXCEEDED: "notional_total",
    Deny.CAPITAL_MARGIN_EXCEEDED: "margin_total",
    Deny.RATE_ENTRIES_EXCEEDED: "entries_hour",
    Deny.RATE_REENTRIES_EXCEEDED: "entries_day",
}

SIZED = (Deny.RISK_HEADROOM_EXHAUSTED, Deny.QUANTITY_BELOW_MINIMUM)


def binding_limits(event: e.Event) -> Iterator[str]:
    """Yield the limits that decided the size of a permit, or a denial."""
    if isinstance(event, e.PermitGranted):
        yield event.plan.bound_by
    elif isinstance(event, e.PermitDenied):
        for denial in event.denials:
            figures = {figure.name: figure.value for figure in denial.figures}
            if denial.code in SIZED and "bound_by" in figures:
                yield figures["bound_by"]
            elif denial.code in BOUND:
                yield BOUND[Deny(denial.code)]


def is_bound_by_risk(plan: Plan) -> bool:
    """Return True if a risk limit decided the size of a plan."""
    return plan.bound_by not in NOT_RISK
