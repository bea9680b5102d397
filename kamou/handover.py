"""What a run finds that others did: the kill switch's acts and the halt latch, journalled first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from kamou.core.codes import StateReason
from kamou.core.events import Event, StateChanged
from kamou.core.model import TradingState
from kamou.errors import DiskFullError, DuplicateEventError
from kamou.store import queries
from kamou.store.journal import JournalWriter
from kamou.supervision import RestartStormError


def take_over(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    flattened: Iterable[Event],
    *,
    latched: bool,
    now_ms: int,
) -> None:
    """Journal the kill switch's intents, once each, and respect its latch.

    While the latch stands the governor's state is FLATTEN: what it could not close is closed,
    and only a human rearms.
    """
    for event in flattened:
        try:
            writer.append([event])
        except DuplicateEventError:
            continue  # imported by an earlier run
    if latched:
        worsen(writer, reader, TradingState.FLATTEN, StateReason.HUMAN_FLATTEN, now_ms)


def worsen(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    after: TradingState,
    reason: StateReason,
    now_ms: int,
) -> None:
    """Journal a worse trading state while no governor runs; a better one is never taken back.

    The same state for another reason is news too: a halt that the next day would end becomes
    one that only a human ends.
    """
    span = queries.latest(reader).state
    before = TradingState(span.state) if span else TradingState.NORMAL
    stricter = before is after and span is not None and span.reason != reason.value
    if before.severity < after.severity or stricter:
        changed = StateChanged(
            at_ms=now_ms, cause_id="kamou", before=before, after=after, reason=reason.value
        )
        writer.append([changed])


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
