"""The port to the process that serves the public site: start, heartbeats, text, exit.

``kamou/site/process_start.py`` is the real one. ``kamou/simulator/simulated_site.py`` is the fake
that simulations use; both pass ``tests/site/site_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kamou.site.process_protocol import Heartbeat


class SiteProcess(Protocol):
    """One child process that serves the public pages."""

    async def next_heartbeat(self) -> Heartbeat | None:
        """Wait for the next heartbeat; None after the last one.

        Raises:
            SiteFloodError: what the child wrote is not a heartbeat.
        """
        ...

    async def next_text(self) -> bytes:
        """Wait for at most ``TEXT_BYTES`` of its standard error; empty after the end."""
        ...

    async def wait(self) -> int:
        """Wait for its end; return its exit code, or minus the signal's number."""
        ...


Launch = Callable[[], AbstractAsyncContextManager[SiteProcess]]
"""Start a process that serves on the socket of this run.

Entering raises SiteStartError if no process can be started. Leaving asks it to stop, kills it after
a short grace and reaps it. Leaving takes bounded time and is shielded from cancellation.
"""

TEXT_BYTES = 4_096  # of standard error at a time: bounds the work between two checkpoints
