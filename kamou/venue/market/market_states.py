"""The generated market's states at midnight, and the keepers that store them.

``MarketStates`` has some states in memory, and a ``StateKeeper`` stores that of every
``CHECKPOINT_DAYS``-th midnight. The recursion runs forward to a day from a state at or before that
day. If a stored state is lost, damaged or made by other code, the recursion starts earlier and
gives the same market.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from kamou.venue.market.generated_day import MarketState

STATES_HELD = 64  # in memory: more than a scanner's 35 days and the 10 days to a checkpoint
CHECKPOINT_DAYS = 10  # between two stored states; from a valid one a start generates fewer days


class StateKeeper(Protocol):
    """A store of the states at every ``CHECKPOINT_DAYS``-th midnight."""

    def newest(self, day: int) -> tuple[int, MarketState] | None:
        """Return (day, state) of the newest valid state at or before ``day``.

        Return None without such a state.
        """
        ...

    def keep(self, day: int, state: MarketState) -> None:
        """Store a state without blocking, in the thread that computed the state."""
        ...


class MemoryStateKeeper:
    """A ``StateKeeper`` in memory, for backtests and tests."""

    def __init__(self) -> None:
        self._states: dict[int, MarketState] = {}

    def newest(self, day: int) -> tuple[int, MarketState] | None:
        newest = max((each for each in list(self._states) if each <= day), default=None)
        return None if newest is None else (newest, self._states[newest])

    def keep(self, day: int, state: MarketState) -> None:
        self._states[day] = state


class MarketStates:
    """States by day, counted from the origin's midnight. Day 0 is always known."""

    def __init__(
        self,
        first: MarketState,
        keeper: StateKeeper | None = None,
        held: Mapping[int, MarketState] | None = None,
    ) -> None:
        """Begin with the states ``held``, the least recently used one first."""
        self._first = first
        self._held = OrderedDict(held or {})
        self._keeper = keeper or MemoryStateKeeper()

    def use_keeper(self, keeper: StateKeeper) -> None:
        """Store states in ``keeper`` from now on, and read them from it."""
        self._keeper = keeper

    def copy(self) -> MarketStates:
        """Return the same states for use in one other thread. They share a keeper."""
        return MarketStates(self._first, self._keeper, self._held)

    def adopt(self, other: MarketStates) -> None:
        """Add the states that ``other``, a copy, has computed since it was made."""
        for day, state in other.in_memory():
            if day not in self._held:
                self._add(day, state)

    def in_memory(self) -> tuple[tuple[int, MarketState], ...]:
        """Return the states in memory with their days, the least recently used one first."""
        return tuple(self._held.items())

    def nearest(self, day: int) -> tuple[int, MarketState]:
        """Return a known state at or before ``day``, with its day.

        That is the newest one in memory if it is less than ``CHECKPOINT_DAYS`` older; otherwise the
        newest one in memory or in the keeper.
        """
        held = max((each for each in self._held if each <= day), default=None)
        if held is not None and day - held < CHECKPOINT_DAYS:
            self._held.move_to_end(held)
            return held, self._held[held]
        at, state = (0, self._first) if held is None else (held, self._held[held])
        kept = self._keeper.newest(day) if day - at >= CHECKPOINT_DAYS else None
        return kept if kept is not None and kept[0] > at else (at, state)

    def put(self, day: int, state: MarketState) -> None:
        """Add a computed state, and store it if its day is a checkpoint."""
        if day % CHECKPOINT_DAYS == 0:
            self._keeper.keep(day, state)
        self._add(day, state)

    def _add(self, day: int, state: MarketState) -> None:
        """Add a state in memory; drop the least recently used one beyond ``STATES_HELD``."""
        self._held[day] = state
        self._held.move_to_end(day)
        if len(self._held) > STATES_HELD:
            self._held.popitem(last=False)
