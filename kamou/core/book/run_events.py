"""Events of simulated and replayed time, stored for readers; they change no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class HistoryCaughtUp(Event):
    """Simulated time has reached real time. The simulation took from ``since_ms`` until now.

    Both are real time. The period is no downtime, because nothing had to be traded in it.
    """

    since_ms: int


@attrs.frozen(kw_only=True)
class HistoryStopped(Event):
    """The operator stopped a run while it simulated history; the next run continues there.

    The simulation ran from ``since_ms`` to ``until_ms`` of real time.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class HistoryCutShort(Event):
    """The halt latch ended the simulated history; the run goes on in real time.

    The rest of the simulated time up to ``until_ms`` is skipped: prices move and nothing trades.
    ``since_ms`` is real time, as in ``HistoryCaughtUp``.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ReplayStarted(Event):
    """This run replays a dataset from ``first_ms`` to ``last_ms``."""

    first_ms: int
    last_ms: int


@attrs.frozen(kw_only=True)
class ReplayEnded(Event):
    """The replay reached the end of its dataset."""
