"""Fixtures of the journal's tests: file, failing writer, actor and client."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou.actors.journal import Journal, JournalActor
from kamou.clock import SimulatedClock
from kamou.core.book import events as e
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import run_inline
from kamou.settings.config import StoreSettings
from kamou.store import database
from kamou.store.journal import JournalWriter

SETTINGS = StoreSettings(group_commit_ms=20, snapshot_every=3, batch_max=10)


class Broken(JournalWriter):
    """A writer that can be made to fail, before or after its commit."""

    fail_before: Exception | None = None
    fail_after: Exception | None = None

    def append_encoded(self, batch: Any, details: Any = ()) -> Any:
        if self.fail_before is not None:
            raise self.fail_before
        done = super().append_encoded(batch, details)
        if self.fail_after is not None:
            raise self.fail_after
        return done


@attrs.define
class Bench:
    journal: Journal
    writer: Broken
    connection: sqlite3.Connection
    clock: SimulatedClock
    runner: Any = run_inline
    full: list[bool] = attrs.Factory(list)

    def actor(self) -> JournalActor:
        return JournalActor(
            inbox=self.journal.inbox,
            journal=self.journal,
            writer=self.writer,
            clock=self.clock,
            runner=self.runner,
            on_disk_full=lambda report: self.full.append(report.full),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[JournalActor]:
        actor = self.actor()
        async with trio.open_nursery() as nursery:
            await nursery.start(actor.run)
            yield actor
            self.journal.inbox.ask_to_stop()

    def stored(self) -> list[e.Event]:
        return [c.event for c in self.writer.read(0)]

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Make SQLite report a full disk by not letting the file grow."""
        self.connection.execute("PRAGMA max_page_count = 1")
        yield
        self.connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def benches(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Yield a function that makes benches over one file, each like that of a new run."""
    opened: list[sqlite3.Connection] = []

    def made(**settings: int) -> Bench:
        connection = database.open_writer(tmp_path / "kamou.sqlite3")
        reader = database.open_reader(tmp_path / "kamou.sqlite3")
        opened.extend((connection, reader))
        clock = SimulatedClock(start_ms=1_000)
        journal = Journal(
            inbox=Mailbox("journal", 100, now_ms=clock.now_ms),
            reader=reader,
            settings=attrs.evolve(SETTINGS, **settings),
            code_hash="code",
        )
        return Bench(journal, Broken(connection, run_number=1), connection, clock)

    yield made
    for connection in opened:
        connection.close()
