"""A token bucket: how many messages may go to the venue now."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class TokenBucket:
    """``rate`` messages per second, at most ``rate`` saved up. Values: each step is a new one."""

    rate: int
    tokens: float
    at_ms: int

    def at(self, now_ms: int) -> TokenBucket:
        """Refilled up to ``now_ms``; time running back refills nothing."""
        gained = max(0, now_ms - self.at_ms) * self.rate / 1000
        return TokenBucket(
            rate=self.rate,
            tokens=min(float(self.rate), self.tokens + gained),
            at_ms=max(self.at_ms, now_ms),
        )

    def take(self, messages: int) -> TokenBucket:
        """After sending. Stops and cancels may overdraw: they have their own lane."""
        return attrs.evolve(self, tokens=self.tokens - messages)


def full_bucket(rate: int, now_ms: int) -> TokenBucket:
    return TokenBucket(rate=rate, tokens=float(rate), at_ms=now_ms)
