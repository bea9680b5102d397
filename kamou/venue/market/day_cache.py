"""A cache of a generated market's values by UTC day."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

DAYS_HELD = 4  # days of bars: tomorrow, today, yesterday for the ATR, and one for other reads
V = TypeVar("V")


def get_cached(cache: OrderedDict[int, V], day: int, run: Callable[[], V]) -> V:
    """Return the day's value, cached or from ``run``; cache up to ``DAYS_HELD`` days."""
    value = cache.get(day)
    if value is None:
        value = cache[day] = run()
        if len(cache) > DAYS_HELD:
            cache.popitem(last=False)  # the least recently used day
    else:
        cache.move_to_end(day)
    return value
