"""What a run finds that others did: the kill switch's acts and the halt latch, journalled first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from kamou.core.book.events import Event, StateChanged
from kamou.core.book.operator_events import CommandNoted
from kamou.core.codes import StateReason
from kamou.core.model import Figure, TradingState
from kamou.data_directory.latch import SET, LatchRecord
from kamou.errors import DiskFullError, DuplicateEventError
from kamou.runtime.supervision import RestartStormError
from kamou.store import queries
from kamou.store.journal import JournalWriter


def take_over(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    flattened: Iterable[Event],
    *,
    latched: bool,
    latch_log: Sequence[LatchRecord] = (),
    now_ms: int,
) -> None:
    """Journal the kill switch's intents, once each, and respect its latch.

    While the latch stands the governor's state is FLATTEN: what it could not close is closed,
    and only a human rearms. ``latch_log`` says why it was set and cleared; what was said while
    nothing ran is journalled here.
    """
    for event in flattened:
        try:
            writer.append([event])
        except DuplicateEventError:
            continue  # imported by an earlier run
    unheard = [record for record in latch_log if record.at_ms > _last_run_ended_ms(reader)]
    if latched:
        note = next((r.reason for r in reversed(latch_log) if r.action == SET), "")
        flatten = (TradingState.FLATTEN, StateReason.HUMAN_FLATTEN)
        if worsen(writer, reader, *flatten, now_ms, note=note):
            unheard = unheard[:-1]
    for record in unheard:
        asked = StateReason.HUMAN_FLATTEN if record.action == SET else StateReason.HUMAN_RESUME
        cause = f"latch:{record.at_ms}"
        writer.append(
            [CommandNoted(at_ms=now_ms, cause_id=cause, reason=asked.value, note=record.reason)]
        )


def _last_run_ended_ms(reader: sqlite3.Connection) -> int:
    """When the newest event before this run's start happened; 0 when there was none."""
    started = reader.execute(
        "SELECT max(seq) FROM event WHERE kind = 'run_started' AND key IS NULL"
    ).fetchone()[0]
    row = reader.execute("SELECT at_ms FROM event WHERE seq = ?", ((started or 0) - 1,)).fetchone()
    return 0 if row is None else int(row[0])


def worsen(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    after: TradingState,
    reason: StateReason,
    now_ms: int,
    *,
    note: str = "",
) -> bool:
    """Journal a worse trading state while no governor runs; a better one is never taken back.

    The same state for another reason is news too: a halt that the next day would end becomes
    one that only a human ends. True if it was journalled; ``note`` is the operator's reason.
    """
    span = queries.latest(reader).state
    before = TradingState(span.state) if span else TradingState.NORMAL
    stricter = before is after and span is not None and span.reason != reason.value
    if before.severity < after.severity or stricter:
        changed = StateChanged(
            at_ms=now_ms,
            cause_id="kamou",
            before=before,
            after=after,
            reason=reason.value,
            figures=(Figure(name="note", value=note),) if note else (),
        )
        writer.append([changed])
        return True
    return False


@contextmanager
def halted_by_storm(
    writer: JournalWriter, reader: sqlite3.Connection, now_ms: Callable[[], int]
) -> Iterator[None]:
    """A restart storm passes through, and is journalled: only a human rearms after it."""
    try:
        yield
    except* RestartStormError:
        writer.recover()
        with suppress(DiskFullError):  # a full disk holds new risk by itself
            worsen(writer, reader, TradingState.HALT_NEW, StateReason.RESTART_STORM, now_ms())
        raise
