"""Mailboxes, which are bounded queues that outlive incarnations of their actors.

A mailbox is built over a Trio memory channel and owns both ends. So waiting messages outlive a
crash of the actor, but calls fail. The message that the actor was handling is lost, except that a
priority message is delivered again, up to ``REDELIVERIES_MAX`` times. One actor takes from a
mailbox; any task may put.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Generic, TypeVar, cast

import attrs
import trio

from kamou.clock import Clock, SystemClock
from kamou.core.day import MINUTE_MS
from kamou.errors import CallTimeoutError, CallUnavailableError
from kamou.runtime.calls import Call, CallReply

T = TypeVar("T")

PRIORITY_CAPACITY = 16  # commands, and reports of a full disk or failed protection: few of them
REDELIVERIES_MAX = 3  # a message that crashes its actor more often is a dead letter


class WhenFull(StrEnum):
    """The behavior of a put into a full mailbox."""

    BLOCK = "block"  # ``put`` waits for space until its deadline
    REJECT = "reject"  # the put returns False
    CONFLATE = "conflate"  # the newest message per key replaces the older, counted as dropped
    OVERFLOW = "overflow"  # drops, counts and calls ``on_overflow``; never blocks the producer


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """Counts of messages since the mailbox was made.

    ``depth`` counts waiting messages; ``peak`` and ``capacity`` leave out the priority lane.
    ``handled`` counts messages and ticks; ``busy_s`` is the time that they took, waits included.
    ``dropped`` counts those lost under CONFLATE or OVERFLOW. ``expired`` also counts calls that
    were settled before the actor read them.
    """

    name: str
    depth: int
    capacity: int
    peak: int
    accepted: int
    rejected: int
    dropped: int
    expired: int
    dead_letters: int
    handled: int
    busy_s: float


@attrs.define(eq=False)
class _Delivery:
    """A priority message, with the number of its deliveries."""

    message: object
    count: int = 0


_WAKE = object()  # sent to a waiting actor so that it checks its state; never buffered


class Mailbox(Generic[T]):
    """A bounded queue with a policy, a small priority lane and statistics.

    ``key`` returns the key under which messages are conflated. ``now_ms`` is the clock for the
    messages' ``expires_at_ms``. ``on_overflow`` is called at each drop under OVERFLOW.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        when_full: WhenFull = WhenFull.REJECT,
        key: Callable[[T], Hashable] | None = None,
        *,
        now_ms: Callable[[], int],
        on_overflow: Callable[[], object] | None = None,
    ) -> None:
        assert capacity >= 1, f"{name} needs a capacity of 1 or more, got {capacity}"
        for policy, needed in ((WhenFull.CONFLATE, key), (WhenFull.OVERFLOW, on_overflow)):
            assert (when_full is policy) == (needed is not None), (
                f"{name}: CONFLATE needs key, OVERFLOW on_overflow; got {when_full} with {needed}"
            )
        self.name = name
        self.capacity = capacity
        self.when_full = when_full
        self._key = key
        self._now_ms = now_ms
        self._on_overflow = on_overflow
        # The channel carries messages, or under CONFLATE the keys into ``_newest``.
        self._sender, self._receiver = trio.open_memory_channel[object](capacity)
        self._newest: dict[Hashable, T] = {}
        self._priority: deque[_Delivery] = deque()
        self._in_hand: _Delivery | None = None
        self._calls: dict[CallReply, None] = {}  # outstanding, in order
        self._up = False
        self._stopping = False
        self._accepted = self._rejected = self._dropped = self._expired = 0
        self._dead_letters = self._handled = self._busy_ns = 0

    # --- producers ---------------------------------------------------------------

    def put_nowait(self, message: T) -> bool:
        """Put a message without waiting; return True if the mailbox took it.

        A full mailbox rejects it, or drops it under OVERFLOW, or drops an older one under CONFLATE.
        """
        if self._key is not None:
            return self._put_newest(message, self._key(message))
        try:
            self._sender.send_nowait(message)
        except trio.WouldBlock:
            if self._on_overflow is not None:
                self._dropped += 1
                self._on_overflow()
            else:
                self._rejected += 1
            return False
        self._accepted += 1
        return True

    async def put(self, message: T, *, timeout_s: float) -> bool:
        """Put a message; return True if the mailbox took it.

        Under BLOCK, wait at most ``timeout_s`` for space. This is a checkpoint of Trio. If
        cancelled, the message was not put.
        """
        if self.when_full is not WhenFull.BLOCK:
            await trio.lowlevel.checkpoint()
            return self.put_nowait(message)
        with trio.move_on_after(timeout_s):
            await self._sender.send(message)
            self._accepted += 1
            return True
        self._rejected += 1
        return False

    def put_priority(self, message: T) -> bool:
        """Put a message into the priority lane; return False if the lane is full."""
        if len(self._priority) >= PRIORITY_CAPACITY:
            self._rejected += 1
            return False
        self._priority.append(_Delivery(message))
        self._accepted += 1
        self._wake()
        return True

    @property
    def priority_pending(self) -> bool:
        """Return True if a priority message waits or is being handled by the actor."""
        return bool(self._priority) or self._in_hand is not None

    def _put_newest(self, message: T, key: Hashable) -> bool:
        self._accepted += 1
        if key in self._newest:
            self._dropped += 1
            self._newest[key] = message
            return True
        try:
            self._sender.send_nowait(key)
        except trio.WouldBlock:
            del self._newest[self._receiver.receive_nowait()]  # drop the oldest
            self._dropped += 1
            self._sender.send_nowait(key)
        self._newest[key] = message
        return True

    def _wake(self) -> None:
        if self._receiver.statistics().tasks_waiting_receive:
            self._sender.send_nowait(_WAKE)  # goes to the waiting task, not into the buffer

    # --- the actor ---------------------------------------------------------------

    async def get(self) -> T:
        """Take the next message, priority lane first.

        This is a checkpoint of Trio. If cancelled, no message was taken.
        """
        while True:
            message = await self._next(None)
            if message is not _WAKE:
                return cast(T, message)

    async def get_until(
        self, at_ms: int | None, clock: Clock, latest_s: float = math.inf
    ) -> T | None:
        """Take the next message; return None at a given time or when the actor must stop.

        The time is ``at_ms`` by ``clock``, even if ordinary messages wait, or the Trio time
        ``latest_s``, in case ``clock`` is set back. If ``at_ms`` is None, there is no such time.
        """
        waited = False  # a wait is a checkpoint already
        while not self._stopping:
            left_ms = None
            if at_ms is not None and not self._priority:
                left_ms = at_ms - clock.now_ms()
                if latest_s < math.inf:
                    left_ms = min(left_ms, math.ceil((latest_s - trio.current_time()) * 1000))
                if left_ms <= 0:
                    if not waited:
                        await trio.lowlevel.checkpoint()
                    return None
                if left_ms > MINUTE_MS and isinstance(clock, SystemClock):
                    left_ms = MINUTE_MS  # check again: the wall clock may have been set
            message = await self._next(left_ms)
            if message is not _WAKE:
                return cast(T, message)
            waited = True
        return None

    async def _next(self, within_ms: int | None) -> object:
        """Return one message; ``_WAKE`` if woken, if none came in time, or if stale."""
        if self._priority:
            await trio.lowlevel.checkpoint()
            message = self._take_priority()
        else:
            if within_ms is None:
                item = await self._receiver.receive()
            else:
                item = await self._receive_within(within_ms / 1000)
            if item is _WAKE:
                return _WAKE
            message = self._take(item)
        return _WAKE if self._is_stale(message) else message

    async def _receive_within(self, seconds: float) -> object:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:  # most often a message waits and no timer is needed
            item = self._receiver.receive_nowait()
        except trio.WouldBlock:
            with trio.CancelScope(deadline=trio.current_time() + seconds):
                return await self._receiver.receive()
            return _WAKE
        await trio.lowlevel.cancel_shielded_checkpoint()
        return item

    def get_nowait(self) -> T:
        """Take the next message without waiting.

        Raises:
            trio.WouldBlock: no message waits.
        """
        while True:
            if self._priority:
                message = self._take_priority()
            else:
                message = self._take(self._receiver.receive_nowait())
            if not self._is_stale(message):
                return message

    def _take_priority(self) -> T:
        delivery = self._in_hand = self._priority.popleft()
        delivery.count += 1
        return cast(T, delivery.message)

    def _take(self, item: object) -> T:
        self._in_hand = None  # an actor that takes the next message has handled the last one
        return cast(T, item) if self._key is None else self._newest.pop(item)

    def _is_stale(self, message: object) -> bool:
        if type(message) is Call:
            stale = message.reply.settled
        else:
            expires_at_ms = getattr(message, "expires_at_ms", None)
            stale = expires_at_ms is not None and expires_at_ms <= self._now_ms()
        self._expired += stale
        return stale

    def redeliver(self, message: T) -> None:
        """Put the priority message that was being handled back in front of the lane.

        After ``REDELIVERIES_MAX`` redeliveries it is dropped and counted as a dead letter.
        """
        delivery = self._in_hand
        assert delivery is not None, message
        assert delivery.message is message, f"{message!r} is not {delivery.message!r}"
        self._in_hand = None
        if delivery.count <= REDELIVERIES_MAX:
            self._priority.appendleft(delivery)
            return
        self._dead_letters += 1

    def count_handled(self, busy_ns: int) -> None:
        """Count the current message or tick as handled; it took ``busy_ns``."""
        self._in_hand = None
        self._handled += 1
        self._busy_ns += busy_ns

    # --- up and down -------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Return True if an actor is recovered and listening; else calls fail."""
        return self._up

    @property
    def stopping(self) -> bool:
        """Return True if the actor was asked to stop after its current message."""
        return self._stopping

    def mark_up(self) -> None:
        """Record that an actor listens and takes calls; forget an earlier stop request."""
        self._up = True
        self._stopping = False

    def mark_down(self) -> None:
        """Record that the actor ended: fail its calls, redeliver a priority message."""
        self._up = False
        calls, self._calls = self._calls, {}
        for reply in calls:
            reply.fail(
                CallUnavailableError(
                    f"{self.name} ended before it answered; it may have acted, "
                    "`kamou status` shows its state"
                )
            )
        if self._in_hand is not None:
            self.redeliver(cast(T, self._in_hand.message))

    def ask_to_stop(self) -> None:
        """Let the actor end after its current message; other messages stay."""
        self._stopping = True
        self._wake()

    def statistics(self) -> MailboxStatistics:
        """Return the counts for snapshots and metrics."""
        lane = self._receiver.statistics()
        return MailboxStatistics(
            name=self.name,
            depth=lane.current_buffer_used + len(self._priority),
            capacity=self.capacity,
            peak=lane.peak_buffer_used,
            accepted=self._accepted,
            rejected=self._rejected,
            dropped=self._dropped,
            expired=self._expired,
            dead_letters=self._dead_letters,
            handled=self._handled,
            busy_s=self._busy_ns / 1e9,
        )

    # --- calls -------------------------------------------------------------------

    async def call(self, message: object, *, timeout_s: float) -> object:
        """Call the actor and return its answer, within ``timeout_s``.

        If cancelled, the call counts as given up; the actor may have acted on it.

        Raises:
            CallUnavailableError: the actor is not up, ends meanwhile, or its REJECT mailbox is
                full.
            CallTimeoutError: at the deadline; the call expires if the actor has not read it.
            KamouError: the error that the actor answered with.
        """
        assert self.when_full in (WhenFull.BLOCK, WhenFull.REJECT), f"{self.name} would drop calls"
        if not self._up:
            raise CallUnavailableError(
                f"{self.name} is starting or restarting; try again, `kamou status` shows its state"
            )
        with trio.move_on_after(timeout_s) as scope:
            reply = CallReply(scope)
            self._calls[reply] = None
            try:
                await self._put_call(Call(message, reply))
                await reply.wait()
            finally:
                self._calls.pop(reply, None)
                reply.give_up()
        if not reply.ended:
            raise CallTimeoutError(
                f"{self.name} did not answer within {timeout_s:g} s; it may have acted, "
                "`kamou status` shows its state"
            )
        return reply.result()

    async def _put_call(self, call_: Call) -> None:
        if self.when_full is WhenFull.BLOCK:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:  # without a turn of the loop, because the wait for the answer takes one
                self._sender.send_nowait(call_)
            except trio.WouldBlock:
                await self._sender.send(call_)
            self._accepted += 1
        elif not self.put_nowait(cast(T, call_)):
            raise CallUnavailableError(
                f"{self.name} has {self.capacity} waiting messages, its mailbox is full; "
                "try again, `kamou status` shows its state"
            )
