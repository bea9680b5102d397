"""Hard rules, which a correct run never breaks, and their violations.

``docs/reliability.md`` says what each rule means and which invariant it belongs to.
"""

from __future__ import annotations

from enum import StrEnum

import attrs


class HardRule(StrEnum):
    """The rules of the venue's checkers and of the simulator's invariants.

    A number in a comment is the number of the invariant of this rule and of those after it.
    """

    UNPERMITTED = "UNPERMITTED"  # 1
    PERMIT_TWICE = "PERMIT_TWICE"
    PERMIT_LONG = "PERMIT_LONG"
    RELEASED = "RELEASED"
    UNJOURNALLED = "UNJOURNALLED"  # 2
    NOT_AS_INTENDED = "NOT_AS_INTENDED"
    DUPLICATE_ID = "DUPLICATE_ID"
    ENTERED_TWICE = "ENTERED_TWICE"
    WRITTEN_OFF = "WRITTEN_OFF"
    RESURRECTED = "RESURRECTED"
    UNPROTECTED = "UNPROTECTED"  # 3
    RISK = "RISK"  # 4
    RISK_PROMISED = "RISK_PROMISED"
    EXPOSURE = "EXPOSURE"
    OPEN_RISK = "OPEN_RISK"
    CLUSTER = "CLUSTER"
    NOTIONAL = "NOTIONAL"
    ADMISSION = "ADMISSION"
    SHOCK = "SHOCK"
    MARGIN = "MARGIN"
    ENTRIES_HOUR = "ENTRIES_HOUR"
    ENTRIES_DAY = "ENTRIES_DAY"
    STALE_QUOTE = "STALE_QUOTE"
    BAD_QUOTE = "BAD_QUOTE"
    SKEWED = "SKEWED"
    HELD = "HELD"
    DRIFTING = "DRIFTING"
    OVERSIZED = "OVERSIZED"  # 5
    NOT_REDUCING = "NOT_REDUCING"
    REDUCE_INCREASED = "REDUCE_INCREASED"
    ADDED = "ADDED"
    UNSETTLED = "UNSETTLED"  # 6 and 7
    EQUITY = "EQUITY"  # 7
    LOST = "LOST"  # 8
    HALTED = "HALTED"  # 10
    DISOBEYED = "DISOBEYED"
    NOT_FLAT = "NOT_FLAT"
    RESUMED = "RESUMED"
    DAY_LOSS = "DAY_LOSS"
    FALSE_ALARM = "FALSE_ALARM"
    CRASH = "CRASH"  # 11
    ESCAPED = "ESCAPED"
    STUCK = "STUCK"
    SITE = "SITE"  # 13
    VERDICT = "VERDICT"  # 14
    BUDGET = "BUDGET"
    UNEARNED = "UNEARNED"  # 15
    TRANSITION = "TRANSITION"
    OVERDUE = "OVERDUE"
    RESTING = "RESTING"
    ORDER_FLOW = "ORDER_FLOW"  # 16


@attrs.frozen(kw_only=True)
class Violation:
    """One broken rule, with its figures as text."""

    rule: HardRule
    at_ms: int
    symbol: str  # empty: the whole account
    detail: str
