"""Quotas of a venue as token buckets, with a lane for requests that reduce risk."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from kamou.clock import Clock
from kamou.errors import RateLimitedError

BURST_PART = 4  # the bucket holds a fourth of the quota; the rest is refilled during the window
RESERVE_PART = 5  # a fifth of the bucket is for urgent requests only
WAITING_MAX = 500  # requests in one lane
PAUSE_MS = 10_000  # after a rejection whose headers name no time
PAUSE_MS_MAX = 60_000
TOO_MANY_REQUESTS = 429
UNITS_HEADER = "Gw-Ratelimit-Remaining"
RESET_HEADER = "Gw-Ratelimit-Reset"  # ms


@attrs.define(eq=False)
class QuotaPool:
    """One quota: the sum of weights in any ``window_ms`` is at most ``quota``.

    Ordinary requests leave the reserve in the bucket, and urgent ones take it. Each lane is first
    come, first served. All figures of the bucket are exact: its level is counted in units divided
    by ``BURST_PART * window_ms``.
    """

    quota: int
    _window_ms: int
    _clock: Clock
    _level: int = attrs.field(init=False)
    _filled_at_ms: int = attrs.field(init=False)
    _paused_until_ms: int = attrs.field(init=False, default=0)
    _ordinary: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _urgent: trio.Lock = attrs.field(init=False, factory=trio.Lock)

    def __attrs_post_init__(self) -> None:
        """Start with a full bucket."""
        self._level = self._capacity
        self._filled_at_ms = self._clock.now_ms()

    @property
    def _unit(self) -> int:
        return BURST_PART * self._window_ms

    @property
    def _capacity(self) -> int:
        return self.quota * self._window_ms  # a fourth of the quota, in parts of a unit

    async def acquire(self, weight: int, *, urgent: bool) -> None:
        """Wait until a request of this weight may be sent, and count it.

        A weight that never fits into its lane's part of the bucket counts as all of that part.

        Raises:
            RateLimitedError: ``WAITING_MAX`` requests already wait in the lane.
        """
        lane = self._urgent if urgent else self._ordinary
        if lane.statistics().tasks_waiting >= WAITING_MAX:
            raise RateLimitedError(f"{WAITING_MAX} requests wait for the venue's quota already")
        reserve = 0 if urgent else self._capacity // RESERVE_PART
        needed = min(weight * self._unit, self._capacity - reserve)
        async with lane:
            while (wait_ms := self._measure_wait_ms(needed + reserve)) > 0:
                await self._clock.sleep_until(self._clock.now_ms() + wait_ms)
            self._level -= needed

    def _measure_wait_ms(self, needed: int) -> int:
        """Refill the bucket, and return the time in ms until it has what is needed."""
        now_ms = self._clock.now_ms()
        per_ms = self.quota * (BURST_PART - 1)
        elapsed_ms = max(0, now_ms - self._filled_at_ms)
        self._level = min(self._capacity, self._level + elapsed_ms * per_ms)
        self._filled_at_ms = now_ms
        missing = needed - self._level
        refill_ms = -(-missing // per_ms) if missing > 0 else 0
        return max(refill_ms, self._paused_until_ms - now_ms)

    def note_response(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from a response what the venue has counted.

        Other users of the account or address share the quota, so fewer units may be left than
        counted here. After a rejection all requests wait for the time that the headers name, at
        most ``PAUSE_MS_MAX``.
        """
        self._measure_wait_ms(0)
        remaining = _read_number(headers, UNITS_HEADER)
        if remaining is not None:
            self._level = min(self._level, remaining * self._unit)
        if status == TOO_MANY_REQUESTS:
            reset_ms = _read_number(headers, RESET_HEADER)
            pause_ms = PAUSE_MS if reset_ms is None else min(reset_ms, PAUSE_MS_MAX)
            self._paused_until_ms = max(self._paused_until_ms, self._clock.now_ms() + pause_ms)


def _read_number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
