"""``public_site``: the bound port and the supervised process of a run's site."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.events import Event
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.errors import ListenError
from kamou.http.limits import public_limits
from kamou.http.server import Listener, bind
from kamou.settings.config import Settings
from kamou.site.health import SiteHealth
from kamou.site.process_protocol import SiteHandover, read_pricing
from kamou.site.process_start import make_launcher
from kamou.site.process_supervision import Backoff, SiteKeeper, SiteLimits, site_supervisor
from kamou.site.text import SiteText
from kamou.supervisor import Supervisor

HEARTBEAT_S = 0.5  # between two heartbeats of the site's process
PORT_PATIENCE_S = 1.0  # a program may be about to end
# A killed run's site frees the port within 0.5 s, but a busy machine may not run it for seconds.
EARLIER_RUN_PATIENCE_S = 10.0
PORT_RETRY_S = 0.05  # between two attempts to bind


@attrs.frozen(kw_only=True, eq=False)
class PublicSiteChild:
    """The supervised site of a run; ``port`` is the bound port."""

    port: int
    health: SiteHealth
    supervisor: Supervisor


@contextlib.asynccontextmanager
async def public_site(
    settings: Settings,
    data_directory: DataDirectory,
    *,
    gate: str,
    announce: Callable[[str], None],
    record: Callable[[Event], bool],
    clock: Clock,
) -> AsyncIterator[PublicSiteChild]:
    """Bind the public port, and supervise a process that serves on it in the block.

    The block begins before the process serves; until then connections wait in the backlog. The end
    of the block takes limited time.

    Args:
        settings: the run's settings.
        data_directory: the directory whose database the process reads.
        gate: label of the promotion gate, shown until the journal has a run.
        announce: function that takes a line for the terminal.
        record: function that journals an event if that is allowed now; returns True if it did.
        clock: clock of the events.

    Raises:
        ListenError: the port cannot be bound.
        ConfigurationError: the file of ``web.pricing_file`` cannot be read or is too long.
        OSError: no descriptor is free.
    """
    pricing = read_pricing(settings.web.pricing_file)
    listener = public_listener(settings)
    bound = await bind_patiently(listener, choose_patience(data_directory, listener))
    with contextlib.closing(bound):
        health = SiteHealth(announce=announce, record=record, now_ms=clock.now_ms)
        keeper = SiteKeeper(
            launch=make_launcher(make_handover(settings, data_directory, bound, gate, pricing)),
            health=health,
            text=SiteText(announce=announce, seconds=trio.current_time),
            limits=SiteLimits(
                memory_max_bytes=settings.web.site_memory_max_mb * 1024 * 1024,
                silence_max_s=settings.web.site_silence_max_s,
                start_max_s=settings.web.site_start_max_s,
            ),
        )
        backoff = Backoff(
            base_s=settings.supervision.backoff_base_ms / 1000,
            cap_s=settings.supervision.backoff_cap_ms / 1000,
        )
        supervisor = Supervisor(site_supervisor(keeper, backoff))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            try:
                yield PublicSiteChild(
                    port=bound.getsockname()[1], health=health, supervisor=supervisor
                )
            finally:
                with trio.CancelScope(shield=True):
                    await supervisor.stop()
            nursery.cancel_scope.cancel()


def public_listener(settings: Settings) -> Listener:
    """Return the public listener without its application, which is in the child."""
    web = settings.web
    return Listener(
        app=None,
        host=web.host,
        port=web.port,
        setting="web.port",
        option="--port",
        limits=public_limits(web),
    )


def choose_patience(data_directory: DataDirectory, listener: Listener) -> float:
    """Return the seconds to wait for a taken port: more if the last run had it.

    If that run was killed, its site may hold the port until it has ended.
    """
    record = RunRecord.read(data_directory)
    earlier = record is not None and (record.host, record.port) == (listener.host, listener.port)
    return EARLIER_RUN_PATIENCE_S if earlier else PORT_PATIENCE_S


async def bind_patiently(listener: Listener, patience_s: float) -> socket.socket:
    """Return the listening socket; wait a limited time while the port is taken.

    Raises:
        ListenError: the address cannot be bound, or is still taken after ``patience_s`` seconds.
        OSError: no descriptor is free.
    """
    deadline_s = trio.current_time() + patience_s
    while True:
        try:
            return bind(listener)
        except ListenError as error:
            taken = isinstance(error.__cause__, OSError)
            taken = taken and getattr(error.__cause__, "errno", None) == errno.EADDRINUSE
            if not taken or trio.current_time() >= deadline_s:
                raise
        await trio.sleep(PORT_RETRY_S)


def make_handover(
    settings: Settings, data_directory: DataDirectory, bound: socket.socket, gate: str, pricing: str
) -> SiteHandover:
    """Return the child's handover, of validated settings and without a secret."""
    web = settings.web
    return SiteHandover(
        database=str(data_directory.database.resolve()),
        socket=bound.fileno(),
        mode=settings.mode,
        currency=settings.currency,
        gate=gate,
        pricing_markdown=pricing,
        public_url=settings.site.public_url,
        nice=web.site_nice,
        memory_max_bytes=web.site_address_space_max_mb * 1024 * 1024,
        descriptors_max=web.site_descriptors_max,
        render_max_s=web.site_render_max_s,
        heartbeat_s=HEARTBEAT_S,
        limits=public_limits(web),
    )
