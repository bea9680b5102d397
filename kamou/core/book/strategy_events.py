"""Events of strategies that the governor disables and the operator resumes."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.codes import Deny
from kamou.core.model import Figure


@attrs.frozen(kw_only=True)
class StrategyDisabled(Event):
    """Disabling of a strategy that entered more often than a limit allows.

    The governor denies the strategy's entries until ``StrategyResumed``.
    """

    strategy: str
    code: Deny  # RATE_ENTRIES_EXCEEDED or RATE_REENTRIES_EXCEEDED
    figures: tuple[Figure, ...]


@attrs.frozen(kw_only=True)
class StrategyResumed(Event):
    """Resume of a disabled strategy by the operator.

    Entries before it do not disable the strategy again. The rules of entry rates still count them.
    """

    strategy: str
    note: str = ""  # the operator's note
