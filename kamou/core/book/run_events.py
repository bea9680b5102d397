"""Events of simulated history and of replays. They change no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class HistoryCaughtUp(Event):
    """End of simulated history: the simulated time reached real time.

    History was simulated from ``since_ms`` until this event, both in real time. That period is not
    downtime, because nothing had to be traded in it.
    """

    since_ms: int


@attrs.frozen(kw_only=True)
class HistoryStopped(Event):
    """Stop of a run by the operator while it simulated history.

    The next run continues at the simulated time of the stop. History was simulated from
    ``since_ms`` to ``until_ms``, both in real time.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class HistoryCutShort(Event):
    """End of simulated history by the halt latch; the run continues in real time.

    The rest of the simulated time up to ``until_ms`` is skipped: prices move, and Kamou does not
    trade. History was simulated from ``since_ms``, in real time.
    """

    since_ms: int
    until_ms: int


@attrs.frozen(kw_only=True)
class ReplayStarted(Event):
    """Start of the replay of a dataset, from ``first_ms`` to ``last_ms`` of its time."""

    first_ms: int
    last_ms: int


@attrs.frozen(kw_only=True)
class ReplayEnded(Event):
    """End of a replay at the end of its dataset."""
