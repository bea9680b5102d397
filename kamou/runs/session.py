"""A session: the journal and the venue opened for one run, and closed in order.

Opening brings the venue to the present: the generated market's days since its last checkpoint,
and what happened to orders and positions meanwhile. A run in real time opens in a thread.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou import __version__
from kamou.actors.venue_port import PortFactory
from kamou.core.book.events import RunStarted, RunStopped
from kamou.data_directory.folder import write_atomically
from kamou.data_directory.private_files import is_open_to_others, keeps_modes
from kamou.errors import DiskFullError, StoreError
from kamou.exchange.embedded import SimulatedExchange
from kamou.runtime.runners import Runner, run_inline
from kamou.settings.config import Settings, canonical_json, digest
from kamou.store import database
from kamou.store.journal import JournalWriter, next_run_number
from kamou.venue.checkpoints import keep_checkpoints, run_market_to
from kamou.venue.engine import Engine
from kamou.venue.market.market import MarketSource
from kamou.venue.models import VenueModels
from kamou.venue.order_checks import check_market
from kamou.venue.store import VenueStore

SALT_BYTES = 32

Adapter = Callable[..., SimulatedExchange]
"""Makes the port over an engine."""

Inspect = Callable[[Engine], None]
"""Is shown the venue when all is done."""


@attrs.frozen(kw_only=True, eq=False)
class Session:
    """What one run writes to and reads from."""

    writer: JournalWriter
    reader: sqlite3.Connection
    engine: Engine
    venue: VenueStore

    def port(
        self,
        settings: Settings,
        *,
        adapter: Adapter | None = None,
        runner: Runner = run_inline,
    ) -> PortFactory:
        """Return what makes the port over this session's venue.

        Args:
            settings: whether entries carry their stop.
            adapter: another port than the embedded exchange's own.
            runner: makes the generated market's days; a thread in real time.
        """
        attached_stop = settings.exchange.attached_stop
        return partial(
            adapter or SimulatedExchange, self.engine, attached_stop=attached_stop, runner=runner
        )


def never() -> bool:
    """Nobody tells it to stop."""
    return False


@contextmanager
def open_session(
    *,
    settings: Settings,
    database_path: Path,
    venue_path: Path | str,
    source: MarketSource,
    start_ms: int,
    clock: Callable[[], int],
    gate: str,
    durable: bool = True,
    told_to_stop: Callable[[], bool] = never,
) -> Iterator[Session]:
    """Open journal and venue, note the run's start, and its end however it comes.

    ``gate`` is the label of the gate that the run trades under. ``told_to_stop`` is asked before
    each day that the market is brought forward. Then the session opens where the market stands:
    whoever told it to stop closes it at once.

    Raises:
        StoreError, DatabaseNewerError, DiskFullError: a file cannot be used; says what to do.
        InvalidDataError: an instrument of the market has limits that make no sense.
    """
    check_market(source)
    with ExitStack() as stack:
        connection = stack.enter_context(
            closing(database.open_writer(database_path, durable=durable))
        )
        reader = stack.enter_context(closing(database.open_reader(database_path)))
        venue = stack.enter_context(closing(VenueStore(venue_path, durable=durable)))
        keep_checkpoints(source, venue)
        run_market_to(source, clock(), told_to_stop)
        engine = Engine(
            source,
            VenueModels.from_settings(settings.exchange, settings.costs),
            venue,
            start_ms=start_ms,
            wallet_balance=settings.equity,
        )
        stack.callback(engine.close)
        engine.catch_up(clock(), told_to_stop)
        writer = JournalWriter(connection, run_number=next_run_number(connection))
        writer.append([run_started(settings, writer.run_number, clock(), gate)])
        reason = "crashed"
        try:
            yield Session(writer=writer, reader=reader, engine=engine, venue=venue)
            reason = "stopped"
        except BaseException as error:
            if is_cancellation(error):
                reason = "stopped"
            raise
        finally:
            writer.recover()
            with suppress(DiskFullError):  # the next run's start shows that this one ended
                writer.append([run_stopped(writer.run_number, clock(), reason)])


@asynccontextmanager
async def open_session_in_thread(**how: Any) -> AsyncIterator[Session]:
    """As ``opened`` with the same arguments; the loop goes on while it opens.

    If cancelled meanwhile, the day in hand is the last one, and Cancelled is raised.
    """
    with ExitStack() as stack:
        manager = open_session(told_to_stop=told_by_trio, **how)
        session = await trio.to_thread.run_sync(partial(stack.enter_context, manager))
        await trio.lowlevel.checkpoint_if_cancelled()
        yield session


def told_by_trio() -> bool:
    """Whether the task that waits for this thread was cancelled."""
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:
        return True
    return False


def is_cancellation(error: BaseException) -> bool:
    """Whether this is nothing but Trio unwinding a cancelled scope: we were told to stop."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(part) for part in error.exceptions)
    return isinstance(error, trio.Cancelled)


def run_started(settings: Settings, run_number: int, now_ms: int, gate: str) -> RunStarted:
    """The first event of a run."""
    return RunStarted(
        at_ms=now_ms,
        cause_id=f"run:{run_number}",
        run_number=run_number,
        mode=settings.mode,
        version=__version__,
        config_digest=digest(settings),
        config_json=canonical_json(settings),
        change_reason=settings.change_reason,
        gate=gate,
    )


def run_stopped(run_number: int, now_ms: int, reason: str) -> RunStopped:
    """The last event of a run that ended in its own way."""
    return RunStopped(
        at_ms=now_ms, cause_id=f"run:{run_number}", run_number=run_number, reason=reason
    )


def chance_key() -> bytes:
    """Return a key that nobody knows and nobody keeps."""
    return secrets.token_bytes(SALT_BYTES)


def salt_key(path: Path, *, on_exposed: Callable[[str], None] | None = None) -> bytes:
    """Return the key of all commitments, made at first use, readable by its owner only.

    Args:
        path: its file.
        on_exposed: is told that others may have read the key, and it is used all the same:
            ``kamou flatten`` closes positions whoever knows it.

    Raises:
        StoreError: the file holds no key, cannot be made, or is open to others.
    """
    try:
        if not path.exists():
            write_atomically(path, chance_key().hex())
        exposed = is_open_to_others(path) and keeps_modes(path.parent)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} holds no key ({error}); restore it from its backup") from error
    if len(key) != SALT_BYTES:
        raise StoreError(f"{path} holds {len(key)} bytes, not {SALT_BYTES}; restore its backup")
    if exposed:
        words = (
            f"other users may read {path}: with that key they see through every commitment before "
            f"it is revealed; if nobody has read it, close it with chmod 600 {path}"
        )
        if on_exposed is None:
            raise StoreError(words)
        on_exposed(words)
    return key
