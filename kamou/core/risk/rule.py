"""Type of a risk rule, and helpers that rules share.

A rule is a function of one review that returns a denial or None.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import wraps

from kamou.core.model import Denial
from kamou.core.risk.context import ReviewContext

Rule = Callable[[ReviewContext], Denial | None]


def skip_invalid(rule: Rule) -> Rule:
    """Return the rule with a check: it returns None if inputs are invalid.

    In that case the rule ``data_valid`` denies the plan.
    """

    @wraps(rule)
    def checked(c: ReviewContext) -> Denial | None:
        return rule(c) if c.valid else None

    return checked


def format_percent(part: Decimal, whole: Decimal) -> str:
    """Return ``part / whole`` in per cent with two decimals, such as ``1.25%``."""
    return f"{part / whole * 100:.2f}%"
