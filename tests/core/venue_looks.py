"""Looks at the venue, and a reconciliation of a told story with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from trading_cases import (
    INSTRUMENTS,
    NOON,
    Story,
    account,
    intent,
    plan,
    venue_order,
    venue_position,
)

from kamou.core.book import events as e
from kamou.core.model import OrderRole
from kamou.core.reconciliation.reconciliation import Reconciliation, Terms, VenueView, reconcile
from kamou.core.risk.limits import CostModel, RiskLimits

PLAN = plan()
NEXT_MS = NOON + 300_000
TERMS = Terms(instruments=INSTRUMENTS, limits=RiskLimits(), costs=CostModel())


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


def run(story: Story, view: VenueView, terms: Terms = TERMS, **more: Any) -> Reconciliation:
    """Reconcile and commit what follows; a second pass must find nothing to do."""
    times = {"cycle_at_ms": NEXT_MS, "now_ms": NEXT_MS} | more
    found = reconcile(story.book, view, terms, **times)
    story.say(*found.events)
    again = reconcile(story.book, view, terms, **times)
    assert again.events == ()
    return found


SURE_MS = TERMS.settings.pending_mismatch_ms


def run_sure(story: Story, view: VenueView, terms: Terms = TERMS, **more: Any) -> Reconciliation:
    """As ``run``, when every look of the last while has said the same."""
    doubted = run(story, view, terms, **more)
    later = {"now_ms": NEXT_MS + SURE_MS, "cycle_at_ms": NEXT_MS + 1}
    return run(story, view, attrs.evolve(terms, doubts=doubted.doubts), **later)


def kinds(events: Sequence[e.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


STOP = intent(OrderRole.STOP_LOSS, PLAN)
HELD = (venue_position("SOLUSDT", "100"),)
RESTING = (venue_order(STOP),)
