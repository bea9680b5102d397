"""Event of an operator's command. People read it; it changes no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.codes import StateReason


@attrs.frozen(kw_only=True)
class CommandRecorded(Event):
    """Command of the operator that left the trading state and its reason unchanged.

    It is stored if it has a note or a refusal. A command that changes the state or its reason is
    stored as ``StateChanged`` instead.
    """

    reason: StateReason  # the command
    note: str  # the operator's note
    refusal: str = ""  # why the governor did not resume; empty: no refusal
