"""The limits that decided sizes and denials, for the coverage of a swarm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from kamou.core.book import events as e
from kamou.core.book.candidate_events import EntriesDenied
from kamou.core.codes import Deny
from kamou.core.kinds import SizeLimit
from kamou.core.model import Denial, Plan


class EntryCount(StrEnum):
    """The kinds of limits on the number of entries: per hour and per day."""

    HOUR = "entries_hour"
    DAY = "entries_day"


NOT_RISK = (SizeLimit.EXPOSURE, SizeLimit.QUANTITY_MAX, SizeLimit.VALUE_MAX)
"""The limits of a size that are not limits on risk."""

# The limit behind each denial code.
BOUND: Mapping[Deny, SizeLimit | EntryCount] = {
    Deny.RISK_PER_TRADE_EXCEEDED: SizeLimit.RISK,
    Deny.EXPOSURE_SYMBOL_EXCEEDED: SizeLimit.EXPOSURE,
    Deny.RISK_OPEN_EXCEEDED: SizeLimit.OPEN_RISK,
    Deny.RISK_DAY_BUDGET_EXCEEDED: SizeLimit.DAY_BUDGET,
    Deny.RISK_CLUSTER_EXCEEDED: SizeLimit.CLUSTER,
    Deny.RISK_SHOCK_EXCEEDED: SizeLimit.SHOCK,
    Deny.CAPITAL_NOTIONAL_EXCEEDED: SizeLimit.NOTIONAL_TOTAL,
    Deny.CAPITAL_MARGIN_EXCEEDED: SizeLimit.MARGIN_TOTAL,
    Deny.RATE_ENTRIES_EXCEEDED: EntryCount.HOUR,
    Deny.RATE_REENTRIES_EXCEEDED: EntryCount.DAY,
}

# Denials of a size, whose figure ``bound_by`` names the limit.
SIZED = (Deny.RISK_HEADROOM_EXHAUSTED, Deny.QUANTITY_BELOW_MINIMUM)


def binding_limits(event: e.Event) -> Iterator[SizeLimit | EntryCount]:
    """Yield the limits that decided the size of a permit, or the denials of the event.

    A denial for a reason that is no such limit yields nothing.
    """
    if isinstance(event, e.PermitGranted):
        yield event.plan.bound_by
    elif isinstance(event, e.PermitDenied):
        yield from _limits_of(event.denials)
    elif isinstance(event, EntriesDenied):
        for entry in event.entries:
            yield from _limits_of(entry.denials)


def _limits_of(denials: Iterable[Denial]) -> Iterator[SizeLimit | EntryCount]:
    for denial in denials:
        figures = {figure.name: figure.value for figure in denial.figures}
        if denial.code in SIZED and "bound_by" in figures:
            yield SizeLimit(figures["bound_by"])
        elif denial.code in BOUND:
            yield BOUND[Deny(denial.code)]


def is_bound_by_risk(plan: Plan) -> bool:
    """Return True if a risk limit decided the size of a plan."""
    return plan.bound_by not in NOT_RISK
