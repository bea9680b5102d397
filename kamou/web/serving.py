"""The public pages on one listener, until a signal: for `kamou run`'s child and `kamou site`."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou.http.server import Listener, Server
from kamou.web.app import PublicSite
from kamou.web.guard import Guard, end_without_memory, say
from kamou.web.site import Site

Beside = Callable[[], Awaitable[None]]


@attrs.frozen(kw_only=True, eq=False)
class Serving:
    """One listener and its pages. ``requests`` counts those that reached the application."""

    public: PublicSite
    server: Server
    counted: Counted


class Counted:
    """An application that counts its requests."""

    def __init__(self, app: PublicSite) -> None:
        self._app = app
        self.requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += 1
        await self._app(scope, receive, send)


def serving(database: Path, site: Site, guard: Guard, bound: socket.socket) -> Serving:
    """Return the pages of ``database`` on a socket that listens, not yet served."""
    public = PublicSite(database, site, runner=guard.render, on_error=page_failed)
    counted = Counted(public)
    listener = Listener(app=counted, host="", port=0, setting="web.port", option="--port")
    return Serving(public=public, server=Server(listener, bound=bound), counted=counted)


def page_failed(path: str, error: Exception) -> None:
    """Say which page raised what. A process without memory ends."""
    if isinstance(error, MemoryError):
        end_without_memory()
    say(f"page {path} failed: {error!r}")


async def serve_until_signal(served: Serving, beside: Beside) -> None:
    """Serve until SIGINT or SIGTERM, with ``beside`` running from the moment it listens."""
    server = served.server
    async with trio.open_nursery() as nursery:

        async def stop_at_signal(task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for _ in signals:
                    server.ask_to_stop()

        async def serve_and_end(task_status: trio.TaskStatus[None]) -> None:
            await server.run(task_status)
            nursery.cancel_scope.cancel()

        await nursery.start(lambda task_status: stop_at_signal(task_status))
        await nursery.start(lambda task_status: serve_and_end(task_status))
        nursery.start_soon(beside)
    served.public.close()
