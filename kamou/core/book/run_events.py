"""Events of simulated history and of replays. They change no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class HistoryCaughtUp(Event):
    """Simulated time has reached real time.

    The simulation ran from ``since_ms`` until this event, both real time. That period is not
    downtime, because nothing had to be traded in it.
    """

    since_ms: int


@attrs.frozen(kw_only=True)
class HistoryStopped(Event):
    """The operator stopped a run while it simulated history.

    The next run continues there. The simulation ran from ``since_ms`` to ``until_ms`` of real time.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class HistoryCutShort(Event):
    """The halt latch ended the simulated history, and the run continues in real time.

    The rest of the simulated time up to ``until_ms`` is skipped: prices move and Kamou does not
    trade. ``since_ms`` is real time, as in ``HistoryCaughtUp``.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ReplayStarted(Event):
    """The run began to replay a dataset from ``first_ms`` to ``last_ms``."""

    first_ms: int
    last_ms: int


@attrs.frozen(kw_only=True)
class ReplayEnded(Event):
    """The replay reached the end of its dataset."""
