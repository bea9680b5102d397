"""A token bucket, which counts the messages that may be sent to the venue."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class TokenBucket:
    """Immutable bucket that gains ``rate`` tokens a second and holds at most ``rate``.

    One message to the venue takes one token.
    """

    rate: int
    tokens: float
    at_ms: int

    def at(self, now_ms: int) -> TokenBucket:
        """Return the bucket refilled up to ``now_ms``; unchanged if that is not later."""
        gained = max(0, now_ms - self.at_ms) * self.rate / 1000
        return TokenBucket(
            rate=self.rate,
            tokens=min(float(self.rate), self.tokens + gained),
            at_ms=max(self.at_ms, now_ms),
        )

    def take(self, messages: int) -> TokenBucket:
        """Return the bucket less ``messages`` tokens, the number of messages to send.

        Reducing orders do not wait for tokens, so the bucket may fall below 0.
        """
        return attrs.evolve(self, tokens=self.tokens - messages)


def full_bucket(rate: int, now_ms: int) -> TokenBucket:
    """Return a full bucket for ``rate`` messages per second."""
    return TokenBucket(rate=rate, tokens=float(rate), at_ms=now_ms)
