"""Events of contract specifications."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure, Instrument


@attrs.frozen(kw_only=True)
class InstrumentChanged(Event):
    """Change of a contract specification, or a new one, in the venue's list.

    All actors use the specification from this event on.
    """

    instrument: Instrument
    figures: tuple[Figure, ...]  # changed fields, each ``old -> new``; empty for a new symbol
