"""Views of the venue, and reconciliations of a story with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.model import OrderRole
from kamou.core.reconciliation.reconciliation import (
    ReconcileInputs,
    Reconciliation,
    VenueView,
    reconcile,
)
from kamou.core.risk.limits import TradingParameters
from tests.core.trading_cases import (
    NOON,
    Story,
    account,
    intent,
    plan,
    venue_order,
    venue_position,
)

PLAN = plan()
NEXT_MS = NOON + 300_000
INPUTS = ReconcileInputs(parameters=TradingParameters())


def look(**changes: Any) -> VenueView:
    seen: dict[str, Any] = {
        "account": account(at_ms=NEXT_MS),
        "positions": (),
        "open_orders": (),
        "fills": (),
        "income": (),
        "at_ms": NEXT_MS,
    }
    return VenueView(**(seen | changes))


def run(
    story: Story, view: VenueView, inputs: ReconcileInputs = INPUTS, **more: Any
) -> Reconciliation:
    """Reconcile and commit the events; a second pass must find no events."""
    times = {"cycle_at_ms": NEXT_MS, "now_ms": NEXT_MS} | more
    found = reconcile(story.book, view, inputs, **times)
    story.say(*found.events)
    again = reconcile(story.book, view, inputs, **times)
    assert again.events == ()
    return found


SURE_MS = INPUTS.settings.pending_mismatch_ms


def run_after_wait(
    story: Story, view: VenueView, inputs: ReconcileInputs = INPUTS, **more: Any
) -> Reconciliation:
    """Reconcile as ``run`` now, and again after the waiting time of a mismatch."""
    pending = run(story, view, inputs, **more)
    later = {"now_ms": NEXT_MS + SURE_MS, "cycle_at_ms": NEXT_MS + 1}
    return run(
        story, view, attrs.evolve(inputs, pending_mismatches=pending.pending_mismatches), **later
    )


def kinds(events: Sequence[e.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


STOP = intent(OrderRole.STOP_LOSS, PLAN)
HELD = (venue_position("SOLUSDT", "100"),)
RESTING = (venue_order(STOP),)
