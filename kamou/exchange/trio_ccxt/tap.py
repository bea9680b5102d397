"""Bounded channels of the updates that ccxt makes of messages.

Every parsed update passes ``Client.resolve``. A task that calls a ``watch_...`` method in a loop
may miss updates of a burst; a channel of the tap conflates or keeps them, as its policy says, and
counts what a reader does not get.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum

import attrs
import trio
from ccxt.async_support.base.ws.cache import BaseCache


class TapPolicy(Enum):
    """What a channel does with updates that nobody has taken yet."""

    NEWEST = "newest"  # of each message hash, for tickers and books
    EVERY = "every"  # in order, for orders, fills and market trades


@attrs.frozen
class MissedUpdates:
    """Updates are missing here; what they say must be read by REST.

    ``count`` of them did not fit into the channel. If it is 0, a connection ended.
    """

    count: int


@attrs.define(eq=False)
class TapChannel:
    """Updates of the message hashes that begin with ``topic``, for one reader.

    With ``NEWEST`` the capacity is the number of hashes. Writing never waits.
    """

    topic: str
    policy: TapPolicy
    capacity: int
    conflated: int = attrs.field(init=False, default=0)  # replaced by a newer one before reading
    missed: int = attrs.field(init=False, default=0)
    _newest: dict[str, object] = attrs.field(init=False, factory=dict)
    _every: deque[tuple[str, object]] = attrs.field(init=False, factory=deque)
    _wake: trio.Event = attrs.field(init=False, factory=trio.Event)

    def put(self, message_hash: str, update: object) -> None:
        """Add an update, or replace, count or mark it as missed."""
        if self.policy is TapPolicy.NEWEST:
            if message_hash in self._newest:
                self.conflated += 1
            elif len(self._newest) >= self.capacity:
                self.missed += 1
                return
            self._newest[message_hash] = update
        elif len(self._every) < self.capacity:
            self._every.append((message_hash, update))
        else:
            self.missed += 1
            self._mark(1)
        self._wake.set()

    def mark_gap(self) -> None:
        """Mark that updates may be missing, because a connection ended."""
        if self.policy is TapPolicy.EVERY:
            self._mark(0)
            self._wake.set()

    def _mark(self, count: int) -> None:
        """Add to the mark at the end; make one, beyond the capacity, if there is none."""
        last = self._every[-1][1] if self._every else None
        if isinstance(last, MissedUpdates):
            self._every.pop()
            count += last.count
        self._every.append(("", MissedUpdates(count)))

    async def take(self) -> tuple[str, object]:
        """Wait for an update and return its message hash and the update.

        ``MissedUpdates``, with an empty hash, stands where updates are missing.
        """
        await trio.lowlevel.checkpoint()
        while not (self._newest or self._every):
            self._wake = trio.Event()
            await self._wake.wait()
        if self._every:
            return self._every.popleft()
        oldest = next(iter(self._newest))
        return oldest, self._newest.pop(oldest)


@attrs.define(eq=False)
class Tap:
    """The channels of one exchange."""

    _channels: list[TapChannel] = attrs.field(init=False, factory=list)
    _found: dict[str, list[TapChannel]] = attrs.field(init=False, factory=dict)

    def open_channel(self, topic: str, policy: TapPolicy, capacity: int) -> TapChannel:
        """Return a new channel of a topic such as ``ticker`` or ``orders``."""
        channel = TapChannel(topic, policy, capacity)
        self._channels.append(channel)
        self._found.clear()
        return channel

    def mark_gap(self) -> None:
        """Mark in each channel that keeps all that a connection ended."""
        for channel in self._channels:
            channel.mark_gap()

    def take_update(self, message_hash: str, result: object) -> None:
        """Put what is new in a result of ccxt into each channel of the message hash.

        ccxt gives its whole list of orders, fills or market trades. The new one is its last,
        because each is appended and resolved by itself; it is copied, because ccxt changes it.
        """
        channels = self._found.get(message_hash)
        if channels is None:
            channels = [
                each
                for each in self._channels
                if message_hash == each.topic or message_hash.startswith(f"{each.topic}:")
            ]
            self._found[message_hash] = channels
        if channels:
            update = result[-1] if isinstance(result, BaseCache) else result
            if isinstance(update, Mapping) and isinstance(result, BaseCache):
                update = dict(update)
            for channel in channels:
                channel.put(message_hash, update)
