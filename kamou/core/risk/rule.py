"""What a rule is: a function of one review, with a denial or nothing as its answer."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import wraps

from kamou.core.model import Denial
from kamou.core.risk.context import ReviewContext

Rule = Callable[[ReviewContext], Denial | None]


def numeric(rule: Rule) -> Rule:
    """A rule that needs sound numbers: on unsound ones it has no opinion.

    ``data_valid`` has an opinion then, so nothing passes for want of one.
    """

    @wraps(rule)
    def asked(c: ReviewContext) -> Denial | None:
        return rule(c) if c.valid else None

    return asked


def format_percent(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole * 100:.2f}%"
