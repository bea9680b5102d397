"""Reviews of entries and of reducing orders by the risk governor.

Only this module makes an ``Approved``. It also exports ``ReviewContext``, ``size_factor``, and the
functions of ``core/risk/states.py`` that decide the trading state, with their inputs and results.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.book.events import PermitDenied, PermitGranted
from kamou.core.book.orders import OrderState, is_awaited
from kamou.core.codes import Deny
from kamou.core.model import (
    ZERO,
    Denial,
    Figure,
    Intent,
    OrderRole,
    Side,
)
from kamou.core.risk.context import ReviewContext, size_factor
from kamou.core.risk.denials import deny_plan, make_denial
from kamou.core.risk.rule import format_percent
from kamou.core.risk.rules import RULES
from kamou.core.risk.states import (
    Decision,
    EquityRead,
    EquityReads,
    Pending,
    decide_command,
    decide_resume,
    next_state,
)
from kamou.core.risk.verdict import _MINT, Approved, Denied, Verdict

__all__ = [
    "Decision",
    "EquityRead",
    "EquityReads",
    "Pending",
    "ReviewContext",
    "decide_command",
    "next_state",
    "decide_resume",
    "review_entry",
    "review_reduction",
    "size_factor",
]


def review_entry(context: ReviewContext) -> tuple[Verdict, PermitGranted | PermitDenied]:
    """Return the verdict of all rules on a plan, and the event that records it.

    Commit the event before an approval is used. The permit expires with the plan or after
    ``permit_ttl_s``, whichever is first.
    """
    plan, now_ms = context.plan, context.now_ms
    denials = tuple(d for rule in RULES if (d := rule(context)) is not None)
    if denials:
        verdict = Denied(permit_id=plan.permit_id, denials=denials)
        return verdict, deny_plan(plan, denials, now_ms)
    expires_at_ms = min(plan.expires_at_ms, now_ms + context.limits.permit_ttl_s * 1000)
    approved = Approved(
        mint=_MINT, plan=plan, snapshot_seq=context.book.seq, expires_at_ms=expires_at_ms
    )
    return approved, PermitGranted(
        at_ms=now_ms,
        cause_id=plan.signal_id,
        permit_id=plan.permit_id,
        # The reservation uses the governor's own figures, which are at least the plan's.
        plan=attrs.evolve(plan, risk=context.risk, notional=context.notional),
        figures=_figures(context),
        expires_at_ms=expires_at_ms,
    )


def review_reduction(
    intent: Intent, position: Decimal, open_orders: Iterable[OrderState] = (), *, now_ms: int = 0
) -> Denial | None:
    """Return the denial of an order that would add or reverse exposure, or None.

    Args:
        position: contracts open now, signed.
        open_orders: unsettled orders of the symbol. Exit orders among them count together with an
            exit order under review. Those of unknown outcome and those whose answer is overdue at
            ``now_ms`` do not count: they may never have reached the venue, and all are
            reduce-only.
    """
    if intent.role is OrderRole.ENTRY or not intent.reduce_only:
        why = "the order is an entry or not reduce-only"
    elif position == 0:
        why = "no position is open"
    elif intent.side is not Side.of(position).closing:
        why = "the order is on the side that would add to the position"
    else:
        closing = ZERO
        if intent.role is OrderRole.EXIT:
            closing = sum(
                (
                    o.remaining
                    for o in open_orders
                    if o.role is OrderRole.EXIT
                    and o.intent.symbol == intent.symbol
                    and o.intent.side is intent.side
                    and is_awaited(o, now_ms)
                    and o.client_order_id != intent.client_order_id
                ),
                ZERO,
            )
        if closing + intent.quantity <= abs(position):
            return None
        why = f"the order is larger than the position less {closing} contracts of other exits"
    return make_denial(
        Deny.EXIT_INCREASES_EXPOSURE,
        why=why,
        role=intent.role,
        side=intent.side,
        quantity=intent.quantity,
        position=position,
    )


def _figures(c: ReviewContext) -> tuple[Figure, ...]:
    """Return the figures of an approval, which the journal keeps."""
    exposure = c.exposure
    shown = {
        "sizing_equity": f"{c.sizing_equity:.2f}",
        "risk": format_percent(c.risk, c.sizing_equity),
        "gap_buffer": str(c.gap_buffer),
        "exposure": format_percent(c.notional, c.sizing_equity),
        "bound_by": str(c.plan.bound_by),
        "open_risk": format_percent(exposure.open_risk, c.sizing_equity),
        "day_lost": format_percent(c.day_loss, c.book.day.equity),
        "notional_total": format_percent(exposure.notional_total + c.notional, c.sizing_equity),
    }
    return tuple(Figure(name=name, value=value) for name, value in shown.items())
