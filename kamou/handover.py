"""What a run finds that others did: the kill switch's acts and the halt latch, journalled first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from kamou.core.codes import StateReason
from kamou.core.events import Event, StateChanged
from kamou.core.model import TradingState
from kamou.errors import DuplicateEventError
from kamou.store import queries
from kamou.store.journal import JournalWriter


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
    """Journal a worse trading state while no governor runs; a better one is never taken back."""
    span = queries.latest(reader).state
    before = TradingState(span.state) if span else TradingState.NORMAL
    if before.severity < after.severity:
        changed = StateChanged(
            at_ms=now_ms, cause_id="kamou", before=before, after=after, reason=reason.value
        )
        writer.append([changed])
