"""What a run says of its own time: journalled for the reader, and folded into nothing."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class HistoryCaughtUp(Event):
    """Simulated time has reached real time; from ``since_ms`` until now it was being made.

    Both are real time. What passed meanwhile is no downtime: nothing was to be traded yet.
    """

    since_ms: int


@attrs.frozen(kw_only=True)
class ReplayStarted(Event):
    """This run trades a market that was recorded, from ``first_ms`` to ``last_ms``."""

    first_ms: int
    last_ms: int


@attrs.frozen(kw_only=True)
class ReplayEnded(Event):
    """The recorded market has been traded to its end: nothing follows."""
