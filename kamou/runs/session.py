"""The session of a run: open journal and venue, start and end events, salt key.

The session is closed in order. Opening it moves the venue to the present: it generates the market's
days since the last checkpoint, and then matches orders and pays funding over the missing time. A
run in real time opens the session in a thread.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from functools import partial
from pathlib import Path

import attrs
import trio

from kamou import __version__
from kamou.actors.venue_port import PortFactory
from kamou.core.book.events import RunStarted, RunStopped
from kamou.core.kinds import RunEnd
from kamou.data_directory.folder import write_atomically
from kamou.data_directory.private_files import is_open_to_others, keeps_modes
from kamou.errors import DiskFullError, StoreError
from kamou.exchange.embedded import ReplayedExchange, SimulatedExchange
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
"""A factory of the port over an engine."""

REPLAYED: Adapter = ReplayedExchange
"""The adapter of a backtest and of a fast-forward."""

Inspect = Callable[[Engine], None]
"""A function that receives the engine of a backtest after its tree has stopped."""


@attrs.frozen(kw_only=True, eq=False)
class Session:
    """The open journal and venue of one run."""

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
        """Return the factory of the port over this session's venue.

        Args:
            settings: their ``exchange.attached_stop`` says whether entries carry their stop.
            adapter: makes the port; None: the embedded exchange's own.
            runner: generates the market's days; a thread in real time.
        """
        attached_stop = settings.exchange.attached_stop
        return partial(
            adapter or SimulatedExchange, self.engine, attached_stop=attached_stop, runner=runner
        )


def never_stop() -> bool:
    """Return False, so that the opening of a session is not cut short."""
    return False


@attrs.frozen(kw_only=True)
class SessionFiles:
    """The files of a session.

    ``venue`` is a path or ``:memory:``. If ``durable`` is True, each commit is synced to the disk.
    """

    database: Path
    venue: Path | str
    durable: bool = True


@contextmanager
def open_session(
    *,
    settings: Settings,
    files: SessionFiles,
    source: MarketSource,
    clock: Callable[[], int],
    gate: str,
    is_stopping: Callable[[], bool] = never_stop,
) -> Iterator[Session]:
    """Open journal and venue, and journal the start and the end of the run.

    A new venue begins at the present. The end is journalled after an error too, but not on a full
    disk.

    Args:
        settings: their ``equity`` is the wallet balance of a new venue.
        files: the journal and the venue's file.
        source: the market of the venue.
        clock: returns the time now, ms since 1970 in UTC.
        gate: the label of the gate.
        is_stopping: called before each day that the venue catches up; if it returns True, the venue
            stays at that day.

    Raises:
        StoreError, DatabaseNewerError, DiskFullError: a file cannot be used.
        InvalidDataError: an instrument of the market has impossible limits.
    """
    check_market(source)
    start_ms = clock()
    with ExitStack() as stack:
        connection = stack.enter_context(
            closing(database.open_writer(files.database, durable=files.durable))
        )
        reader = stack.enter_context(closing(database.open_reader(files.database)))
        venue = stack.enter_context(closing(VenueStore(files.venue, durable=files.durable)))
        keep_checkpoints(source, venue)
        run_market_to(source, clock(), is_stopping)
        engine = Engine(
            source,
            VenueModels.from_settings(settings.exchange, settings.costs),
            venue,
            start_ms=start_ms,
            wallet_balance=settings.equity,
        )
        stack.callback(engine.close)
        engine.catch_up(clock(), is_stopping)
        writer = JournalWriter(connection, run_number=next_run_number(connection))
        writer.append([make_run_started(settings, writer.run_number, clock(), gate)])
        reason = RunEnd.CRASHED
        try:
            yield Session(writer=writer, reader=reader, engine=engine, venue=venue)
            reason = RunEnd.STOPPED
        except BaseException as error:
            if is_cancellation(error):
                reason = RunEnd.STOPPED
            raise
        finally:
            writer.recover()
            with suppress(DiskFullError):  # the next run's start shows that this one ended
                writer.append([make_run_stopped(writer.run_number, clock(), reason)])


@asynccontextmanager
async def open_session_in_thread(
    opening: Callable[..., AbstractContextManager[Session]],
) -> AsyncIterator[Session]:
    """Open a session in a thread; ``opening`` is ``open_session`` with its arguments.

    The event loop goes on meanwhile. If the caller is cancelled, the current day is completed, the
    session is closed, and ``trio.Cancelled`` is raised.
    """
    with ExitStack() as stack:
        manager = opening(is_stopping=is_caller_canceled)
        session = await trio.to_thread.run_sync(partial(stack.enter_context, manager))
        await trio.lowlevel.checkpoint_if_cancelled()
        yield session


def is_caller_canceled() -> bool:
    """Return True if the task that waits for this thread was cancelled."""
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:
        return True
    return False


def is_cancellation(error: BaseException) -> bool:
    """Return True if the error is a Trio cancellation, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(part) for part in error.exceptions)
    return isinstance(error, trio.Cancelled)


def make_run_started(settings: Settings, run_number: int, now_ms: int, gate: str) -> RunStarted:
    """Return the first event of a run, with its settings and version.

    ``gate`` is the label of the gate, which the site's pages show.
    """
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


def make_run_stopped(run_number: int, now_ms: int, reason: RunEnd) -> RunStopped:
    """Return the last event of a run.

    Args:
        run_number: the number of the run.
        now_ms: the time of the event.
        reason: how the run ended.
    """
    return RunStopped(
        at_ms=now_ms, cause_id=f"run:{run_number}", run_number=run_number, reason=reason
    )


def random_key() -> bytes:
    """Return a new random key of ``SALT_BYTES`` bytes, which is not stored."""
    return secrets.token_bytes(SALT_BYTES)


def salt_key(path: Path, *, on_exposed: Callable[[str], None] | None = None) -> bytes:
    """Return the salt key, which salts all commitments; make it if there is no file.

    A new file has mode 0600.

    Args:
        path: the key's file.
        on_exposed: takes a line if other users may read the file; the key is then used all the
            same. A file system without modes exposes no key. ``kamou flatten`` passes this
            function, because positions must be closed in any case.

    Raises:
        StoreError: the file has no valid key, or cannot be read or created; or it is open to other
            users and ``on_exposed`` is None.
    """
    try:
        if not path.exists():
            write_atomically(path, random_key().hex())
        exposed = is_open_to_others(path) and keeps_modes(path.parent)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read or created as the salt key ({error}); check its permissions, "
            "or restore it from its backup"
        ) from error
    if len(key) != SALT_BYTES:
        raise StoreError(
            f"{path} holds a key of {len(key)} bytes, not {SALT_BYTES}; restore it from its backup"
        )
    if exposed:
        words = (
            f"other users may read {path}: with that key they can decode every commitment before "
            f"it is revealed; if nobody has read the key, run chmod 600 {path}; otherwise move it "
            "away, and the next run makes another key"
        )
        if on_exposed is None:
            raise StoreError(words)
        on_exposed(words)
    return key
