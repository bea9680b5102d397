"""Subscriptions that last: they are made again whenever a connection ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from ccxt.base.errors import OperationFailed

from kamou.errors import RateLimitedError

PAUSE_S = 0.5  # before the first new try; doubled before each later one
PAUSE_S_MAX = 30.0
STEADY_S = 60.0  # a subscription that lasted longer begins with the first pause again
DOUBLINGS_MAX = 10


class Reconnecting(Protocol):
    """An exchange that tells when one of its connections ends."""

    connection_ended: trio.Event


async def keep_subscribed(exchange: Reconnecting, watch: Callable[[], Awaitable[object]]) -> None:
    """Subscribe by a ``watch_...`` call, and again after each lost connection.

    The updates are read from the tap. A call that is still subscribed only waits for its next
    update. A failure that may pass is tried again after a pause, which grows.

    Raises:
        BaseError: ccxt's error for a subscription that can never succeed, such as a wrong symbol.
    """
    failures = 0
    while True:
        ended = exchange.connection_ended
        began_s = trio.current_time()
        try:
            await watch()
            await ended.wait()
        except (OperationFailed, RateLimitedError):
            pass  # the pause follows
        steady = trio.current_time() - began_s >= STEADY_S
        failures = 0 if steady else min(failures + 1, DOUBLINGS_MAX)
        await trio.sleep(min(PAUSE_S_MAX, PAUSE_S * 2 ** max(0, failures - 1)))
