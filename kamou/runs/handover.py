"""What a run finds that others did: the kill switch's acts and the halt latch, journalled first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from kamou.core.book.events import Event, StateChanged
from kamou.core.book.operator_events import CommandNoted
from kamou.core.codes import StateReason
from kamou.core.model import Figure, TradingState
from kamou.data_directory.latch import CLEAR, HALT, SET, LatchRecord, standing
from kamou.errors import DiskFullError
from kamou.messages.codec import KINDS
from kamou.runtime.supervision import RestartStormError
from kamou.store import queries
from kamou.store.journal import JournalWriter
from kamou.store.rows import StateSpan

ASKED = {
    SET: (TradingState.FLATTEN, StateReason.HUMAN_FLATTEN),
    HALT: (TradingState.HALT_NEW, StateReason.HUMAN_HALT),
    CLEAR: (TradingState.HALT_NEW, StateReason.HUMAN_RESUME),
}
"""What a line of the latch's log asks for: the state that it leads to, and why."""


def take_over(
    writer: JournalWriter,
    reader: sqlite3.Connection,
    flattened: Iterable[Event],
    *,
    latched: bool,
    latch_log: Sequence[LatchRecord] = (),
    now_ms: int,
) -> None:
    """Journal the kill switch's intents, once each, and what the latch's log says, in one commit.

    Each event has its own time: that of the intent, or of the line in the latch's log. While the
    latch stands the trading state is FLATTEN, or HALT_NEW if it was only ever set by ``kamou
    halt``. A resume while nothing ran takes FLATTEN to HALT_NEW and never further: nobody has
    looked at the account, and after a flatten it takes two steps to trade.

    Args:
        latched: whether the halt latch is set now.
        latch_log: every line of its log, oldest first.
        now_ms: the time of a latch that left no line in its log.
    """
    ended_ms = _last_run_ended_ms(reader)
    span = queries.latest(reader).state
    unheard = [record for record in latch_log if record.at_ms > ended_ms]
    if latched:  # whatever a run heard of it: the state that it asks for is journalled
        unheard = _heard(latch_log, ended_ms, now_ms) + unheard
    events: list[Event] = list(_latch_events(span, unheard, ended_ms, now_ms))
    events += [event for event in flattened if not _is_committed(reader, event)]
    writer.append(sorted(events, key=lambda event: event.at_ms))


def _heard(latch_log: Sequence[LatchRecord], ended_ms: int, now_ms: int) -> list[LatchRecord]:
    """The lines that set the latch as it stands, which an earlier run may have heard.

    A latch without a line in its log asks for everything: it was set on a full disk.
    """
    since_clear = standing(latch_log)
    if not since_clear:
        return [LatchRecord(action=SET, reason="", actor="", at_ms=now_ms)]
    return [record for record in since_clear if record.at_ms <= ended_ms]


def _latch_events(
    span: StateSpan | None, records: Iterable[LatchRecord], ended_ms: int, now_ms: int
) -> Iterator[Event]:
    """Return what each line of the latch's log did to the trading state, as events.

    A line that a run heard until ``ended_ms`` was noted by it. If that run left its state since,
    the latch takes it back now.
    """
    state = TradingState(span.state) if span else TradingState.NORMAL
    because, since_ms = (span.reason, span.from_ms) if span else ("", 0)
    for record in records:
        after, reason = ASKED[record.action]
        cause = f"latch:{record.at_ms}"
        better = record.action == CLEAR and state.severity >= TradingState.FLATTEN.severity
        stricter = state is after and because != reason.value
        worse = record.action != CLEAR and (state.severity < after.severity or stricter)
        if better or worse:
            since_ms = record.at_ms if record.at_ms >= since_ms else now_ms
            yield StateChanged(
                at_ms=since_ms,
                cause_id=cause,
                before=state,
                after=after,
                reason=reason.value,
                figures=_note(record.reason),
            )
            state, because = after, reason.value
        elif record.reason and record.at_ms > ended_ms:
            yield CommandNoted(
                at_ms=record.at_ms, cause_id=cause, reason=reason.value, note=record.reason
            )


def _note(words: str) -> tuple[Figure, ...]:
    return (Figure(name="note", value=words),) if words else ()


def _is_committed(reader: sqlite3.Connection, event: Event) -> bool:
    """Whether an earlier run has imported it."""
    found = reader.execute(
        "SELECT 1 FROM event WHERE kind = ? AND key = ?", (KINDS[type(event)], event.unique_key)
    )
    return found.fetchone() is not None


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
            at_ms=now_ms,
            cause_id="kamou",
            before=before,
            after=after,
            reason=reason.value,
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
