"""What the governor did to one strategy, and what the operator did about it."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class StrategyDisabled(Event):
    """A strategy entered more often than its limits allow: no entry of it until it is resumed."""

    strategy: str
    code: str  # of the limit: RATE_ENTRIES_EXCEEDED or RATE_REENTRIES_EXCEEDED
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class StrategyResumed(Event):
    """The operator let it enter again. Entries before this do not disable it a second time."""

    strategy: str
    note: str = ""  # the operator's words
