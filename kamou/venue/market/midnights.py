"""The generated market's states at midnight: the latest used in memory, every tenth kept for ever.

From the nearest state at or before a day the recursion runs forward to it. What is kept may be
lost, damaged or of other code: then the recursion starts further back and gives the same market.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from kamou.venue.market.generated_day import MarketState

STATES_HELD = 64  # days: more than the 35 that a scanner looks back and a checkpoint's ten
CHECKPOINT_DAYS = 10  # a restart runs at most so many days; one costs 10 to 90 ms


class StateKeeper(Protocol):
    """Where the states of every ``CHECKPOINT_DAYS``-th midnight are kept."""

    def newest(self, day: int) -> tuple[int, MarketState] | None:
        """The newest kept state at or before ``day`` that verifies, with its day."""
        ...

    def keep(self, day: int, state: MarketState) -> None:
        """Keep a state. Never blocks; called in the thread that computed it."""
        ...


class KeptInMemory:
    """For a market without a file: a backtest's, a test's."""

    def __init__(self) -> None:
        self._states: dict[int, MarketState] = {}

    def newest(self, day: int) -> tuple[int, MarketState] | None:
        known = max((each for each in list(self._states) if each <= day), default=None)
        return None if known is None else (known, self._states[known])

    def keep(self, day: int, state: MarketState) -> None:
        self._states[day] = state


class Midnights:
    """States by day, counted from the origin's midnight. The first is always there."""

    def __init__(self, first: MarketState) -> None:
        self._first = first
        self._held: OrderedDict[int, MarketState] = OrderedDict()  # least recently used first
        self._keeper: StateKeeper = KeptInMemory()

    def keep_in(self, keeper: StateKeeper) -> None:
        """Keep states there from now on, and look for them there."""
        self._keeper = keeper

    def copy(self) -> Midnights:
        """The same states for use in one other thread; the keeper is shared."""
        other = Midnights(self._first)
        other._keeper = self._keeper
        other._held = self._held.copy()
        return other

    def adopt(self, other: Midnights) -> None:
        """Take over the states that a copy has computed since."""
        for day, state in other._held.items():
            if day not in self._held:
                self._hold(day, state)

    def nearest(self, day: int) -> tuple[int, MarketState]:
        """The newest known state at or before ``day``, with its day."""
        held = max((each for each in self._held if each <= day), default=None)
        if held is not None and day - held < CHECKPOINT_DAYS:
            self._held.move_to_end(held)
            return held, self._held[held]
        at, state = (0, self._first) if held is None else (held, self._held[held])
        kept = self._keeper.newest(day) if day - at >= CHECKPOINT_DAYS else None
        return kept if kept is not None and kept[0] > at else (at, state)

    def put(self, day: int, state: MarketState) -> None:
        """The state at this midnight was computed."""
        if day % CHECKPOINT_DAYS == 0:
            self._keeper.keep(day, state)
        self._hold(day, state)

    def _hold(self, day: int, state: MarketState) -> None:
        self._held[day] = state
        self._held.move_to_end(day)
        if len(self._held) > STATES_HELD:
            self._held.popitem(last=False)
