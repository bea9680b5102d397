"""The type of a risk rule: a function of one review that returns a denial or None."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import wraps

from kamou.core.model import Denial
from kamou.core.risk.context import ReviewContext

Rule = Callable[[ReviewContext], Denial | None]


def numeric(rule: Rule) -> Rule:
    """Return the rule, skipped for invalid numbers; ``data_valid`` denies the plan then."""

    @wraps(rule)
    def checked(c: ReviewContext) -> Denial | None:
        return rule(c) if c.valid else None

    return checked


def format_percent(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole * 100:.2f}%"
