"""``make_serving`` and ``serve_until_signal``: the public pages on one listener.

The site's process of `kamou run`, and `kamou site`, use them.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import trio

from kamou.http.limits import Limits
from kamou.http.notices import Notices
from kamou.http.server import Listener, Server
from kamou.runtime.stop_signals import list_stop_signals
from kamou.web.app import PublicSite
from kamou.web.guard import Guard, end_without_memory, write_line
from kamou.web.site import Site

Background = Callable[[], Awaitable[None]]


@attrs.frozen(kw_only=True, eq=False)
class Serving:
    """One listener and its pages."""

    public: PublicSite
    server: Server


def make_serving(
    database: Path, site: Site, guard: Guard, bound: socket.socket, limits: Limits
) -> Serving:
    """Return the pages of ``database`` on a bound socket, not yet served."""
    failures = partial(report_page_failure, Notices(write_line))
    public = PublicSite(database, site, runner=guard.render, on_error=failures)
    listener = Listener(
        app=public, host="", port=0, setting="web.port", option="--port", limits=limits
    )
    return Serving(public=public, server=Server(listener, bound=bound, warn=write_line))


def report_page_failure(notices: Notices, path: str, error: Exception) -> None:
    """Pass the error of a page to ``notices``; end the process at a MemoryError."""
    if isinstance(error, MemoryError):
        end_without_memory()
    notices.say("page", f"page {path} failed: {error!r}")


async def serve_until_signal(served: Serving, background: Background) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, and run ``background`` meanwhile.

    SIGHUP does not stop a process that ignores it. At the end the pages are closed.
    """
    server = served.server
    async with trio.open_nursery() as nursery:

        async def stop_at_signal(task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(*list_stop_signals()) as signals:
                task_status.started()
                async for _ in signals:
                    server.ask_to_stop()

        async def serve_and_end(task_status: trio.TaskStatus[None]) -> None:
            await server.run(task_status)
            nursery.cancel_scope.cancel()

        await nursery.start(lambda task_status: stop_at_signal(task_status))
        await nursery.start(lambda task_status: serve_and_end(task_status))
        nursery.start_soon(background)
    served.public.close()
