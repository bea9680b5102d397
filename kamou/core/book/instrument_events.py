"""Events of contract specifications."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event
from kamou.core.model import Figure, Instrument


@attrs.frozen(kw_only=True)
class InstrumentChanged(Event):
    """A contract specification that the venue lists and the book does not have.

    All actors use it from this event on.
    """

    instrument: Instrument
    figures: tuple[Figure, ...]  # each ``old -> new``; empty for an instrument of a new symbol
