"""The feed: once per cycle, the bars that closed and the open interest that became known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np

from kamou.actors.base import Actor
from kamou.clock import Clock, floor_ms, next_ms
from kamou.errors import RateLimitedError, UnreachableError
from kamou.exchange.base import Candles, ExchangePort, Series
from kamou.messages.market import BarsClosed
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings


@attrs.frozen(kw_only=True)
class Shard:
    """A contiguous run of symbols and the mailbox of the scanner that owns it."""

    index: int
    symbols: tuple[str, ...]
    columns: slice
    inbox: Mailbox[BarsClosed]


class Feed(Actor):
    """Asks the port for what is new and hands each shard its columns. Never blocks on a scanner.

    A venue that does not answer costs this cycle its bars, not the feed its life: the next
    cycle asks from where the last answer ended, and shards see a heartbeat meanwhile.
    """

    def __init__(
        self,
        *,
        inbox: Mailbox[object],
        clock: Clock,
        port: ExchangePort,
        shards: Sequence[Shard],
        cycle: CycleSettings,
        period_ms: int,
        handler_deadline_s: float,
        on_cycle: Callable[[int], None],
    ) -> None:
        super().__init__(
            name="feed", inbox=inbox, clock=clock, handler_deadline_s=handler_deadline_s
        )
        self._port = port
        self._shards = tuple(shards)
        self._cycle_ms = cycle.period_s * 1000
        self._delay_ms = cycle.bar_delay_ms
        self._period_ms = period_ms
        self._on_cycle = on_cycle
        self.missed_cycles = 0

    async def recover(self) -> None:
        now = self.clock.now_ms()
        self._interest_ms = now
        self._cycle = next_ms(now - self._delay_ms, self._cycle_ms)
        # From the bar that closes with that cycle: between boundary and delay it has closed.
        self._next_open_ms = floor_ms(self._cycle - 1, self._period_ms)

    def next_due_ms(self) -> int | None:
        return self._cycle + self._delay_ms

    async def handle(self, message: object) -> None:
        raise AssertionError(f"nobody writes to the feed: {message!r}")

    async def tick(self) -> None:
        cycle_ms = self._cycle
        # After a stall the cycles in between are gone, their bars are not: ask from the last one.
        self._cycle = (
            floor_ms(self.clock.now_ms() - self._delay_ms, self._cycle_ms) + self._cycle_ms
        )
        candles, interest = await self._ask(cycle_ms)
        for shard in self._shards:
            shard.inbox.put_nowait(self._columns(shard, cycle_ms, candles, interest))
        self._on_cycle(cycle_ms)

    async def _ask(self, cycle_ms: int) -> tuple[Candles | None, Series | None]:
        until_ms = floor_ms(cycle_ms, self._period_ms)
        try:
            candles = interest = None
            if until_ms > self._next_open_ms:
                candles = await self._port.candles(self._period_ms, self._next_open_ms, until_ms)
                interest = await self._port.open_interest(self._interest_ms, cycle_ms)
        except (UnreachableError, RateLimitedError):
            self.missed_cycles += 1
            return None, None
        if candles is not None and len(candles.open_ms):
            self._next_open_ms = int(candles.open_ms[-1]) + self._period_ms
            self._interest_ms = cycle_ms
        return candles, interest

    def _columns(
        self, shard: Shard, cycle_ms: int, candles: Candles | None, interest: Series | None
    ) -> BarsClosed:
        part = shard.columns
        empty = np.empty((0, len(shard.symbols)))
        bars = [empty] * 5
        open_ms = interest_ms = np.empty(0, dtype=np.int64)
        values = empty
        if candles is not None:
            open_ms = candles.open_ms
            columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
            bars = [column[:, part] for column in columns]
        if interest is not None:
            interest_ms, values = interest.available_ms, interest.values[:, part]
        return BarsClosed(
            cause_id=f"cycle:{cycle_ms}",
            cycle_ms=cycle_ms,
            period_ms=self._period_ms,
            open_ms=open_ms,
            open=bars[0],
            high=bars[1],
            low=bars[2],
            close=bars[3],
            volume=bars[4],
            interest_ms=interest_ms,
            interest=values,
        )
