"""What the operator said: journalled for the reader, and folded into nothing."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class CommandRecorded(Event):
    """A command of the operator that left the trading state as it was: its reason, or a refusal.

    The reason of a command that changes the state stands in its ``StateChanged``.
    """

    reason: str  # a StateReason: what was asked
    note: str  # the operator's words
    refusal: str = ""  # why the governor did not resume; empty: nothing was refused
