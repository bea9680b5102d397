"""The journal's actor, and the client with which all other actors use the journal.

Group commit: a ``commit`` is written at once, after the casts that wait. Casts alone are grouped
for at most ``group_commit_ms`` (0 under simulated time: written as soon as the actors that cast
them yield). Casts wait in the ``Journal``, which outlives the actor, until they are committed, so a
crash of the actor loses none.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
import trio

from kamou.actors.base import Actor
from kamou.core.book.events import Event
from kamou.core.book.position_book import PositionBook
from kamou.errors import DiskFullError, DuplicateEventError, StoreError
from kamou.messages.codec import make_decoders
from kamou.messages.governor import DiskFull
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import Runner, run_inline
from kamou.settings.config import StoreSettings
from kamou.store import queries, snapshots
from kamou.store.journal import (
    DETAILS_KEPT,
    Committed,
    Encoded,
    JournalWriter,
    encode_event,
    read_events,
)
from kamou.store.snapshots import BookSnapshot

RECENT_EVENTS = 4_000  # kept decoded in memory, at most twice as many: a busy day of the pipeline
PAST_MAX = 20_000  # older events decoded at a time: about 30 MB
BACKLOG_MAX = 100_000  # casts that may wait for the disk: weeks of a halted system's cycles
COMMIT_TIMEOUT_S = 5.0  # far beyond the slowest fsync; then the outcome is unknown
HANDLER_DEADLINE_S = 30.0
DISK_RETRY_MS = 1_000  # between attempts to write to a full disk
DISK_PROBE = "disk_probe_ms"


@attrs.frozen(kw_only=True)
class Append:
    """A call to commit these events durably.

    The answer is ``tuple[Committed, ...]``, or a ``StoreError`` if none of them was written.
    """

    batch: tuple[Encoded, ...]


@attrs.frozen(kw_only=True)
class CastsWaiting:
    """A message that wakes the actor: casts or a snapshot are in the backlog."""


class Journal:
    """The client of the journal: one shared object that outlives the journal's actor.

    ``reader`` is a connection of ``database.open_reader``, or the writer's own for ``:memory:``
    under the inline runner. ``code_hash`` (``snapshots.code_hash``) is the digest of the code that
    folds; without it no snapshot is taken or used.
    """

    def __init__(
        self,
        *,
        inbox: Mailbox[Any],
        reader: sqlite3.Connection,
        settings: StoreSettings,
        code_hash: str = "",
        timeout_s: float = COMMIT_TIMEOUT_S,
        runner: Runner = run_inline,
    ) -> None:
        self.inbox = inbox
        self.runner = runner  # followers load snapshots with it, too
        self.reader = reader
        self.settings = settings
        self.code_hash = code_hash
        self.backlog = Backlog()
        self.shared_book: PositionBook | None = None  # of its followers; only they change it
        self._timeout_s = timeout_s
        self._head_seq = queries.head_seq(reader)
        self._recent: list[Committed] = []  # contiguous, ends at the head
        self._past: list[Committed] = []  # contiguous, older: being read in parts
        self._listeners: list[Callable[[Sequence[Committed]], None]] = []
        snapshot = self.load_book_snapshot()
        self._snapshot_seq = snapshot.seq if snapshot else 0

    # --- writing -----------------------------------------------------------------

    async def commit(self, *events: Event) -> tuple[Committed, ...]:
        """Commit the events durably, after all casts before them.

        If cancelled, the events may have been committed.

        Raises:
            DuplicateEventError: an event's (kind, key) is not new; none of these was written.
            DiskFullError: none of these was written.
            CallUnavailableError, CallTimeoutError: they may have been committed; ``tail`` shows
                whether they were. A call that the actor has not read yet expires.
            ValueError, TypeError: an event cannot be encoded.
        """
        batch = tuple([encode_event(event) for event in events])
        done = await self.inbox.call(Append(batch=batch), timeout_s=self._timeout_s)
        return cast(tuple[Committed, ...], done)  # as ``JournalActor.answer`` returns

    def cast(self, *events: Event) -> None:
        """Queue events to be committed soon, without waiting.

        They are committed within ``group_commit_ms``, or with the next ``commit``. An event whose
        (kind, key) is committed already is dropped and counted. While the disk is full, casts wait.

        Raises:
            DiskFullError: more than ``BACKLOG_MAX`` casts would wait.
            ValueError, TypeError: an event cannot be encoded.
        """
        casts = self.backlog.casts
        if len(casts) + len(events) > BACKLOG_MAX:
            raise DiskFullError(
                f"{len(casts)} events wait for the journal and {len(events)} more came, "
                f"which is above the maximum of {BACKLOG_MAX}; free space if the disk is full"
            )
        idle = not casts
        casts.extend([encode_event(event) for event in events])
        if idle or len(casts) >= self.settings.batch_max:
            self.inbox.put_nowait(CastsWaiting())  # dropped if full: then the actor is awake

    def cast_detail(self, cycle_at_ms: int, body: bytes) -> None:
        """Keep a cycle's reasons by symbol for ``kamou why``, without waiting.

        ``body`` (``scan_detail.pack_details``) is no event; it is written with the next event. At
        most the newest ``DETAILS_KEPT`` cycles wait.
        """
        details = self.backlog.details
        details[cycle_at_ms] = body
        if len(details) > DETAILS_KEPT:
            del details[min(details)]

    def save_snapshot(self, seq: int, dump: Callable[[], bytes], *, at_ms: int) -> None:
        """Queue the fold of events 1 to ``seq`` as a snapshot, without waiting.

        ``dump`` returns the fold's bytes, the same at each call; it may be called on any thread.
        """
        assert seq <= self._head_seq, f"snapshot of seq {seq} is beyond seq {self._head_seq}"
        self._snapshot_seq = seq
        self.backlog.snapshot = (seq, at_ms, dump)
        self.inbox.put_nowait(CastsWaiting())

    # --- reading -----------------------------------------------------------------

    @property
    def head_seq(self) -> int:
        """Return the sequence number of the newest committed event; 0 if there is none."""
        return self._head_seq

    def tail(self, after_seq: int, at_once: int | None = None) -> Sequence[Committed]:
        """Return committed events with ``seq > after_seq``, oldest first.

        Recent events come from memory, older ones from the database. If more than ``PAST_MAX``
        must be read, only the next ``PAST_MAX`` are returned, so that a fold from the first event
        fits in memory: call again from the last one. ``at_once`` is the maximum of this call.
        Events that were read in parts are kept for the next actor.
        """
        missing = self._head_seq - after_seq
        if missing <= 0:
            return ()
        if missing > len(self._recent):
            self._read_past(after_seq, PAST_MAX if at_once is None else at_once)
        events = self._recent if missing <= len(self._recent) else self._past
        first = after_seq + 1 - events[0].seq
        return events[first:] if at_once is None else events[first : first + at_once]

    def _read_past(self, after_seq: int, limit: int) -> None:
        """Read events after ``after_seq`` into ``_past``, or ``_recent`` once adjacent."""
        past, recent = self._past, self._recent
        if past and past[0].seq <= after_seq + 1 <= past[-1].seq:
            return
        joins_at = self._head_seq - len(recent)  # seq of the newest event that is not in memory
        older = read_events(self.reader, after_seq, min(joins_at - after_seq, limit))
        follows = past and past[-1].seq == after_seq and len(past) + len(older) <= PAST_MAX
        past = self._past = [*past, *older] if follows else older
        if past[-1].seq == joins_at:  # kept: at a start every actor reads the same events in turn
            self._recent, self._past = [*past, *recent], []

    def on_publish(self, listener: Callable[[Sequence[Committed]], None]) -> None:
        """Call ``listener`` with all events committed from now on; it must not raise."""
        self._listeners.append(listener)

    def load_book_snapshot(self) -> BookSnapshot | None:
        """Return the newest valid snapshot that this code made; None if there is none."""
        if not self.code_hash:
            return None
        if self.backlog.snapshot is not None:  # not written yet
            seq, _, dump = self.backlog.snapshot
            return BookSnapshot(seq=seq, state=dump())
        return snapshots.load_snapshot(self.reader, code=self.code_hash, seq_max=self._head_seq)

    def snapshot_due(self, seq: int) -> bool:
        """Return True if a snapshot at ``seq`` is due; never without a ``code_hash``."""
        due = seq - self._snapshot_seq >= self.settings.snapshot_every
        return due and bool(self.code_hash)

    # --- the actor's side ----------------------------------------------------------

    def publish(self, done: Sequence[Committed]) -> None:
        """Append committed events to the tail and call the listeners."""
        if not done:
            return
        assert done[0].seq == self._head_seq + 1, f"seq {done[0].seq} follows {self._head_seq}"
        self._head_seq = done[-1].seq
        self._recent.extend(done)
        if len(self._recent) > 2 * RECENT_EVENTS:
            del self._recent[:-RECENT_EVENTS]
        for listener in self._listeners:
            listener(done)


@attrs.define(eq=False)
class Backlog:
    """Casts, details and a snapshot that wait to be written.

    ``duplicates`` counts casts that were dropped because they had been committed before.
    """

    casts: deque[Encoded] = attrs.Factory(deque)
    details: dict[int, bytes] = attrs.Factory(dict)  # by cycle_at_ms
    snapshot: tuple[int, int, Callable[[], bytes]] | None = None  # seq, at_ms, dump
    duplicates: int = 0

    @property
    def due(self) -> bool:
        """Return True if casts or a snapshot wait. Details wait for the next event."""
        return bool(self.casts) or self.snapshot is not None


@attrs.frozen(kw_only=True)
class _Written:
    """The result of one write; ``casts`` is the number that leaves the backlog."""

    done: tuple[Committed, ...] = ()
    casts: int = 0
    duplicates: int = 0  # casts that were dropped
    reply: tuple[Committed, ...] | StoreError = ()  # to the call
    full: bool = False  # the disk is full


@attrs.define(kw_only=True, eq=False, slots=False)
class JournalActor(Actor[CastsWaiting]):
    """The writer of the journal.

    ``on_disk_full`` is called once when the disk fills up, and once when the whole backlog could be
    written again. Meanwhile a write is tried every ``DISK_RETRY_MS``.
    """

    name: str = attrs.field(init=False, default="journal")
    _journal: Journal
    _writer: JournalWriter
    _runner: Runner = run_inline
    _on_disk_full: Callable[[DiskFull], None] | None = None
    handler_deadline_s: float = HANDLER_DEADLINE_S
    _full: bool = attrs.field(init=False, default=False)
    _due_ms: int | None = attrs.field(init=False, default=None)

    async def recover(self) -> None:
        """Roll back an unfinished transaction; publish events committed before a crash."""
        journal = self._journal
        await self._runner(make_decoders)
        await self._runner(self._writer.recover)
        journal.publish(await self._runner(self._writer.read, journal.head_seq))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run as other actors do; write the backlog before an end without a crash."""
        try:
            await super().run(task_status)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._write_backlog()
            raise
        await self._write_backlog()

    async def answer(self, message: object) -> tuple[Committed, ...] | StoreError:
        assert isinstance(message, Append), message
        written = await self._write(message.batch)
        return written.reply

    async def handle(self, message: CastsWaiting) -> None:
        assert isinstance(message, CastsWaiting), message
        settings = self._journal.settings
        enough = len(self._journal.backlog.casts) >= settings.batch_max
        if (enough or settings.group_commit_ms == 0) and not self._full:
            await self._write_backlog()

    def next_due_ms(self) -> int | None:
        if self._due_ms is None and self._journal.backlog.due:
            self._due_ms = self.clock.now_ms() + self._journal.settings.group_commit_ms
        return self._due_ms

    async def tick(self) -> None:
        await self._write_backlog()

    async def _write_backlog(self) -> None:
        """Write the backlog, at most ``batch_max`` casts per transaction."""
        while True:
            written = await self._write(())
            if written.full or not self._journal.backlog.casts:
                return

    async def _write(self, batch: tuple[Encoded, ...]) -> _Written:
        """Write ``batch`` after all casts, or up to ``batch_max`` casts; publish them.

        Waiting details and a snapshot are written too. What was written leaves the backlog.
        """
        backlog = self._journal.backlog
        waiting = backlog.casts
        # A commit takes all casts along, so that none is committed after a later commit.
        count = len(waiting) if batch else min(len(waiting), self._journal.settings.batch_max)
        casts = [waiting[i] for i in range(count)] if count < len(waiting) else list(waiting)
        details, snapshot = dict(backlog.details), backlog.snapshot
        written = await self._runner(self._write_now, casts, batch, details, snapshot)
        # No checkpoint between here and popleft: a committed cast must not stay in the backlog.
        self._journal.publish(written.done)
        for _ in range(written.casts):
            waiting.popleft()
        backlog.duplicates += written.duplicates
        if not written.full:
            for cycle_at_ms in details:
                backlog.details.pop(cycle_at_ms, None)
            if backlog.snapshot is snapshot:
                backlog.snapshot = None
        self._note_disk(full=written.full)
        return written

    def _note_disk(self, *, full: bool) -> None:
        self._due_ms = self.clock.now_ms() + DISK_RETRY_MS if full else None
        # A small write may fit into the last page: the disk has space once all has been written.
        if full != self._full and (full or not self._journal.backlog.casts):
            self._full = full
            if self._on_disk_full is not None:
                self._on_disk_full(DiskFull(full=full))

    # --- on the writer's thread ------------------------------------------------------

    def _write_now(
        self,
        casts: list[Encoded],
        batch: tuple[Encoded, ...],
        details: dict[int, bytes],
        snapshot: tuple[int, int, Callable[[], bytes]] | None,
    ) -> _Written:
        written = self._append(casts, batch, sorted(details.items()))
        if written.full:
            return written
        try:
            if snapshot is not None:
                seq, at_ms, dump = snapshot
                self._writer.save_snapshot(
                    seq=seq, at_ms=at_ms, code=self._journal.code_hash, state=dump()
                )
            if self._full and not written.done:
                # Nothing was waiting: only a write shows whether there is space again.
                self._writer.set_meta(DISK_PROBE, str(self.clock.now_ms()))
        except DiskFullError:
            return attrs.evolve(written, full=True)
        return written

    def _append(
        self, casts: list[Encoded], batch: tuple[Encoded, ...], details: list[tuple[int, bytes]]
    ) -> _Written:
        writer = self._writer
        try:
            done = writer.append_encoded([*casts, *batch], details)
            return _Written(done=done, casts=len(casts), reply=done[len(casts) :])
        except DiskFullError as error:
            return _Written(reply=error, full=True)
        except DuplicateEventError:
            pass
        # An event was committed before. Such a cast is dropped; such a batch fails as a whole.
        new = writer.drop_duplicates(casts)
        try:
            done = writer.append_encoded(new, details)
        except DiskFullError as error:
            return _Written(reply=error, full=True)
        written = _Written(done=done, casts=len(casts), duplicates=len(casts) - len(new))
        try:
            reply = writer.append_encoded(batch)
        except (DiskFullError, DuplicateEventError) as error:
            return attrs.evolve(written, reply=error, full=isinstance(error, DiskFullError))
        return attrs.evolve(written, done=(*done, *reply), reply=reply)
