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
class HistoryStopped(Event):
    """The operator stopped a run while it made history; the next run goes on with it.

    The run made history from ``since_ms`` to ``until_ms`` of real time; its own time is simulated.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class HistoryCutShort(Event):
    """The halt latch ended history, and real time begins.

    What is missing of the simulated time up to ``until_ms`` is skipped: the market moves on in it
    and nothing trades. ``since_ms`` is real time, as in ``HistoryCaughtUp``.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ReplayStarted(Event):
    """This run trades a market that was recorded, from ``first_ms`` to ``last_ms``."""

    first_ms: int
    last_ms: int


@attrs.frozen(kw_only=True)
class ReplayEnded(Event):
    """The recorded market has been traded to its end: nothing follows."""
