"""`kamou site` (``serve_alone``): the public pages of a database, without a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import trio

from kamou.http.addresses import literal
from kamou.http.server import Listener, bind
from kamou.store.database import open_checked_reader
from kamou.web.guard import Guard
from kamou.web.serving import make_serving, serve_until_signal
from kamou.web.site import Site


def serve_alone(
    database: Path,
    site: Site,
    listener: Listener,
    *,
    render_max_s: float,
    announce: Callable[[str], None],
) -> None:
    """Serve the pages of ``database`` at the listener's address until a stop signal.

    Stop signals are SIGINT, SIGTERM, and SIGHUP unless this process ignores it. A run may write the
    database meanwhile, because the function neither writes it nor takes the lock of a run.
    ``announce`` takes a line with the address of the results.

    Raises:
        StoreError: the database does not exist, cannot be read, is damaged, or is of another
            version.
        ListenError: the address cannot be bound.
        OSError: no descriptor is free for the listening socket.
    """
    open_checked_reader(database).close()  # so that it fails at the start and not at the first page
    with contextlib.closing(bind(listener)) as bound:
        guard = Guard(lifeline=None, render_max_s=render_max_s)
        guard.start()
        served = make_serving(database, site, guard, bound, listener.limits)

        async def announce_address() -> None:
            announce(f"results: http://{literal(listener.host)}:{bound.getsockname()[1]}/results")

        trio.run(serve_until_signal, served, announce_address)
