"""Events of a strategy that the governor disables and the operator resumes."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class StrategyDisabled(Event):
    """A strategy entered more often than its limits allow; its entries are denied from now on."""

    strategy: str
    code: str  # of the limit: RATE_ENTRIES_EXCEEDED or RATE_REENTRIES_EXCEEDED
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class StrategyResumed(Event):
    """The operator resumed a strategy. Entries before this event no longer count against it."""

    strategy: str
    note: str = ""  # the operator's note
