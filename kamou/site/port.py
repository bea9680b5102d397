"""``SiteProcess`` and ``Launch``: interface (port) to the public site's process.

``kamou/site/process_start.py`` is the real adapter, and ``kamou/simulator/simulated_site.py`` the
one of simulations; both pass ``tests/site/site_contract.py``.
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
            SiteFloodError: the child wrote something else.
        """
        ...

    async def next_text(self) -> bytes:
        """Wait for at most ``TEXT_BYTES`` of standard error; empty after its end."""
        ...

    async def wait(self) -> int:
        """Wait for the end; return the exit code, or the negated number of a signal."""
        ...


Launch = Callable[[], AbstractAsyncContextManager[SiteProcess]]
"""Function that returns a context manager of a new process, which serves on this run's socket.

Entering raises SiteStartError if no process can be started. Leaving asks the process to stop, kills
it after a short grace and reaps it, shielded from cancellation and in limited time: a process that
hangs in the kernel is not reaped.
"""

TEXT_BYTES = 4_096  # of standard error at once: limits the work between two checkpoints
